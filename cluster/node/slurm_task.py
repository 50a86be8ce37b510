"""What SLURM starts: a task of the job array. It checks the node, keeps workers running, and asks
for a requeue when it is stopped before the work is done.

It imports no torch: it must answer signals at once, and survive what its workers do not.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.node.job import Job, StopFlag, here
from cluster.node.job_store import TRIES
from cluster.node.node_check import UNFIT, check_node
from cluster.node.stage_data import stage
from cluster.record.code_snapshot import check_imports, verify_snapshot
from cluster.record.submission import Events, Submission, read_events
from cluster.scheduler import slurm_commands
from janus.errors import JanusError
from janus.store.store import Store
from sweeps.spec.by_status import by_status

CRASHES = 5
"""Worker deaths in a row, with no cell finished in between, after which a task gives up; more than
a single cell is allowed (`claims.TRIES`), so that a cell that kills its worker is failed first."""

CANNOT_TRAIN = "this node cannot train, see its check"

LINGER_S = 60.0
"""How long a requeued task waits for SLURM to end it: returning first would count as finished."""


@dataclass
class SlurmTask:
    """Callable for submitit: task `index` of `tasks` of the submission in `folder`."""

    folder: str
    index: int
    tasks: int

    def __call__(self) -> dict[str, Any]:
        """Work until nothing is left, or until told to stop; returns why it ended.

        Exits with `UNFIT` where this node cannot train: the job's script then asks for another one
        (`leave_node.sh`). Exits with 1 when it ends for good with work left.
        """
        submission = Submission(Path(self.folder))
        job, stop = here(), StopFlag().install()
        events = Events(submission.events / f"{job.label}.jsonl", job=job.label, node=job.node)
        events.note("task", index=self.index, code=submission.record["code"], pid=os.getpid())
        if not fit(submission, events):
            events.note("end", why=CANNOT_TRAIN)
            sys.exit(UNFIT)
        why, status = TaskWorkers(submission, self.index, self.tasks, stop, events).run()
        if stop():
            why, status = settle(submission, job, stop.signal, events), 0
        events.note("end", why=why)
        if status or any(word in why for word in ("not requeued", "requeue refused")):
            sys.exit(status or 1)
        return {"why": why}


def fit(submission: Submission, events: Events) -> bool:
    """Stage the data and check the node; whether it can train. What was found is noted."""
    cells = submission.work[0]
    try:
        check_imports(submission.code)
        verify_snapshot(submission.code)
        submission.include_outside()
        for copy in stage(cells, submission.profile):
            events.note("staged", copy=copy)
        fine, wrong = check_node(cells, submission.store)
    except (JanusError, OSError) as error:  # a scratch disk that is full, for one
        fine, wrong = [], [str(error)]
    events.note("check", ok=not wrong, lines=wrong, fine=fine)
    return not wrong


def settle(submission: Submission, job: Job, signal_: str, events: Events) -> str:
    """After a stop: ask for a requeue, unless that is not ours to do. Says what and why."""
    why = f"stopped by {signal_}"
    if not cells_left(submission):
        return f"{why}, nothing left to do"
    if signal_ == "TERM" and not job.id:
        return why  # without SLURM nobody but the user sends it
    if signal_ == "TERM" and (state := slurm_commands.job_state(job.name)) != "RUNNING":
        # cancelled or requeued by somebody; in a preemption's grace time it is still RUNNING
        return f"{why}: SLURM ends this job itself (state {state or 'unknown'})"
    return start_again(submission, job, signal_, why, events)


def cells_left(submission: Submission) -> int:
    """How many of the submission's cells have neither a result nor a failure."""
    split = by_status([cell.id for cell in submission.work[0]], Store(submission.store))
    return len(split.open) + len(split.running)


def start_again(submission: Submission, job: Job, cause: str, why: str, events: Events) -> str:
    """Ask SLURM to requeue this job, unless TRIES starts in a row trained nothing.

    Returns `why` with what came of it. `cause`: a word for the list of requeues in `status`.
    """
    if idle := _idle_starts(submission, job):
        return f"{why}, not requeued: {idle} starts in a row reached no training"
    events.note("requeue", signal=cause, left=cells_left(submission))
    if job.id:
        if (refused := slurm_commands.requeue(job.name)) and slurm_commands.job_state(
            job.name
        ) == "RUNNING":
            return f"{why}, requeue refused: {refused}"
        time.sleep(LINGER_S)
        return f"{why}, requeued"
    from submitit.core.job_environment import JobEnvironment

    events.note("end", why=f"{why}, started again")
    JobEnvironment()._requeue(1)  # ends this process with the status that asks for a new one
    return "requeued"


