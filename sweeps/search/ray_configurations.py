"""Configurations as Ray Tune trials: one trial trains all tuning cells of one configuration.

The cells go side by side: each is trained to the end of a task before any begins the next, and the
trial reports once per task. State lives in the store alone (`until_task` stops a cell at a task's
end, its checkpoint goes on from there), so a trial may end at any rung and another continue it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from janus import plugins
from janus.config.cell import Cell, cell_from_dict, cell_record
from janus.config.execution import Execution, execution_from
from janus.machine.devices import for_one_of_several
from janus.store.store import Store
from sweeps.execution.attempt import Outcome, attempt
from sweeps.execution.ray_pool import RayPool
from sweeps.execution.ray_trial import crashed  # sets what Ray reads while it is imported
from sweeps.search.learning_curve import Curve, read_curve

# isort: split
from ray import tune


class ConfigurationTrial(tune.Trainable):  # type: ignore[misc]
    """One configuration, up to a task."""

    def setup(self, config: dict[str, Any]) -> None:
        """Take the cells and import what training needs."""
        import janus.training.loop  # noqa: F401

        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take other cells in the same process."""
        self.job = new_config["job"]
        self.execution = execution_from(self.job["execution"])
        self.store = Store(self.execution.store)
        self.cells = [cell_from_dict(record) for record in json.loads(self.job["cells"])]
        for cell_id, stalled in self.job["stalled"].items():
            self.store.trust(cell_id, *stalled)
        return True

    def step(self) -> dict[str, Any]:
        """Train every cell to the end of the next task, and report how that went."""
        points = [len(read_curve(self.store, cell.id)) for cell in self.cells]
        target = min(self.job["until"], min(points) + 1)
        outcomes = []
        for cell, reached in zip(self.cells, points, strict=True):
            if reached < target or target == self.job["tasks"]:
                outcomes.append(self._train(cell, target))
            if outcomes and outcomes[-1].status != "done":
                break  # the configuration's score needs all of its cells
        ended = target == self.job["until"] or any(o.status != "done" for o in outcomes)
        told = json.dumps([asdict(outcome) for outcome in outcomes])
        return {"task": target, "outcomes": told, "done": ended}

    def _train(self, cell: Cell, target: int) -> Outcome:
        from janus.training.loop import run_cell

        def run() -> Mapping[str, Any]:
            plugins.restore(self.job["plugins"])
            # Ray hides the GPUs from workers that were given none
            execution = for_one_of_several(self.execution)
            observer = Curve(self.store, cell.id)
            result = run_cell(cell, self.store, observer, execution, until_task=target)
            return result or {}  # stopped at the task's end, as wanted

        return attempt(cell, self.store, run)


class ConfigurationPool(RayPool):
    """Workers that train configurations."""

    def run_until(
        self, configurations: Sequence[Sequence[Cell]], until: int
    ) -> list[list[Outcome]]:
        """Train each configuration's cells to the end of task number `until` (counted from 1).

        Returns the outcomes of the last task of each; a dead worker's are `crashed`.
        """
        gpu = bool(self.packing.gpus)
        resources = {"cpu": 1.0, "gpu": 1.0} if gpu else {"cpu": 1.0}
        jobs = [configuration_job(c, until, self.store, self.execution) for c in configurations]
        grid = self.fit_trials(ConfigurationTrial, resources, jobs, reuse=not gpu)
        results = [grid[index] for index in range(len(grid))]
        found = {result.config["job"]["key"]: result for result in results if result.config}
        return [_outcomes(cells, found.get(cells[0].id)) for cells in configurations]


def configuration_job(
    cells: Sequence[Cell], until: int, store: Store, execution: Execution
) -> dict[str, Any]:
    """What a worker needs, as plain data with absolute paths: its folder is not ours."""
    stalled = {cell.id: store.stalled_claim(cell.id) for cell in cells}
    return {
        "key": cells[0].id,
        "cells": json.dumps([cell_record(cell) for cell in cells]),
        "plugins": plugins.for_workers(),
        "until": until,
        "tasks": cells[0].bench.tasks,
        "execution": asdict(replace(execution, store=str(store.root))),
        "stalled": {key: value for key, value in stalled.items() if value is not None},
    }


def _outcomes(cells: Sequence[Cell], result: Any) -> list[Outcome]:
    metrics = getattr(result, "metrics", None) or {}
    if result is None or result.error is not None or "outcomes" not in metrics:
        return [crashed(cells[0].id, str(getattr(result, "error", "") or ""))]
    return [Outcome(**record) for record in json.loads(metrics["outcomes"])]
