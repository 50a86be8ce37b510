"""What the environment says about Weights & Biases: is there a key, which project, on or off.

Read without importing wandb, so that it costs nothing to ask. The names are wandb's own.
"""

from __future__ import annotations

import netrc
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from janus.errors import ConfigError, suggest

HOSTS = ("api.wandb.ai", "api.forge.coreweave.com")
"""Where keys are kept under when WANDB_BASE_URL is not set: wandb changed its default host."""

PROJECT = "janus"
"""Project of runs when WANDB_PROJECT is not set."""

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
    """`online`, `offline` or `disabled`: as WANDB_MODE says, else online where there is a key."""
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
    """The project that runs go to."""
    return environment.get("WANDB_PROJECT") or PROJECT
