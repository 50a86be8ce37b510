"""A cell as a Ray Tune trial: what happens in a worker, and how the driver hears of its end.

Tune schedules and nothing else: its checkpoints and restore are off, because the run store already
knows what is finished, and the driver decides what is tried again (see `rounds.py`).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from janus import plugins
from janus.config.cell import Cell, cell_from_dict
from janus.config.execution import execution_from
from janus.errors import OUT_OF_MEMORY
from janus.machine.devices import for_one_of_several
from janus.store.store import Store
from janus.tracking.observer import Tracker
from janus.tracking.trackers import make_tracker
from sweeps.execution.attempt import Outcome, attempt
from sweeps.execution.ray_settings import ray_settings
from sweeps.execution.retry_policy import CRASH, LOST_NODE

os.environ.update(ray_settings())

from ray import tune
from ray.tune.execution import class_cache
from ray.tune.schedulers import FIFOScheduler

# trials with variables of their own would get none of the processes that Ray has started for them
getattr(class_cache, "DEFAULT_ENV_VARS", {}).clear()


class SpoiledError(Exception):
    """Carries the outcome of a failed cell out of a GPU worker that must not be used again."""


_SPOILED = re.compile(r"SpoiledError: (\{.*\})")
"""How the text of a `SpoiledError` gives its outcome back: one line of JSON."""

_FAILURE = re.compile(r"^Failure # \d+ ", re.MULTILINE)
"""How Tune begins what it writes about each error of a trial."""


class CellTrial(tune.Trainable):  # type: ignore[misc]
    """One trial = one cell; the process is kept for the next, torch and all.

    But not after a failure on a GPU: what the failure left on the device goes with the process.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Take the cell and import what training needs."""
        self.job = config["job"]
        self.tracker: Tracker | None = None
        import janus.training.loop  # noqa: F401

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next cell in the same process."""
        self.job = new_config["job"]
        return True

    def step(self) -> dict[str, Any]:
        """Train the whole cell and report how it ended."""
        plugins.restore(self.job["plugins"])  # imported once, before the first cell
        cell = cell_from_dict(json.loads(self.job["cell"]))
        self.execution = execution_from(self.job["execution"])
        store = self.open_store(self.execution.store)
        if self.job["stalled"] is not None:  # the driver watched long enough; we have just started
            store.trust(cell.id, *self.job["stalled"])
        outcome = attempt(cell, store, lambda: self.run_cell(cell, store))
        facts = json.dumps(asdict(outcome) | {"shared": self.job["shared"]})
        if self.job["gpu"] and outcome.status == "failed":
            raise SpoiledError(facts)
        return {"outcome": facts, "done": True}

    def open_store(self, root: str) -> Store:
        """The run store in which this worker claims its cells."""
        return Store(root)

    def run_cell(self, cell: Cell, store: Store) -> dict[str, Any] | None:
        """Run the cell on the device that the job names, within its share of it."""
        import torch

        from janus.training.loop import run_cell

        # Ray hides the GPUs from workers that were given none
        execution = for_one_of_several(self.execution)
        if execution.device == "cuda":
            torch.cuda.empty_cache()
            # whoever needs more than was measured runs out of memory, not its neighbours
            torch.cuda.set_per_process_memory_fraction(1 / self.job["shared"])
        self.tracker = self.tracker or make_tracker(execution.tracker)
        with self.tracker.observe(cell, store, self.job["tracked"]) as observer:
            return run_cell(cell, store, observer, execution)

    def cleanup(self) -> None:
        """Before the process ends."""
        if self.tracker is not None:
            self.tracker.close()


class InOrder(FIFOScheduler):  # type: ignore[misc]
    """Trials in the plan's order; passes on how each ended, as it ends.

    Tune queues a trial that ended with an error again at once (`max_failures=-1`); this class stops
    it there, unless `on_outcome` wanted another attempt. Not a callback: for those, Tune imports
    the clients of several trackers first.
    """

    def __init__(self, on_outcome: Callable[[Outcome], Mapping[str, Any] | None]) -> None:
        """`on_outcome` takes how an attempt ended; it returns the job of another one, or None."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.on_outcome = on_outcome
        self.ended: set[str] = set()
        """Cells whose last attempt has ended."""
        self.again: dict[str, Mapping[str, Any]] = {}
        """Those of them that are to be attempted once more, with their job."""

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its scheduler for a restore that we never do; a terminal cannot be."""
        return {name: value for name, value in self.__dict__.items() if name != "on_outcome"}

    def on_trial_add(self, controller: Any, trial: Any) -> None:
        """A trial joins the queue: for the first time, or after an error."""
        cell_id = trial.config["job"]["id"]
        if cell_id in self.again:
            trial.config["job"] = self.again.pop(cell_id)
            self.ended.remove(cell_id)
        elif cell_id in self.ended:
            controller.stop_trial(trial)

    def on_trial_complete(self, controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """A trial reported its outcome."""
        self.pass_on(Outcome(**json.loads(result["outcome"])))

    def on_trial_error(self, controller: Any, trial: Any) -> None:
        """A trial's process died, or is to be replaced."""
        text = _error_text(trial)
        if reported := _SPOILED.search(text):
            self.pass_on(Outcome(**json.loads(reported[1])))
        else:
            job = trial.config["job"]
            self.pass_on(crashed(job["id"], text, job["shared"]))

    def pass_on(self, outcome: Outcome) -> None:
        """Pass on one outcome of each attempt."""
        if outcome.cell_id not in self.ended:
            self.ended.add(outcome.cell_id)
            if (job := self.on_outcome(outcome)) is not None:
                self.again[outcome.cell_id] = job


def _error_text(trial: Any) -> str:
    """Ray's words about what ended the last attempt of a trial; empty when it left none.

    Read from the text that Tune writes. The pickle beside it is never loaded: it would run whatever
    code somebody had put into it.
    """
    path = trial.error_file
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace") if path else ""
    except OSError:
        return ""
    return _FAILURE.split(text)[-1]  # Tune appends a section for every attempt


def crashed(cell_id: str, error: str, shared: int = 1) -> Outcome:
    """The outcome of an attempt that could not report by itself, from Ray's words about it."""
    cause, why = CRASH, "the worker process died (killed, or a native crash)"
    if "OutOfMemory" in error or "low on memory" in error:
        cause, why = OUT_OF_MEMORY, "the worker process was ended for lack of memory"
    elif "node has died" in error or "raylet died" in error:
        cause, why = LOST_NODE, "the machine that trained it was lost"
    return Outcome(cell_id, "crashed", cause, why, shared=shared)
