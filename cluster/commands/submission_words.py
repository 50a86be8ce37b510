"""What the words of a command line ask for: the sweep's own, and those of the cluster."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.launchers import LAUNCHERS, launcher_named, launcher_names
from cluster.launchers.launcher import Launcher
from cluster.record.profile import Profile, load_profile
from cluster.record.profile_text import read_profile_value
from janus.config.overrides import path_override
from janus.errors import ConfigError, suggest
from janus.store.store import Store
from sweeps.spec.sweep_file import SweepRequest, load_sweep

MODES = {"array": "tasks that take cells by claims", "ray": "a Ray cluster in one allocation"}


@dataclass(frozen=True)
class SubmitRequest:
    """A parsed command line of `submit`."""

    request: SweepRequest
    profile: Profile
    cluster: str
    """Name of the launcher."""
    mode: str
    command: str
    inline: str
    """What would run the same sweep without a cluster."""
    failed: bool = False
    """Whether cells that failed are tried again."""
    dry: bool = False
    """Whether nothing is submitted."""

    @property
    def launcher(self) -> Launcher:
        """What starts the tasks."""
        return launcher_named(self.cluster)


def parse_submission(name: str, words: Sequence[str], **more: Any) -> SubmitRequest:
    """Split `profile=`, `profile.KEY=`, `cluster=` and `mode=` from the sweep's own words."""
    own = {"profile": "default", "cluster": next(iter(LAUNCHERS)), "mode": "array"}
    changes: dict[str, Any] = {}
    rest = []
    for word in words:
        key, _, value = word.partition("=")
        if key in own:
            own[key] = value
        elif key.startswith("profile."):
            if not value.isprintable():
                raise ConfigError(f"{key} must be a printable text, got {value!r}")
            field = key.removeprefix("profile.")
            changes[field] = read_profile_value(field, value)
        else:
            rest.append(word)
    request = load_sweep(name, rest)  # first: it imports the modules that register launchers
    for key, known in (("cluster", launcher_names()), ("mode", list(MODES))):
        if own[key] not in known:
            raise ConfigError(f"unknown {key}={own[key]}.{suggest(own[key], known)}")
    if own["mode"] not in launcher_named(own["cluster"]).modes:
        raise ConfigError(
            f"cluster={own['cluster']} has no mode={own['mode']}; Ray on one machine: "
            "python -m sweeps run"
        )
    profile = load_profile(own["profile"], changes)
    if request.search is not None:
        how = shlex.join(["python", "-m", "sweeps", "search", name])
        raise ConfigError(f"{name} is a search, not a table: {how}")
    if request.execution.tracker != "none":
        sync = shlex.join(["python", "-m", "sweeps", "sync", name, f"store={request.store}"])
        raise ConfigError(
            f"tasks on a cluster talk to no tracker: leave tracker={request.execution.tracker} "
            f"out, and send it the finished cells with: {sync}"
        )
    command = shlex.join(["python", "-m", "cluster", "submit", name, *words])
    inline = shlex.join(["python", "-m", "sweeps", "run", name, *rest])
    return SubmitRequest(request, profile, own["cluster"], own["mode"], command, inline, **more)


def store_of(words: Sequence[str]) -> Store:
    """The store that the words name. Raises ConfigError where they name two."""
    store = "runs"
    for word in words:
        if (path := path_override(word)) and path[0] == "store":
            if store not in ("runs", path[1]):
                raise ConfigError(
                    f"store is given twice, as {store!r} and {path[1]!r}; give it once"
                )
            store = path[1] or "runs"
    return Store(store)


def sweep_of(name: str) -> str:
    """The name of a sweep that is given as its file."""
    return Path(name).stem if name.endswith((".yaml", ".yml")) else name


def refuse_twice(words: Sequence[str]) -> None:
    """Raise ConfigError for a word that is no KEY=VALUE, and for a key with two values."""
    typed: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"cannot read {word!r}: write KEY=VALUE")
        if typed.setdefault(key, value) != value:
            raise ConfigError(
                f"{key} is given twice, as {typed[key]!r} and {value!r}; give it once"
            )
