"""How cells are executed: where results are stored, on which device, what is saved and tracked.

Nothing here changes a result, and nothing is part of a cell's identity. One frozen object holds all
options; the command line, a sweep's request, the jobs of Ray and SLURM and `run_cell` hand it on as
it is. A new option needs its field here and the line that reads it where it acts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from janus.config.cell import Value
from janus.config.method_spec import Setting


def _option(
    default: Value,
    text: str,
    *,
    choices: tuple[Value, ...] | None = None,
    in_sweeps: bool = True,
) -> Any:
    """A field with its help text and its choices; `in_sweeps`: whether sweep files have it too."""
    setting = Setting(default=default, help=text, min=0, choices=choices)
    return field(default=default, metadata={"setting": setting, "in_sweeps": in_sweeps})


@dataclass(frozen=True)
class Execution:
    """The execution options of one cell, or of all cells of a sweep."""

    store: str = _option("runs", "folder of the run store")
    device: str = _option("auto", "auto, cpu, cuda, cuda:1, ...")
    threads: int = _option(0, "CPU threads; 0: all cores", in_sweeps=False)
    checkpoint_s: float = _option(
        60.0, "seconds of training between checkpoints inside a task", in_sweeps=False
    )
    tracker: str = _option(
        "none",
        "wandb: also log to Weights & Biases (docs/tracking.md); none; or your own",
    )
    keep: str = _option(
        "none",
        "final: keep the trained method in the store (docs/runs.md); none",
        choices=("none", "final"),
    )

    @property
    def keeps_final(self) -> bool:
        """Whether the trained method of a finished cell stays in the store."""
        return self.keep == "final"


OPTIONS: dict[str, Setting] = {f.name: f.metadata["setting"] for f in fields(Execution)}
"""Default, help text and allowed values of every option."""

SWEEP_OPTIONS = tuple(f.name for f in fields(Execution) if f.metadata["in_sweeps"])
"""The options that a sweep file has as keys; the others follow from its number of workers, or from
the profile of a cluster."""


def execution_from(record: Mapping[str, Any]) -> Execution:
    """The object that `dataclasses.asdict` wrote; options that the record lacks have their
    default, and names that are no option are left out."""
    return Execution(**{name: record[name] for name in OPTIONS if name in record})
