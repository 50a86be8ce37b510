"""The interface of a launcher, which starts tasks: on SLURM, on this machine, or in another place.

To add a launcher: a file beside this one with a class that has these methods, its name in
`LAUNCHERS` (`cluster/launchers/__init__.py`) and in `OUR_NAMES` (`janus/plugins.py`). From outside
of this project: `janus.plugins.register_launcher`.

A launcher is known by its name in `cluster.launchers.LAUNCHERS`: `cluster=NAME` on the command
line, `cluster` in the record of a submission.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cluster.record.profile import Profile
from cluster.record.submission import Submission
from cluster.scheduler.slurm_commands import Queued
from janus.errors import ClusterError


@dataclass(frozen=True)
class Tasks:
    """The tasks of one submission."""

    rows: list[Queued]
    """Those that the queue lists."""
    text: str
    """One line for people: 'tasks: 3 RUNNING'."""
    over: bool
    """No task waits or runs any more; False while the queue cannot be asked."""


class Launcher(Protocol):
    """Starts the tasks of a submission, asks for their state, and ends them."""

    modes: tuple[str, ...]
    """The values of `mode=` that it runs: `array`, `ray`."""

    def check(self, store: Path, profile: Profile, dry: bool) -> list[str]:
        """Before anything is written: lines about what of the profile will not count.

        Raises ClusterError for what would be refused or never run. `dry`: nothing will be
        submitted; what cannot be asked is a line then, no error.
        """

    def describe(self, submission: Submission, cells: int, mode: str) -> list[str]:
        """What `submit` would start for so many cells, as texts; nothing is started."""

    def submit(self, submission: Submission, mode: str) -> list[str]:
        """Start the tasks; returns the ids of the jobs. Raises ClusterError when refused."""

    def queue(self) -> list[Queued]:
        """Every waiting and running job of this user. Raises ClusterError: it cannot be asked."""

    def tasks(self, submission: Submission, queued: list[Queued] | ClusterError) -> Tasks:
        """The state of the submission's tasks. `queued`: what `queue` returned or raised."""

    def cancel(self, submission: Submission) -> None:
        """End the tasks that wait or run; cells in training save first."""

    def with_resources(self, profile: Profile, command: str) -> str:
        """The command that runs `command` for a few minutes with what a task gets."""


def task_count(cells: int, profile: Profile) -> int:
    """As many tasks as may run at a time, if there is a cell for each of their workers."""
    return min(profile.tasks, -(-cells // profile.cells_at_once))


def refuse_signs(store: Path, signs: Sequence[str]) -> None:
    """Raise ClusterError where the path of the store holds a sign that names of logs may not."""
    text = str(store)
    found = [f"a {sign!r}" for sign in signs if sign in text]
    if not text.isprintable() and "%" in signs:
        found.append("a character that cannot be printed")
    if found:
        raise ClusterError(
            f"store={text!r} has {found[0]} in its path, which stands for something else in the "
            "names of a job's logs. Name another folder"
        )
