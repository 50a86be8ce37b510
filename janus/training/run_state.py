"""How far a run has come: its position, its seconds, and what else a checkpoint must continue."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any


@dataclass
class RunState:
    """Where training stands, counted over all attempts at the run."""

    task: int = 0
    """Number of finished tasks, and so the index of the current one."""
    epoch: int = 0
    """Finished epochs of the current task."""
    step: int = 0
    """Finished steps of the current epoch."""
    in_task: bool = False
    """Whether a checkpoint was taken inside the current task: its `begin_task` is then done."""
    seconds: list[float] = field(default_factory=list)
    """Seconds of each finished task."""
    spent: float = 0.0
    """Seconds that earlier attempts spent on the current task."""
    numerics: list[dict[str, Any]] = field(default_factory=list)
    """What decides rounding (see `machine/provenance.py`), once for each kind of machine."""
    trained_parameters: int = 0
    """The most parameters that were trained in one task."""
    resumed_s: float = 0.0
    """Training seconds that the checkpoint held from which this attempt started."""
    task_started: float = field(default_factory=time.monotonic)
    """When this attempt started the current task, by the monotonic clock."""

    def task_seconds(self) -> float:
        """Seconds spent on the current task so far, by all attempts."""
        return self.spent + time.monotonic() - self.task_started

    def start_task(self) -> None:
        """Start the clock of the current task."""
        self.task_started = time.monotonic()

    def finish_task(self) -> None:
        """Move on to the next task."""
        self.seconds.append(self.task_seconds())
        self.task, self.epoch, self.step, self.in_task = self.task + 1, 0, 0, False
        self.spent = 0.0

    def seconds_left(self, tasks: int, share: float) -> float | None:
        """Estimated seconds until the end of `tasks` tasks; None while that is not known.

        From the mean of the finished tasks, or from the `share` of the first one that is done.
        """
        left = tasks - self.task - share
        if self.seconds:
            return sum(self.seconds) / len(self.seconds) * left
        return self.task_seconds() / share * left if share > 0.02 else None

    def position(self) -> dict[str, int]:
        """Task, epoch and step."""
        return {"task": self.task, "epoch": self.epoch, "step": self.step}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds of this object."""
        return {
            "position": self.position(),
            "seconds": self.seconds,
            "spent": self.task_seconds() if self.in_task else 0.0,
            "numerics": self.numerics,
            "trained_parameters": self.trained_parameters,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        at = state["position"]
        self.task, self.epoch, self.step = at["task"], at["epoch"], at["step"]
        self.in_task = bool(self.epoch or self.step)
        self.seconds, self.numerics = state["seconds"], state["numerics"]
        self.spent, self.trained_parameters = state["spent"], state["trained_parameters"]
        self.resumed_s = sum(self.seconds) + self.spent
