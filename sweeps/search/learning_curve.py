"""How accurate a cell was, finished or after each of its tasks: by this, values are chosen.

The accuracy after task t is over the test images of all tasks seen so far: a configuration that
learns the newest task by forgetting the others scores low at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from janus import atomic_files, metrics
from janus.store.store import Store


class Curve:
    """Observer of a run: keeps the accuracy after each task beside the run's checkpoints.

    `run_cell` tells of a task before it writes the checkpoint at its end, so that a run which was
    killed and goes on from there has lost no point.
    """

    def __init__(self, store: Store, cell_id: str) -> None:
        self.path = store.run_dir(cell_id) / "curve.json"

    def notify(self, event: str, facts: Mapping[str, Any]) -> None:
        """Write down a finished task."""
        if event == "task":
            points = _points(self.path)[: facts["task"]]
            points += [None] * (facts["task"] - len(points))  # tasks that nobody watched
            atomic_files.replace(self.path, atomic_files.json_writer([*points, facts["accuracy"]]))


def read_curve(store: Store, cell_id: str) -> list[float | None]:
    """Accuracies as fractions, one for each finished task; None where nothing was measured."""
    result = store.result(cell_id)
    if result is None:
        return _points(store.run_dir(cell_id) / "curve.json")
    points = (metrics.after_task(row, result["total"]) for row in result["correct"])
    return [point[0] if point else None for point in points]


def _points(path: Path) -> list[float | None]:
    """The accuracies kept at `path`; none where the file is missing or damaged."""
    found = atomic_files.read_json(path)
    if not isinstance(found, list) or not all(p is None or type(p) in (int, float) for p in found):
        return []
    return found


def mean_acc(store: Store, cell_ids: Iterable[str]) -> float | None:
    """Mean ACC of finished cells, as a fraction; None when one of them has no result."""
    results = [store.result(cell_id) for cell_id in cell_ids]
    if not all(results):
        return None
    return fmean(float(r["metrics"]["acc"]) for r in results if r)
