"""Reads the published figures in `analysis/published/` (the README there describes the files).

An empty protocol field means that the value is unknown; it is never guessed.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from janus.errors import ConfigError

FOLDER = Path(__file__).parent
PROTOCOL = ("tasks", "weights", "split", "order", "epochs", "normalisation", "weighting")
"""Fields in which two figures must agree to be compared."""

SOURCES = {
    "janus-lora": "Janus-LoRA, arXiv 2605.28495",
    "sd-lora": "SD-LoRA, ICLR 2025",
    "sd-lora-logs": "SD-LoRA's logs",
    "inflora-logs": "InfLoRA's logs",
    "libcontinual": "LibContinual",
    "slca": "SLCA, ICCV 2023",
    "lora-drs-notes": "notes on LoRA-DRS (secondary)",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """One published number with its source and the known parts of its protocol."""

    source: str
    place: str
    kind: str
    method: str
    """The method's name in this project."""
    title: str
    """The name of the row in the source."""
    variant: str
    bench: str
    metric: str
    at: int | None
    mean: float
    std: float | None
    digits: tuple[str, str]
    """Mean and std as printed."""
    n: int | None
    n_stated: str
    """The place where the source states `n`; '' if and only if `n` is None."""
    std_ddof: int | None
    varies: str
    caution: str
    protocol: dict[str, str]
    """{field of `PROTOCOL`: value}, without unknown fields."""

    @property
    def row(self) -> str:
        """The method's name in the source, with its variant."""
        said = self.variant.lower() in self.title.lower() or self.variant in ("none", "all")
        return self.title if said else f"{self.title} ({self.variant})"


@cache
def published_figures() -> tuple[Published, ...]:
    """Every figure in figures.csv. Raises ConfigError if the file is missing or damaged."""
    path = FOLDER / "figures.csv"
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return tuple(_figure(row) for row in csv.DictReader(stream))
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(f"cannot read the published figures in {path}: {error}") from None


def _figure(row: dict[str, str]) -> Published:
    def whole(key: str) -> int | None:
        return int(row[key]) if row[key] else None

    if bool(row["n"]) != bool(row["n_stated"]):
        raise ValueError(f"{row['source']}, {row['place']}: n and n_stated must be given together")

    plain = ("source", "place", "kind", "method", "title", "variant", "bench", "metric")
    return Published(
        **{key: row[key] for key in plain},
        at=whole("at"),
        mean=float(row["mean"]),
        std=float(row["std"]) if row["std"] else None,
        digits=(row["mean"], row["std"]),
        n=whole("n"),
        n_stated=row["n_stated"],
        std_ddof=whole("std_ddof"),
        varies=row["varies"],
        caution=row["caution"],
        protocol={key: row[key] for key in PROTOCOL if row[key]},
    )


def summaries(benches: Iterable[str] = (), tasks: int | None = None) -> list[Published]:
    """The published ACC, MAA and BWT after the last task.

    `benches`: only those on these benches, or on all if it is empty. `tasks`: only those that state
    this number of tasks, or all if it is None.
    """
    wanted = set(benches)
    return [
        figure
        for figure in published_figures()
        if figure.metric in ("acc", "maa", "bwt")
        and figure.at is None
        and (not wanted or figure.bench in wanted)
        and (tasks is None or figure.protocol.get("tasks") == str(tasks))
    ]


@dataclass(frozen=True, slots=True)
class LoggedRun:
    """One run in InfLoRA's logs."""

    run: str
    commit: str
    method: str
    bench: str
    seed: int
    shuffled: bool
    tasks: int
    matrix: tuple[tuple[float, ...], ...]
    """Accuracy in percent: [t][j] on task j after task t."""
    totals: tuple[float, ...]
    """Accuracy in percent on all tasks so far, after each task."""
    seconds: tuple[float, ...]

    @property
    def finished(self) -> bool:
        """Whether the log reaches the last task."""
        return len(self.totals) == self.tasks


@cache
def inflora_logs() -> tuple[LoggedRun, ...]:
    """All runs of InfLoRA's published logs, unfinished ones included."""
    values: dict[str, dict[tuple[str, int, int], float]] = {}
    with (FOLDER / "inflora_values.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            key = (row["kind"], int(row["after_task"]), int(row["task"] or 0))
            values.setdefault(row["run"], {})[key] = float(row["value"])
    with (FOLDER / "inflora_runs.csv").open(encoding="utf-8", newline="") as stream:
        return tuple(_logged(row, values[row["run"]]) for row in csv.DictReader(stream))


def _logged(row: dict[str, str], values: dict[tuple[str, int, int], float]) -> LoggedRun:
    done = range(1, int(row["tasks_done"]) + 1)
    return LoggedRun(
        run=row["run"],
        commit=row["commit"],
        method=row["method"],
        bench=row["bench"],
        seed=int(row["seed"]),
        shuffled=row["shuffled"] == "True",
        tasks=int(row["tasks"]),
        matrix=tuple(tuple(values["task_acc", t, j] for j in range(1, t + 1)) for t in done),
        totals=tuple(values["total", t, 0] for t in done),
        seconds=tuple(values["train_seconds", t, 0] for t in done),
    )
