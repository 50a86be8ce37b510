"""One configuration of a search, judged by what the store holds of its tuning cells.

Nothing here remembers: a search that was killed finds the same scores, cuts and failures again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from janus import atomic_files
from janus.config.cell import Cell
from janus.store.store import Store
from sweeps.search.learning_curve import mean_acc, read_curve
from sweeps.search.samplers import Score
from sweeps.spec.plan import PlannedCell
from sweeps.spec.rows import Row, at, pattern
from sweeps.spec.search_space import Configuration
from sweeps.spec.sweep import Sweep

DIVERGED = "nan"
"""The cause of a failure that says something of the configuration; others say it of the machine."""


@dataclass
class Candidate:
    """A configuration and its tuning cells."""

    row: Row
    """The row that it competes for."""
    label: str
    """`janus[lr=0.0003,rank=8]`."""
    configuration: Configuration
    cells: tuple[Cell, ...]
    cut_at: int | None = None
    """Finished tasks when it was stopped early."""
    rungs: dict[int, float] = field(default_factory=dict)
    """Mean accuracy by finished tasks, at the rungs it reached."""

    @property
    def tasks(self) -> int:
        """Length of its streams."""
        return self.cells[0].bench.tasks

    def planned(self) -> list[PlannedCell]:
        """Its cells, for the sweep's list."""
        return [PlannedCell(cell, self.label) for cell in self.cells]

    def reached(self, task: int, store: Store) -> bool:
        """Whether every cell has finished `task` tasks; the last one with a committed result."""
        if task >= self.tasks:
            return all(store.result_path(cell.id).exists() for cell in self.cells)
        return all(len(read_curve(store, cell.id)) >= task for cell in self.cells)

    def diverged(self, store: Store) -> bool:
        """Whether training of a cell reached NaN: it would again."""
        return any(
            store.status(cell.id) == "failed"
            and (store.failure(cell.id) or {}).get("cause") == DIVERGED
            for cell in self.cells
        )

    def accuracy_after(self, task: int, store: Store) -> float | None:
        """Mean over the cells of the accuracy over all tasks seen after `task` of them."""
        points = [read_curve(store, cell.id)[task - 1] for cell in self.cells]
        known = [point for point in points if point is not None]
        return fmean(known) if len(known) == len(points) else None

    def score(self, store: Store) -> Score:
        """The objective once it ended: mean ACC over the cells; 0 when one of them diverged."""
        if self.cut_at is not None:
            return Score(self.rungs[self.cut_at], self.cut_at)
        return Score(mean_acc(store, (cell.id for cell in self.cells)) or 0.0)

    def cut(self, task: int, search: str, store: Store) -> None:
        """Stop it after `task` tasks and mark its runs, which stay without a result."""
        self.cut_at = task
        record = {"search": search, "tasks_done": task, "accuracy": self.rungs[task]}
        for cell in self.cells:
            if not store.result_path(cell.id).exists():
                path = store.run_dir(cell.id) / "cut.json"
                atomic_files.replace(path, atomic_files.json_writer(record))


def make_candidate(sweep: Sweep, row: Row, configuration: Configuration) -> Candidate:
    """The candidate of `row` with these values, on every tuning pair of `sweep`."""
    changes = {f"method.{name}": value for name, value in configuration.items()}
    told = [row.variant] if row.variant else []
    told += [f"{name}={value}" for name, value in configuration.items()]
    label = f"{row.method}[{','.join(told)}]" if told else row.method
    tried = replace(row, label=label, overrides={**row.overrides, **changes})
    cell = pattern(sweep.benches[0], tried, sweep.protocol)
    cells = tuple(at(cell, order, seed) for order, seed in sweep.pairs())
    return Candidate(row, label, configuration, cells)


def rung_tasks(tasks: int) -> list[int]:
    """Finished tasks at which configurations are compared: half of the stream, the grace period,
    and three quarters."""
    found = {math.ceil(tasks / 2), math.ceil(3 * tasks / 4)}
    return sorted(rung for rung in found if 0 < rung < tasks)


def losers(
    batch: Sequence[Candidate], seen: Sequence[Candidate], task: int, keep: float
) -> list[Candidate]:
    """Members of `batch` that do not pass the rung after `task` tasks (successive halving).

    Compared are the candidates of one row that reached this rung, in this batch or an earlier one,
    at the same number of tasks. The best `keep` of them pass; the earlier one wins a tie.
    """
    at_rung = [candidate for candidate in seen if task in candidate.rungs]
    ranked = sorted(at_rung, key=lambda candidate: -candidate.rungs[task])
    passed: Mapping[int, Candidate] = {
        id(candidate): candidate for candidate in ranked[: math.ceil(keep * len(ranked))]
    }
    return [c for c in batch if task in c.rungs and id(c) not in passed]
