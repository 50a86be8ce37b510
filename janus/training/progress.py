"""Reports how far a run is: to the store by its heartbeat, to the observer by events."""

from __future__ import annotations

import time
from typing import Any

from janus.data.stream import Task
from janus.evaluation.measurements import Measurements
from janus.tracking.observer import Observer
from janus.training.heartbeat import Heartbeat
from janus.training.run_state import RunState

REPORT_EVERY_S = 0.5
"""Seconds between two reports of a step; each of them waits for the device."""


class Progress:
    """What is reported between the start of a run and its result."""

    def __init__(
        self,
        heartbeat: Heartbeat,
        observer: Observer,
        measured: Measurements,
        state: RunState,
        tasks: int,
    ) -> None:
        """`tasks`: how many tasks the run has."""
        self.heartbeat, self.observer = heartbeat, observer
        self.measured, self.state, self.tasks = measured, state, tasks
        self.last_step_report = time.monotonic()

    def run_started(self, cell: dict[str, Any]) -> None:
        """Event `start`: the cell, and what earlier attempts measured."""
        self.observer.notify("start", {"cell": cell} | self._measured(self.state.seconds))

    def task_reached(self, task: Task) -> None:
        """The heartbeat of a task in which no step was made yet."""
        self.heartbeat.publish(self._facts(task, None))

    def task_begun(self, task: Task, epochs: int) -> None:
        """Event `begin`: the first training of a task, by this attempt, comes next."""
        self.observer.notify("begin", {"task": task.index, "tasks": self.tasks, "epochs": epochs})

    def step_is_due(self) -> bool:
        """Whether the last report of a step is old enough for the next one."""
        now = time.monotonic()
        if now - self.last_step_report <= REPORT_EVERY_S:
            return False
        self.last_step_report = now
        return True

    def step_done(self, task: Task, loss: float) -> None:
        """Heartbeat and event `step`."""
        facts = self._facts(task, loss)
        self.heartbeat.publish(facts)
        self.observer.notify("step", facts)

    def task_measured(self, task: Task) -> None:
        """Event `task`: the accuracies after a task, and all that was measured before."""
        seconds = self.state.task_seconds()
        facts = {
            "task": task.index,
            "tasks": self.tasks,
            "accuracy": self.measured.accuracy(),
            "seconds": seconds,
            "seconds_left": self.state.seconds_left(self.tasks, 1.0),
        }
        self.observer.notify("task", facts | self._measured([*self.state.seconds, seconds]))

    def _measured(self, seconds: list[float]) -> dict[str, Any]:
        """All measurements, also of earlier attempts, which this observer may not have seen."""
        return self.measured.matrices() | {"seconds_per_task": seconds}

    def _facts(self, task: Task, loss: float | None) -> dict[str, Any]:
        state, steps = self.state, task.steps_per_epoch * task.epochs
        done = state.epoch * task.steps_per_epoch + state.step
        return {
            "task": task.index,
            "tasks": self.tasks,
            "epoch": state.epoch,
            "epochs": task.epochs,
            "step": done,
            "steps": steps,
            "loss": loss,
            "accuracy": self.measured.accuracy(),
            "seconds_left": state.seconds_left(self.tasks, done / steps),
            # the work that a crash makes necessary again is counted by these two
            "seconds": sum(state.seconds) + state.task_seconds(),
            "resumed_s": state.resumed_s,
        }
