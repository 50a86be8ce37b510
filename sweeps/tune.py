"""Cells as Ray Tune trials: the only file that knows Ray.

Tune schedules and nothing else: its checkpoints, restore and retries are off, because the run
store already knows what is finished (see `drive.py`). The cluster that is started here listens on
the loopback interface only, has a private token, and leaves no process and no file behind. With
RAY_ADDRESS set, an existing cluster is used instead.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from janus.config import Cell, cell_from_dict
from janus.errors import OUT_OF_MEMORY, ClusterError
from janus.hardware import pick_device
from janus.store import Store
from janus.wandb_tracker import Tracking
from sweeps import leftovers
from sweeps.attempt import Outcome, attempt
from sweeps.drive import Note
from sweeps.packing import Packing
from sweeps.policy import CRASH, LOST_NODE
from sweeps.ray_settings import OBJECT_STORE_BYTES, ray_settings

os.environ.update(ray_settings())

import ray
from ray import cloudpickle, tune
from ray.tune.schedulers import FIFOScheduler

STARTS = 3
"""Times that Ray is started before a busy machine is given up."""


class SpoiledError(Exception):
    """Carries the outcome of a failed cell out of a GPU worker that must not be used again."""


class CellTrial(tune.Trainable):  # type: ignore[misc]
    """One trial = one cell; the process is kept for the next, torch and all.

    But not after a failure on a GPU: what the failure left on the device goes with the process.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Take the cell and import what training needs."""
        self.job = config["job"]
        self.tracking = Tracking()
        import janus.run  # noqa: F401

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next cell in the same process."""
        self.job = new_config["job"]
        return True

    def step(self) -> dict[str, Any]:
        """Train the whole cell and report how it ended."""
        cell = cell_from_dict(json.loads(self.job["cell"]))
        store = Store(self.job["store"])
        if self.job["stalled"] is not None:  # the driver watched long enough; we have just started
            store.trust(cell.id, *self.job["stalled"])
        outcome = attempt(cell, store, lambda: self.run_cell(cell, store))
        facts = json.dumps(asdict(outcome) | {"shared": self.job["shared"]})
        if self.job["gpu"] and outcome.status == "failed":
            raise SpoiledError(facts)
        return {"outcome": facts, "done": True}

    def run_cell(self, cell: Cell, store: Store) -> dict[str, Any] | None:
        """Run the cell on the device that the job names, within its share of it."""
        import torch

        from janus.run import run_cell

        device = pick_device(self.job["device"])  # Ray hides the GPUs from those given none
        if device == "cuda":
            torch.cuda.empty_cache()
            # whoever needs more than was measured runs out of memory, not its neighbours
            torch.cuda.set_per_process_memory_fraction(1 / self.job["shared"])
        # one thread each: cells side by side on a core each beat one cell on all of them
        threads = 1 if device == "cpu" else None
        saves = {"checkpoint_s": self.job["checkpoint_s"], "keep_final": self.job["keep_final"]}
        with self.tracking.observe(cell, store, self.job["tracked"]) as tracker:
            return run_cell(cell, store, tracker, device=device, threads=threads, **saves)

    def cleanup(self) -> None:
        """Before the process ends."""
        self.tracking.close()


class _InOrder(FIFOScheduler):  # type: ignore[misc]
    """Trials in the plan's order; passes on how each ended, as it ends.

    Not a callback: for those, Tune imports the clients of several trackers first.
    """

    def __init__(self, note: Note) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.note = note
        self.heard: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its scheduler for a restore that we never do; a terminal cannot be."""
        return {name: value for name, value in self.__dict__.items() if name != "note"}

    def on_trial_complete(self, controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """A trial reported its outcome."""
        self.hear(Outcome(**json.loads(result["outcome"])))

    def on_trial_error(self, controller: Any, trial: Any) -> None:
        """A trial's process died, or is to be replaced."""
        error = _error(trial)
        cause = getattr(error, "cause", None)
        if isinstance(cause, SpoiledError):
            self.hear(Outcome(**json.loads(cause.args[0])))
        else:
            job = trial.config["job"]
            self.hear(crashed(job["id"], str(error or ""), job["shared"]))

    def hear(self, outcome: Outcome) -> None:
        """Pass on the first outcome of each cell."""
        if outcome.cell_id not in self.heard:
            self.heard.add(outcome.cell_id)
            self.note(outcome)


