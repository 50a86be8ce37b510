"""Reads the environment's settings for Weights & Biases: API key, project, mode.

Does not import wandb, which is slow. The variables have wandb's own names.
"""

from __future__ import annotations

import netrc
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from janus.errors import ConfigError, suggest

HOSTS = ("api.wandb.ai", "api.forge.coreweave.com")
"""Hosts under which netrc may hold the key if WANDB_BASE_URL is not set (the default changed)."""

PROJECT = "janus"
"""Name of the project if WANDB_PROJECT is not set."""

MODES = ("online", "offline", "disabled")


def has_key(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether wandb would find credentials: WANDB_API_KEY, an identity token, or a netrc entry."""
    if environment.get("WANDB_API_KEY") or environment.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    path = Path(environment.get("NETRC") or "~/.netrc").expanduser()
    base = environment.get("WANDB_BASE_URL")
    try:
        found = netrc.netrc(path)
    except (OSError, netrc.NetrcParseError):
        return False
    entries = map(found.authenticators, [urlsplit(base).netloc] if base else HOSTS)
    return any(entry and entry[2] for entry in entries)


def mode(environment: Mapping[str, str] = os.environ) -> str:
    """`online`, `offline` or `disabled`: WANDB_MODE if set, else `online` if there is a key.

    Raises ConfigError for another value of WANDB_MODE.
    """
    asked = environment.get("WANDB_MODE")
    if not asked:
        return "online" if has_key(environment) else "offline"
    asked = {"dryrun": "offline", "run": "online"}.get(asked, asked)
    if asked not in MODES:
        raise ConfigError(f"WANDB_MODE={asked} is no mode of this project.{suggest(asked, MODES)}")
    return asked


def wanted(tracker: str) -> bool:
    """Whether the setting `tracker` (`wandb` or `none`) asks for W&B and WANDB_MODE allows it."""
    return tracker == "wandb" and mode() != "disabled"


def project(environment: Mapping[str, str] = os.environ) -> str:
    """Name of the W&B project that runs are logged to."""
    return environment.get("WANDB_PROJECT") or PROJECT
