"""Which job this process belongs to, and how it hears that it should stop."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import FrameType
from typing import Any


@dataclass(frozen=True)
class Job:
    """A start of a task. A requeue keeps the id and raises `restart`."""

    id: str
    """SLURM's number of this task, unlike every other; '' without SLURM."""
    name: str
    """As SLURM prints it: 12_3 for task 3 of array 12; pid-N without SLURM."""
    restart: int
    node: str

    @property
    def label(self) -> str:
        """Stem of this start's files: '12_3.r0'."""
        return f"{self.name}.r{self.restart}"

    def record(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def here(environ: Mapping[str, str] = os.environ) -> Job:
    """The job of this process."""
    node = environ.get("SLURMD_NODENAME") or socket.gethostname()
    job_id = environ.get("SLURM_JOB_ID", "")
    if environ.get("SUBMITIT_EXECUTOR") == "local" or not job_id:
        pid = environ.get("SUBMITIT_LOCAL_JOB_ID", str(os.getpid()))
        return Job("", f"pid-{pid}", 0, node)
    name = job_id
    if array := environ.get("SLURM_ARRAY_JOB_ID"):
        name = f"{array}_{environ['SLURM_ARRAY_TASK_ID']}"
    return Job(job_id, name, int(environ.get("SLURM_RESTART_COUNT", 0)), node)


class StopFlag:
    """Remembers the signal that asked this process to stop; training looks at it after each step.

    USR2 is SLURM's warning before the time limit (and, on some sites, before a preemption). TERM
    comes with a preemption, a cancellation or a requeue from outside.
    """

    def __init__(self) -> None:
        self.signal = ""

    def __call__(self) -> bool:
        return bool(self.signal)

    def install(self) -> StopFlag:
        """Listen; replaces the handlers of whoever started us."""
        for number in (signal.SIGUSR2, signal.SIGTERM):
            signal.signal(number, self._remember)
        signal.signal(signal.SIGCONT, signal.SIG_DFL)
        return self

    def _remember(self, number: int, frame: FrameType | None) -> None:
        # a TERM after the warning adds nothing: the warning already asks for a requeue
        self.signal = self.signal or signal.Signals(number).name.removeprefix("SIG")
