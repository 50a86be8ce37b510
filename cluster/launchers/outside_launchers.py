"""Launchers from outside of this project: `cluster=NAME` where a module registered NAME.

One is a class with three methods, registered by `janus.plugins.register_launcher`; docs/extend.md
has an example. `OutsideLauncher` gives it the interface of SLURM and of this machine.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Protocol

from cluster.launchers.launcher import Tasks, task_count
from cluster.node import slurm_task
from cluster.record.profile import Profile
from cluster.record.submission import Submission
from cluster.scheduler.slurm_commands import Queued
from janus import plugins
from janus.errors import ClusterError


class SimpleLauncher(Protocol):
    """What a module registers. Made without arguments for each command."""

    def submit(self, submission: Submission, tasks: int) -> list[str]:
        """Start `tasks` tasks, each by `task_command`, and return a name of each."""

    def running(self, submission: Submission) -> list[str]:
        """Names of the tasks that wait or run."""

    def cancel(self, submission: Submission) -> None:
        """End them, by TERM: a task then saves what it trains."""


def task_command(
    submission: Submission, index: int, tasks: int
) -> tuple[list[str], dict[str, str]]:
    """(words, variables to set) of the process that is task `index` of `tasks`."""
    words = [submission.profile.python or sys.executable, "-m", slurm_task.__name__]
    words += [str(submission.folder), str(index), str(tasks)]
    return words, {"PYTHONPATH": str(submission.code), "PYTHONSAFEPATH": "1"}


class OutsideLauncher:
    """A registered launcher behind the interface that the commands use."""

    modes: tuple[str, ...] = ("array",)

    def __init__(self, name: str) -> None:
        """Raises ClusterError where nothing registers the name here."""
        entry = plugins.find_plugin("launcher", name)
        if entry is None:
            raise ClusterError(
                f"cluster={name} is a launcher from outside of this project, and its module was "
                "not found: name it with --include PATH"
            )
        self.name = name
        self.made: SimpleLauncher = entry.value()

    def check(self, store: Path, profile: Profile, dry: bool) -> list[str]:
        """No lines: nothing is checked for a launcher from outside."""
        return []

    def describe(self, submission: Submission, cells: int, mode: str) -> list[str]:
        """The number of tasks."""
        tasks = task_count(cells, submission.profile)
        return [f"{tasks} tasks, started by the launcher {self.name}"]

    def submit(self, submission: Submission, mode: str) -> list[str]:
        """Start the tasks; returns their names."""
        tasks = task_count(len(submission.work[0]), submission.profile)
        return self.made.submit(submission, tasks)

    def queue(self) -> list[Queued]:
        """No jobs: a launcher from outside is asked per submission (see `tasks`)."""
        return []

    def tasks(self, submission: Submission, queued: list[Queued] | ClusterError) -> Tasks:
        """The tasks whose names the launcher says wait or run."""
        count = len(self.made.running(submission))
        return Tasks([], f"tasks: {count} of the launcher {self.name}", not count)

    def cancel(self, submission: Submission) -> None:
        """End the tasks that wait or run."""
        self.made.cancel(submission)

    def with_resources(self, profile: Profile, command: str) -> str:
        """The command itself: what a task gets is known to the launcher alone."""
        return command