def _idle_starts(submission: Submission, job: Job) -> int:
    """Starts of this task in a row that never trained a step, if too many; else 0."""
    for back in range(TRIES):
        label = f"{job.name}.r{job.restart - back}"
        files = [submission.events / f"{label}.jsonl", *submission.events.glob(f"{label}-*.jsonl")]
        found = read_events(path for path in files if path.exists())
        words = (
            "first-step",
            "done",
            "stopped",
            "unfit",
        )  # unfit: the node's fault, not the task's
        if not found or any(e["event"] in words for e in found):
            return 0
    return TRIES


class TaskWorkers:
    """The worker processes of a task, started again when they die, ended by pid."""

    def __init__(
        self, submission: Submission, index: int, tasks: int, stop: StopFlag, events: Events
    ) -> None:
        self.submission, self.stop, self.events = submission, stop, events
        self.slots = submission.profile.cells_at_once
        self.first, self.workers = index * self.slots, tasks * self.slots
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.crashes = 0
        self.unfit = False
        self.left = -1
        self.last = ""

    def run(self) -> tuple[str, int]:
        """Returns why all of them have ended, and the task's exit status."""
        try:
            for slot in range(0 if self.stop() else self.slots):
                self._start(slot)
            told = False
            while self.processes:
                time.sleep(0.1)
                if self.stop() and not told:
                    self.events.note("signal", signal=self.stop.signal)
                    self._signal(signal.SIGUSR2)
                    told = True
                for slot, process in list(self.processes.items()):
                    if process.poll() is not None:
                        del self.processes[slot]
                        self._ended(slot, process.returncode)
        finally:
            self._signal(signal.SIGKILL)
        if self.crashes >= CRASHES:
            why = f"{self.crashes} workers died in a row; see their messages above"
            if self._trained() or self.stop():
                return why, 1
            lines = [f"{self.crashes} workers died here before a first training step: {self.last}"]
            self.events.note("check", ok=False, lines=lines)
            return CANNOT_TRAIN, UNFIT
        if self.unfit:
            return CANNOT_TRAIN, UNFIT if self._left() else 0
        return "nothing left to take", 0

    def _trained(self) -> bool:
        """Whether a worker of this start made a training step."""
        files = self.submission.events.glob(f"{self.events.constant['job']}-*.jsonl")
        return any(e["event"] in ("first-step", "done") for e in read_events(files))

    def _left(self) -> int:
        """Cells that have neither a result nor a failure."""
        cells = [cell.id for cell in self.submission.work[0]]
        split = by_status(cells, Store(self.submission.store))
        return len(split.open) + len(split.running)

    def _start(self, slot: int) -> None:
        number = self.first + slot
        words = [str(self.submission.folder), str(number), str(self.workers), str(slot)]
        self.processes[slot] = subprocess.Popen(
            [sys.executable, "-u", "-m", f"{__package__}.worker", *words],
            env=self._environment(slot),
        )

    def _environment(self, slot: int) -> dict[str, str]:
        """Workers share the task's GPUs in turn."""
        env = dict(os.environ)
        visible = [gpu for gpu in env.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
        if self.submission.profile.device != "cpu" and len(visible) > 1:
            env["CUDA_VISIBLE_DEVICES"] = visible[slot % len(visible)]
        return env

    def _ended(self, slot: int, status: int) -> None:
        self.unfit |= status == UNFIT
        if status in (0, UNFIT) or self.stop():
            return
        left = self._left()
        self.crashes = self.crashes + 1 if left == self.left else 1
        self.left = left
        reason = f"signal {-status}" if status < 0 else f"exit status {status}"
        self.last = reason
        self.events.note("worker-died", slot=slot, reason=reason, again=self.crashes < CRASHES)
        if self.crashes < CRASHES:
            self._start(slot)

    def _signal(self, number: int) -> None:
        for process in self.processes.values():
            process.send_signal(number)
            if number == signal.SIGKILL:
                process.wait()


if __name__ == "__main__":  # for launchers from outside; submitit calls `SlurmTask` itself
    SlurmTask(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))()
