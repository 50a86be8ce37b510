"""Workers that train cells, by Ray Tune.

Tune is imported when the cluster has been started: its workers start meanwhile.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from janus import plugins
from janus.config.cell import Cell, cell_record
from janus.config.execution import Execution
from janus.errors import ClusterError
from janus.machine.devices import gpu_names
from janus.store.store import Store
from sweeps.execution.attempt import Outcome
from sweeps.execution.gpu_sharing import Packing
from sweeps.execution.ray_cluster import Cluster
from sweeps.execution.retry_policy import CRASH, LOST_NODE
from sweeps.execution.rounds import OnOutcome

if TYPE_CHECKING:
    from ray import tune

    from sweeps.execution.ray_trial import CellTrial, InOrder


DEFAULTS = Execution()

PRELOAD = ("janus.training.loop", "janus.machine.import_timm", f"{__package__}.ray_trial")
"""What a worker needs before it can train."""


class RayPool:
    """Workers that train cells. Use as a context manager: leaving it ends every process."""

    trial: type[CellTrial] | None = None
    """What trains a cell; null: `CellTrial`."""

    def __init__(
        self,
        store: Store,
        workers: int | None,
        execution: Execution = DEFAULTS,
        *,
        sweep: Sequence[Cell] = (),
        gpus: int | None = None,
        tracked: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """`sweep`: all its cells, for what is measured; `gpus`: null takes those that Ray finds.

        `execution`: as the cells are to be executed; its store is replaced by the root of `store`.
        `tracked`: {cell id: what is logged beside the cell}; other cells are not tracked.
        """
        self.store = store
        self.sweep = sweep
        self.tracked = tracked or {}
        self.workers = workers or 0
        """Cells trained at a time; 0 until an existing cluster has told how many cores it has."""
        self.side_by_side = 0
        """The most cells that were trained at a time."""
        self.execution = replace(execution, store=str(store.root))
        self.packing = Packing(store, 1)
        # not beside GPUs: far more cores than cells that fit, and each would import torch
        on_cores = execution.device == "cpu" or not (gpu_names() if gpus is None else gpus)
        self.cluster = Cluster(store.root, self.workers or 1, gpus, PRELOAD if on_cores else ())

    def __enter__(self) -> RayPool:
        self.cluster.__enter__()
        try:
            self._settle(self.cluster)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.cluster.__exit__()

    def _settle(self, cluster: Cluster) -> None:
        """How many cells at a time, now that the cluster is known."""
        self.workers = self.workers or max(1, cluster.cores)
        if self.execution.device == "cuda" and not cluster.gpus:
            raise ClusterError("device=cuda, but Ray sees no GPU here; use device=cpu")
        gpus = cluster.gpus if self.execution.device != "cpu" else 0
        places = max(1, self.workers // gpus) if gpus else self.workers
        self.packing = Packing(self.store, places, gpus, self.sweep)

    def run(self, cells: Sequence[Cell], on_outcome: OnOutcome) -> None:
        """Attempt each cell; `on_outcome` is called as each attempt ends.

        A cell whose process died is attempted again at once, in the same round, when `on_outcome`
        says that it is worth it. Raises RayLostError when Ray itself dies.
        """
        for batch in self.packing.batches(cells):
            most = max(shared for _, shared in batch)
            room = self.packing.gpus * most if self.packing.gpus else self.workers
            self.side_by_side = max(self.side_by_side, min(self.workers, room))
            self._fit(batch, on_outcome)

    def _fit(self, batch: Sequence[tuple[Cell, int]], on_outcome: OnOutcome) -> None:
        from sweeps.execution.ray_trial import CellTrial, InOrder, crashed

        by_id = {cell.id: (cell, shared) for cell, shared in batch}
        jobs = [self._job(cell, shared) for cell, shared in batch]

        def ended(outcome: Outcome) -> dict[str, Any] | None:
            if outcome.status == "crashed" and self.cluster.lost_process():
                return None  # not the cell's doing, and no attempt of it
            self.packing.on_outcome(outcome)
            if on_outcome(outcome) and outcome.cause in (CRASH, LOST_NODE):
                return self._job(*by_id[outcome.cell_id])  # the claim to take over is a new one
            return None  # other causes need another share of the device: the next round gives it

        scheduler = InOrder(ended)
        trial = self.trial or CellTrial
        self.fit_trials(trial, lambda c: _resources(c["job"]), jobs, scheduler=scheduler)
        for job in jobs:
            if job["id"] not in scheduler.ended:
                scheduler.pass_on(crashed(job["id"], "", job["shared"]))

    def fit_trials(
        self,
        trial: type[tune.Trainable],
        resources: Any,
        jobs: Sequence[Mapping[str, Any]],
        *,
        scheduler: InOrder | None = None,
        reuse: bool = True,
    ) -> tune.ResultGrid:
        """One trial for each job, with everything off that the run store does better.

        `resources`: as for `tune.with_resources`; `scheduler`: decides which failed trials run
        again (null: none); `reuse`: whether a process is kept for the next.
        """
        from ray import tune

        tuner = tune.Tuner(
            tune.with_resources(trial, resources),
            param_space={"job": tune.grid_search(list(jobs))},
            tune_config=tune.TuneConfig(
                scheduler=scheduler,
                reuse_actors=reuse,
                max_concurrent_trials=self.workers,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                name=secrets.token_hex(4),
                storage_path=str(self.cluster.folder / "tune"),
                verbose=0,
                # with a scheduler of ours, Tune queues every failed trial again, and it decides
                failure_config=tune.FailureConfig(max_failures=-1 if scheduler else 0),
                checkpoint_config=tune.CheckpointConfig(
                    checkpoint_at_end=False, checkpoint_frequency=0
                ),
            ),
        )
        with _quiet("ray.tune"), self.cluster.watched():
            return tuner.fit()

    def _job(self, cell: Cell, shared: int) -> dict[str, Any]:
        """What a worker needs, as plain data with absolute paths: its folder is not ours."""
        gpu = bool(self.packing.gpus)
        return {
            "id": cell.id,
            "cell": json.dumps(cell_record(cell)),
            "execution": asdict(self.execution),
            "stalled": self.store.stalled_claim(cell.id),
            "tracked": self.tracked.get(cell.id),
            "shared": shared,
            "plugins": plugins.for_workers(),
            "gpu": int(1e4 / shared) / 1e4 if gpu else 0.0,  # Ray's precision, never rounded up
            "cpu": 1 if gpu else max(1, min(self.workers // shared, self.cluster.node_cores)),
        }


def _resources(job: Mapping[str, Any]) -> tune.PlacementGroupFactory:
    """A whole core each on a GPU's share; on cores alone, more of them when memory was short."""
    from ray import tune

    wanted = {"CPU": job["cpu"]} | ({"GPU": job["gpu"]} if job["gpu"] else {})
    return tune.PlacementGroupFactory([wanted])


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Silence Ray's tracebacks of dead workers: the driver reports them in its own words."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
