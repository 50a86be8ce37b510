"""A site's profile: resources and limits of every job, read from a YAML file and checked once.

`profile=NAME` reads `cluster/conf/NAME.yaml`, `profile=PATH.yaml` a file of yours, and
`profile.minutes=30` changes one value of it. Nothing here can change a result. How values are
written (4h, a100:1, 16G, sbatch's own names) is read in `profile_text`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from cluster.record.profile_text import GPU_FLAGS, layer, read_texts
from janus.errors import ConfigError, suggest

CONF = Path(__file__).resolve().parents[1] / "conf"


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
    """GPUs of one task (in Ray mode: of one node). `a100:2` sets `gpu_type` as well."""
    gpu_type: str | None = None
    """The site's name for the kind of GPU, e.g. a100; null: any."""
    gpus_by: str = "gpus_per_node"
    """sbatch's flag that asks for the GPUs: gpus_per_node, gpus_per_task or gres."""
    cpus: int = 1
    """Processors of one task (in Ray mode: of one node)."""
    mem_gb: float | None = None
    """Memory of one task in GB, or with its unit (16G, 64000M); 0: all of a node's; null: the
    site's default."""
    minutes: int = 60
    """Time limit of one task: minutes, 4h, 04:00:00 or 2-00:00:00. At the limit a task is requeued
    and goes on."""
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
    """Lines of bash before Python starts, e.g. 'module load cuda'. One that fails ends the task."""
    flags: Mapping[str, Any] = field(default_factory=dict)
    """Further sbatch flags by their long name, e.g. {reservation: mine}; true for a flag without a
    value. One that says what a field above says takes its place."""

    def __post_init__(self) -> None:
        for name in ("cpus", "minutes", "tasks", "nodes", "cells_at_once", "chunk"):
            if getattr(self, name) < 1:
                raise ConfigError(f"profile.{name} must be at least 1, got {getattr(self, name)}")
        if self.gpus < 0:
            raise ConfigError(f"profile.gpus must not be negative, got {self.gpus}")
        if self.gpus_by not in GPU_FLAGS:
            hint = suggest(self.gpus_by, GPU_FLAGS)
            raise ConfigError(f"unknown profile.gpus_by={self.gpus_by}.{hint}")
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
    is_path = name.endswith((".yaml", ".yml")) or "/" in name
    path = Path(name).expanduser() if is_path else CONF / f"{name}.yaml"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(_missing(name, path if is_path else None)) from None
    except (UnicodeDecodeError, ValueError):
        raise ConfigError(f"profile {path} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"profile {path} cannot be read: {error.strerror}") from None
    return profile_from(read_texts(text, f"profile {path}"), changes)


def _missing(name: str, path: Path | None) -> str:
    """Why there is no profile `name`; `path`: the file that it stands for, if it does."""
    if path is not None:
        near = [entry.name for entry in path.parent.glob("*.y*ml")]
        hint = suggest(path.name, near) if near else ""
        return f"there is no file {path} to read a profile from.{hint}"
    if Path(f"{name}.yaml").is_file():
        return f"unknown profile {name!r}. For the file in this folder write: profile={name}.yaml"
    return f"unknown profile {name!r}.{suggest(name, profile_names())} Or give a .yaml file"


def profile_from(record: Mapping[str, Any], changes: Mapping[str, Any] | None = None) -> Profile:
    """A profile from plain data, each value checked against the field's type.

    `changes` stand above all of `record`, also above its flags; `flags.KEY` is one flag.
    """
    kinds = {f.name: str(f.type) for f in fields(Profile)}
    values = layer(record, kinds)
    above = dict(changes or {})
    single = {key: above.pop(key) for key in list(above) if key.startswith("flags.")}
    new = layer(above, kinds)
    if single:
        one = {key.removeprefix("flags."): value for key, value in single.items()}
        added = layer({"flags": one}, kinds)
        kept = new.get("flags", values.get("flags", {}))
        new |= added | {"flags": {**kept, **added["flags"]}}
    return Profile(**(values | new))
