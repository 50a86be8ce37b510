"""What starts the tasks of a submission where it is neither SLURM nor this machine.

A launcher from outside is a class with these three methods, registered under a name
(`janus.plugins.register_launcher`) and used as `cluster=NAME`; docs/extend.md has an example.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Protocol

from cluster.node import slurm_task
from cluster.record.submission import Submission
from janus import plugins
from janus.errors import ClusterError


class Launcher(Protocol):
    """Made without arguments for each command."""

    def submit(self, submission: Submission, tasks: int) -> list[str]:
        """Start `tasks` tasks, each by `command`, and return a name of each."""

    def running(self, submission: Submission) -> list[str]:
        """Names of the tasks that wait or run."""

    def cancel(self, submission: Submission) -> None:
        """End them, by TERM: a task then saves what it trains."""


def command(submission: Submission, index: int, tasks: int) -> tuple[list[str], dict[str, str]]:
    """(words, variables to set) of the process that is task `index` of `tasks`."""
    words = [submission.profile.python or sys.executable, "-m", slurm_task.__name__]
    words += [str(submission.folder), str(index), str(tasks)]
    return words, {"PYTHONPATH": str(submission.code), "PYTHONSAFEPATH": "1"}


def launcher(name: str) -> Launcher:
    """The launcher of this name. Raises ClusterError where nothing registers it here."""
    entry = plugins.find("launcher", name)
    if entry is None:
        raise ClusterError(
            f"cluster={name} is a launcher from outside of this project, and its module was not "
            "found: name it with --include PATH"
        )
    made: Launcher = entry.value()
    return made


def names() -> Sequence[str]:
    """What cluster=... can be."""
    return [*plugins.OUR_NAMES["launcher"], *plugins.names("launcher")]