def _error(trial: Any) -> Exception | None:
    """What ended a trial. Tune's own getters look where the file is copied to later."""
    path = trial.pickled_error_file
    if path is None or not Path(path).exists():
        return None
    found: Exception = cloudpickle.loads(Path(path).read_bytes())  # this driver just wrote it
    return found


def crashed(cell_id: str, error: str, shared: int = 1) -> Outcome:
    """The outcome of an attempt that could not report by itself, from Ray's words about it."""
    cause, why = CRASH, "the worker process died (killed, or a native crash)"
    if "OutOfMemory" in error or "low on memory" in error:
        cause, why = OUT_OF_MEMORY, "the worker process was ended for lack of memory"
    elif "node has died" in error or "raylet died" in error:
        cause, why = LOST_NODE, "the machine that trained it was lost"
    return Outcome(cell_id, "crashed", cause, why, shared=shared)


class RayPool:
    """Workers that train cells. Use as a context manager: leaving it ends every process."""

    trial: type[CellTrial] = CellTrial

    def __init__(
        self,
        store: Store,
        workers: int | None,
        device: str = "auto",
        *,
        sweep: Sequence[Cell] = (),
        gpus: int | None = None,
        tracked: Mapping[str, Mapping[str, Any]] | None = None,
        checkpoint_s: float = 60.0,
        keep_final: bool = False,
    ) -> None:
        """`sweep`: all its cells, for what is measured; `gpus`: null takes those that Ray finds.

        `tracked`: {cell id: what W&B is told beside the cell}; other cells are not tracked.
        `checkpoint_s`: seconds of training that a killed worker may lose; `keep_final`: whether
        trained methods stay in the store.
        """
        self.store = store
        self.sweep = sweep
        self.gpus = gpus
        self.tracked = tracked or {}
        self.checkpoint_s, self.keep_final = checkpoint_s, keep_final
        self.workers = workers or 0
        """Cells trained at a time; 0 until an existing cluster has told how many cores it has."""
        self.side_by_side = 0
        """The most cells that were trained at a time."""
        self.device = device
        self.node_cores = 1
        """Of the largest machine: what a cell can have at most."""
        self.packing = Packing(store, 1)
        self.address = os.environ.get("RAY_ADDRESS")
        self._folder = Path()
        self._saved: dict[str, str | None] = {}

    def __enter__(self) -> RayPool:
        parent = self._parent()
        leftovers.clear(Path(parent))
        self._folder = Path(tempfile.mkdtemp(prefix=leftovers.PREFIX, dir=parent))
        leftovers.mark(self._folder)
        try:
            self._prepare()
            self._connect()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            ray.shutdown()
            if not self.address:
                leftovers.end_processes(self._folder)
        finally:
            for name, value in self._saved.items():
                os.environ.pop(name, None)
                os.environ.update({} if value is None else {name: value})
            shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, cells: Sequence[Cell], note: Note) -> None:
        """Attempt each cell once; `note` hears of each as it ends."""

        def hear(outcome: Outcome) -> None:
            self.packing.hear(outcome)
            note(outcome)

        for batch in self.packing.batches(cells):
            most = max(shared for _, shared in batch)
            room = self.packing.gpus * most if self.packing.gpus else self.workers
            self.side_by_side = max(self.side_by_side, min(self.workers, room))
            self._fit([self._job(cell, shared) for cell, shared in batch], _InOrder(hear))

    def _fit(self, jobs: list[dict[str, Any]], scheduler: _InOrder) -> None:
        self.fit_trials(
            self.trial, lambda config: _resources(config["job"]), jobs, scheduler=scheduler
        )
        for job in jobs:
            if job["id"] not in scheduler.heard:
                scheduler.hear(crashed(job["id"], "", job["shared"]))

    def fit_trials(
        self,
        trial: type[tune.Trainable],
        resources: Any,
        jobs: Sequence[Mapping[str, Any]],
        *,
        scheduler: FIFOScheduler | None = None,
        reuse: bool = True,
    ) -> tune.ResultGrid:
        """One trial for each job, with everything off that the run store does better.

        `resources`: as for `tune.with_resources`; `reuse`: whether a process is kept for the next.
        """
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
                storage_path=str(self._folder / "tune"),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(
                    checkpoint_at_end=False, checkpoint_frequency=0
                ),
            ),
        )
        with _quiet("ray.tune"):
            return tuner.fit()

    def _job(self, cell: Cell, shared: int) -> dict[str, Any]:
        """What a worker needs, as plain data with absolute paths: its folder is not ours."""
        gpu = bool(self.packing.gpus)
        return {
            "id": cell.id,
            "cell": json.dumps(asdict(cell)),
            "store": str(self.store.root),
            "device": self.device,
            "checkpoint_s": self.checkpoint_s,
            "keep_final": self.keep_final,
            "stalled": self.store.stalled_claim(cell.id),
            "tracked": self.tracked.get(cell.id),
            "shared": shared,
            "gpu": int(1e4 / shared) / 1e4 if gpu else 0.0,  # Ray's precision, never rounded up
            "cpu": 1 if gpu else max(1, min(self.workers // shared, self.node_cores)),
        }

    def _parent(self) -> str:
        """Where the temporary folder goes: short for Ray's sockets, or seen by every node."""
        if self.address:
            folder = self.store.root / "sweeps"
            folder.mkdir(parents=True, exist_ok=True)
            return str(folder)
        usual = tempfile.gettempdir()
        return usual if len(usual) <= 30 else "/tmp"

    def _prepare(self) -> None:
        """Give a cluster of our own a private token, and its workers a place for their litter."""
        if self.address:
            return
        path = self._folder / "token"
        path.touch(mode=0o600)
        path.write_text(_token())
        for name, value in (("RAY_AUTH_TOKEN_PATH", path), ("TMPDIR", self._folder)):
            self._saved[name] = os.environ.get(name)
            os.environ[name] = str(value)

    def _connect(self) -> None:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if self.address:
                _reach(self.address)
                ray.init(address=self.address, **quiet)
            else:
                self._start(quiet)
        except Exception as error:  # Ray raises bare ones as well
            where = f"the cluster at {self.address}" if self.address else "Ray on this machine"
            first = (str(error) or type(error).__name__).splitlines()[0]
            raise ClusterError(f"cannot use {where}: {first}") from error
        resources: Any = ray.cluster_resources()  # type: ignore[no-untyped-call]
        gpus = int(resources.get("GPU", 0))
        self.workers = self.workers or max(1, int(resources.get("CPU", 1)))
        if self.device == "cuda" and not gpus:
            raise ClusterError("device=cuda, but Ray sees no GPU here; use device=cpu")
        nodes: Any = ray.nodes()  # type: ignore[no-untyped-call]
        self.node_cores = max(int(node["Resources"].get("CPU", 1)) for node in nodes)
        gpus = gpus if self.device != "cpu" else 0
        places = max(1, self.workers // gpus) if gpus else self.workers
        self.packing = Packing(self.store, places, gpus, self.sweep)

    def _start(self, quiet: Mapping[str, Any]) -> None:
        """A cluster of our own. Ray gives its processes 30 s: too few on a busy machine."""
        for left in reversed(range(STARTS)):
            try:
                ray.init(
                    num_cpus=self.workers or 1,
                    num_gpus=self.gpus,
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE_BYTES,
                    _temp_dir=str(self._folder),
                    **quiet,
                )
                return
            except Exception as error:
                if not left or "timed out" not in str(error):
                    raise
                ray.shutdown()
                leftovers.end_processes(self._folder)


def _resources(job: Mapping[str, Any]) -> tune.PlacementGroupFactory:
    """A whole core each on a GPU's share; on cores alone, more of them when memory was short."""
    wanted = {"CPU": job["cpu"]} | ({"GPU": job["gpu"]} if job["gpu"] else {})
    return tune.PlacementGroupFactory([wanted])


def _reach(address: str, patience_s: float = 5.0) -> None:
    """Fail at once when nobody listens: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), patience_s).close()


@lru_cache
def _token() -> str:
    """One per process: Ray reads the token once and keeps it."""
    return secrets.token_hex(32)


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
