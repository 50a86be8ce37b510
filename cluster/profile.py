"""What a site wants to know with every job: a YAML file, checked once, typed afterwards.

`profile=NAME` reads `cluster/conf/NAME.yaml`, `profile=PATH.yaml` a file of yours, and
`profile.minutes=30` changes one value of it. Nothing here can change a result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from janus.errors import ConfigError, suggest

CONF = Path(__file__).resolve().parent / "conf"


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Resources, limits and habits of a site."""

    partition: str | None = None
    """Partition; null: the site's default."""
    account: str | None = None
    """Account that pays; null: yours."""
    qos: str | None = None
    """Quality of service; null: the site's default."""
    constraint: str | None = None
    """Node features, e.g. 'a100|h100'."""
    gpus: int = 0
    """GPUs of one task (in Ray mode: of one node)."""
    cpus: int = 1
    """Processors of one task (in Ray mode: of one node)."""
    mem_gb: float | None = None
    """Memory of one task in GB; null: the site's default."""
    minutes: int = 60
    """Time limit of one task. At the limit a task is requeued and goes on."""
    tasks: int = 16
    """Most tasks that run at a time."""
    nodes: int = 2
    """Nodes of a Ray cluster (mode=ray)."""
    cells_at_once: int = 1
    """Cells trained side by side inside one task, each in a process of its own."""
    chunk: int = 1000
    """Most tasks in one job array; the site's own limit is respected as well."""
    device: str = "auto"
    """auto, cpu or cuda. With GPUs asked for, auto insists on CUDA."""
    warn_s: int = 120
    """Seconds before the time limit at which a task stops, saves and is requeued. SLURM may be a
    minute early."""
    lose_at_most_s: float = 60.0
    """Seconds of training that a run may lose when it is killed without warning."""
    stage: bool = False
    """Copy prepared data sets to node-local scratch before the first cell."""
    scratch: str | None = None
    """Node-local scratch; null: $SLURM_TMPDIR, $TMPDIR or /tmp, whichever the node has."""
    python: str | None = None
    """Command that starts Python on a node, e.g. 'apptainer exec --nv image.sif python3';
    null: the Python that submits."""
    setup: tuple[str, ...] = ()
    """Shell lines before Python starts, e.g. 'module load cuda'."""
    flags: Mapping[str, Any] = field(default_factory=dict)
    """Further sbatch flags by their long name, e.g. {reservation: mine}."""

    def __post_init__(self) -> None:
        for name in ("cpus", "minutes", "tasks", "nodes", "cells_at_once", "chunk"):
            if getattr(self, name) < 1:
                raise ConfigError(f"profile.{name} must be at least 1, got {getattr(self, name)}")
        if self.gpus < 0:
            raise ConfigError(f"profile.gpus must not be negative, got {self.gpus}")
        if self.lose_at_most_s <= 0:
            raise ConfigError(f"profile.lose_at_most_s must be > 0, got {self.lose_at_most_s}")
        if self.device not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"profile.device must be auto, cpu or cuda, got {self.device!r}")
        if self.device == "cuda" and not self.gpus:
            raise ConfigError("profile.device=cuda needs profile.gpus=1 or more")
        if not 0 <= self.warn_s < 60 * self.minutes:
            raise ConfigError(
                f"profile.warn_s={self.warn_s} leaves nothing of profile.minutes={self.minutes}; "
                "give fewer seconds, or more minutes"
            )


def profile_names() -> list[str]:
    """The profiles that ship with the package."""
    return sorted(path.stem for path in CONF.glob("*.yaml"))


def load_profile(name: str, changes: Mapping[str, Any] | None = None) -> Profile:
    """The profile `name` (or the file of that path) under `changes`. Raises ConfigError."""
    path = Path(name).expanduser() if name.endswith((".yaml", ".yml")) else CONF / f"{name}.yaml"
    try:
        record = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        hint = suggest(name, profile_names())
        raise ConfigError(f"unknown profile {name!r}.{hint} Or give a .yaml file") from None
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ConfigError(
            f"profile {path} is no YAML text ({type(error).__name__}); write KEY: VALUE lines"
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"profile {path}: {' '.join(str(error).split())}") from None
    if not isinstance(record, dict):
        raise ConfigError(f"profile {path} must hold a mapping")
    return profile_from(record | dict(changes or {}))


def profile_from(record: Mapping[str, Any]) -> Profile:
    """A profile from plain data, each value checked against the field's type."""
    known = {f.name: f for f in fields(Profile)}
    values = {}
    for key, value in record.items():
        if key not in known:
            raise ConfigError(f"unknown key profile.{key}.{suggest(str(key), known)}")
        values[key] = _checked(key, str(known[key].type), value)
    return Profile(**values)


def _checked(key: str, kind: str, value: Any) -> Any:
    if value is None and kind.endswith("None"):
        return None
    base = kind.removesuffix(" | None")
    if base == "str" and isinstance(value, str | int):
        return str(value)
    if base == "bool" and isinstance(value, bool):
        return value
    if base == "int" and isinstance(value, int) and not isinstance(value, bool):
        return value
    if base == "float" and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if base.startswith("tuple") and isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(map(str, value))
    if base.startswith("Mapping") and isinstance(value, Mapping):
        return dict(value)
    raise ConfigError(f"profile.{key} must be {_plain(base)}, got {value!r}")


def _plain(kind: str) -> str:
    words = {"str": "a text", "bool": "true or false", "int": "a whole number", "float": "a number"}
    return words.get(kind, "a list" if kind.startswith("tuple") else "a mapping")
