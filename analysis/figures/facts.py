"""Reads from runs and their result files the numbers that figures show."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.runs import load
from analysis.runs.load import RunRecord
from analysis.runs.protocol import Group
from analysis.stats import significance
from analysis.tables import comparison
from janus import metrics

Rows = Mapping[str, Sequence[RunRecord]]
"""Runs of one bench by row; rows in the order in which they are drawn."""

Array = NDArray[np.float64]


def rows_of(
    group: Group, labels: Mapping[str, str], order: Sequence[str]
) -> dict[str, list[RunRecord]]:
    """{row: its runs in the group}; rows in the order of `order`, without rows that have no runs.

    `labels`: {run id: row}.
    """
    found: dict[str, list[RunRecord]] = {}
    for run in group.runs:
        found.setdefault(labels[run.id], []).append(run)
    return {row: found[row] for row in order if row in found}


def curve(run: RunRecord) -> list[float]:
    """Accuracy in percent on the tasks so far, after each task; NaN if not measured."""
    record = load.record(run)
    points = [metrics.after_task(row, record["total"]) for row in record["correct"]]
    return [math.nan if p is None else 100 * p[0] for p in points]


def matrix(run: RunRecord) -> Array:
    """The accuracy matrix [t, j]: percent on task j after task t; NaN if not measured (j > t)."""
    record = load.record(run)
    tasks = len(record["total"])
    out = np.full((tasks, tasks), np.nan)
    for t, row in enumerate(record["correct"]):
        for j, count in enumerate(row or ()):
            out[t, j] = 100 * count / record["total"][j]
    return out


def seconds(run: RunRecord) -> list[float]:
    """Training seconds up to the end of each task; [] if they were not recorded."""
    return list(np.cumsum(load.provenance(run).get("seconds_per_task") or []))


def diagnostic(run: RunRecord, read: Callable[[Mapping[str, Any]], Any]) -> list[Any]:
    """The value of `read` for each task's diagnostics; tasks for which it is None are left out."""
    values = [read(d) for d in load.record(run)["diagnostics"] or () if d]
    return [v for v in values if v is not None]


def violation(run: RunRecord, projection: str) -> Array | None:
    """(blocks,): |dW X_past| of each block, mean over all tasks but the first.

    The norm is not normalised, as in the paper. `projection`: `k` or `v`. None if not measured.
    """
    found = diagnostic(run, lambda d: (d.get("violation_past_raw") or {}).get(projection))
    return np.mean(found, axis=0) if found else None


def overlap_per_task(run: RunRecord) -> list[tuple[float, float]]:
    """(cosine to the own class centre, to the nearest old centre) of each task but the first.

    [] if not measured.
    """
    return [
        pair
        for pair in diagnostic(run, lambda d: (d.get("own_centre"), d.get("danger")))
        if None not in pair
    ]


def over_units(runs: Sequence[RunRecord], read: Callable[[RunRecord], Sequence[float]]) -> Array:
    """[unit, point]: the values that `read` returns for a run, averaged over the runs of a unit.

    A unit is an order, or a seed if all runs have the same order. Runs without values are left out;
    the array is empty if no run has values.
    """
    unit = comparison.unit_of(runs)
    lines: dict[str, list[Sequence[float]]] = {}
    for run in runs:
        values = read(run)
        if len(values):
            key = run.order if unit == "order" else f"{run.order}/{run.seed}"
            lines.setdefault(key, []).append(values)
    return np.array([np.mean(group, axis=0) for group in lines.values()])


def places(runs: Sequence[RunRecord], key: str) -> dict[significance.Place, float]:
    """{(order, seed): the metric `key` in percent}, without runs that did not measure it."""
    return {(r.order, r.seed): 100 * v for r in runs if (v := r.metrics.get(key)) is not None}


def metric(runs: Sequence[RunRecord], key: str) -> dict[str, float]:
    """{unit (order or seed): the metric `key` in percent}."""
    return significance.average_units(places(runs, key), comparison.unit_of(runs))


def numeric_settings(runs: Iterable[RunRecord]) -> list[str]:
    """The names of the method settings whose values are numbers and differ between the runs."""
    values: dict[str, set[float]] = {}
    for run in runs:
        for name, value in load.settings(run).items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                values.setdefault(name, set()).add(float(value))
    return sorted(n for n, found in values.items() if len(found) > 1 and n != "revision")
