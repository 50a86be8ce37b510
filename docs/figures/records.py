"""The committed results of the sweeps that documents show, opened as stores."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.runs import committed, load, sweep_lists
from analysis.runs.load import RunRecord
from analysis.stats import significance
from analysis.tables import comparison
from janus.errors import ConfigError
from sweeps.spec.plan import plan
from sweeps.spec.sweep_file import load_sweep as load_sweep
from sweeps.spec.sweep_file import sweep_names

RESULTS = Path(__file__).resolve().parents[1] / "results"


@dataclass(frozen=True)
class Results:
    """The results of one sweep."""

    name: str
    store: Path
    """A run store that holds them."""
    rows: Mapping[str, tuple[RunRecord, ...]]
    """Row of the sweep to its runs, by order and seed."""
    other: tuple[str, ...]
    """Rows with a cell that the sweep does not plan: of another revision, or with overrides."""
    absent: tuple[str, ...]
    """Rows that the sweep plans and that have no result."""

    def units(self, row: str, metric: str = "acc") -> list[float]:
        """The metric of a row in percent, one value an order; seeds are averaged inside."""
        read = comparison.COLUMNS[metric]
        values = {(run.order, run.seed): read.read(run) for run in self.rows[row]}
        known = {place: value for place, value in values.items() if value is not None}
        return [read.scale * value for value in significance.average_units(known).values()]

    def mean(self, row: str, metric: str = "acc") -> float:
        """The mean over orders; NaN where nothing was measured."""
        found = significance.mean_std(self.units(row, metric))[0]
        return math.nan if found is None else found

    def std(self, row: str, metric: str = "acc") -> float:
        """The standard deviation over orders (ddof 1); NaN for a single order."""
        found = significance.mean_std(self.units(row, metric))[1]
        return math.nan if found is None else found

    def differences(self, row: str, reference: str, metric: str = "acc") -> list[float]:
        """Paired differences of a row to the reference, one an order, in percent."""
        pairs = zip(self.units(row, metric), self.units(reference, metric), strict=True)
        return [ours - theirs for ours, theirs in pairs]

    def some(self) -> RunRecord:
        """Any of the runs, for what all of them share."""
        return next(iter(self.rows.values()))[0]

    def diagnostics(self, row: str, name: str) -> list[Any]:
        """What the runs of a row hold under this name, of every task that has it."""
        found = [load.record(run)["diagnostics"] or [] for run in self.rows[row]]
        return [task[name] for tasks in found for task in tasks if task and name in task]


@contextmanager
def opened(folder: Path = RESULTS) -> Iterator[dict[str, Results]]:
    """The committed results by the name of their sweep."""
    with tempfile.TemporaryDirectory() as temporary:
        found = {}
        for name in committed.committed_sweeps(folder):
            store = Path(temporary) / name
            committed.unpack_results(folder, [name], store)
            found[name] = read(store, name)
        yield found


def read(store: Path, name: str) -> Results:
    """The results of the sweep `name` in a store that holds all of them.

    Raises ConfigError for a result that cannot be read.
    """
    listed = sweep_lists.find_sweep(name, [store])
    loaded = load.load_runs([store])
    for path, why in loaded.skipped:
        raise ConfigError(f"the committed result {path.stem} of {name} is not usable: {why}")
    runs = {run.id: run for run in loaded.runs}
    rows: dict[str, list[RunRecord]] = {}
    for cell in listed.cells:
        rows.setdefault(str(cell.row), []).append(runs[cell.id])
    today = _planned(name)
    other = [row for row, found in rows.items() if any(run.id not in today for run in found)]
    absent = [row for row in dict.fromkeys(today.values()) if row not in rows]
    sorted_rows = {row: tuple(sorted(found, key=_place)) for row, found in rows.items()}
    return Results(name, store, sorted_rows, tuple(other), tuple(absent))


def _place(run: RunRecord) -> tuple[int, str, int]:
    return (int(run.order) if run.order.isdigit() else -1, run.order, run.seed)


def _planned(name: str) -> dict[str, str]:
    """{cell id: row} of what the sweep plans today; empty for a sweep that does not ship."""
    if name not in sweep_names():
        return {}
    return {planned.cell.id: planned.row for planned in plan(load_sweep(name, []).sweep).entries}
