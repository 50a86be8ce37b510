"""The same tasks on this machine, without SLURM: submitit's LocalExecutor stands in for it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import submitit

from cluster.launchers.launcher import Tasks, refuse_signs, task_count
from cluster.node.slurm_task import SlurmTask
from cluster.record.profile import Profile
from cluster.record.submission import Submission
from cluster.scheduler.slurm_commands import Queued
from janus import atomic_files
from janus.errors import ClusterError
from janus.store.processes import process_identity, process_runs, start_time, visible


class Local:
    """Tasks as processes of this machine, which outlive the command that started them."""

    modes: tuple[str, ...] = ("array",)

    def check(self, store: Path, profile: Profile, dry: bool) -> list[str]:
        """Raises ClusterError for a store path with a %, which submitit reads as a placeholder in
        log names.
        """
        refuse_signs(store, ("%j", "%t", "%A", "%a"))
        if profile.setup:
            return ["note: cluster=local does not run the lines of profile.setup"]
        return []

    def describe(self, submission: Submission, cells: int, mode: str) -> list[str]:
        """The number of processes, as a text; there is no job script."""
        profile = submission.profile
        tasks = task_count(cells, profile)
        return [
            f"{tasks} processes on this machine, each up to {profile.minutes} minutes at a time"
        ]

    def submit(self, submission: Submission, mode: str) -> list[str]:
        """Start the processes; returns their pids."""
        return start(submission, submission.profile, len(submission.work[0]))

    def queue(self) -> list[Queued]:
        """No jobs: this machine has no queue."""
        return []

    def tasks(self, submission: Submission, queued: list[Queued] | ClusterError) -> Tasks:
        """The tasks that still run, by the process numbers in the submission's record."""
        count = len(running(submission))
        return Tasks([], f"tasks: {count} on this machine, without SLURM", not count)

    def cancel(self, submission: Submission) -> None:
        """Ask the processes to stop."""
        end(submission)

    def with_resources(self, profile: Profile, command: str) -> str:
        """The command itself."""
        return command


def start(submission: Submission, profile: Profile, cells: int) -> list[str]:
    """Start the tasks on this machine, without SLURM; they outlive this process."""
    tasks = task_count(cells, profile)
    executor = submitit.LocalExecutor(submission.jobs, python=profile.python)
    executor.update_parameters(
        timeout_min=profile.minutes,
        signal_delay_s=profile.warn_s,
        gpus_per_node=profile.gpus,
        stderr_to_stdout=True,
    )
    settings = {"PYTHONPATH": str(submission.code), "PYTHONSAFEPATH": "1"}
    log = submission.jobs / "controllers.log"
    with _environment(settings), contextlib.chdir(submission.jobs), _streams(log):
        jobs = [executor.submit(SlurmTask(str(submission.folder), i, tasks)) for i in range(tasks)]
    pids = [int(job.job_id) for job in jobs]
    owners = [{**process_identity(), "pid": pid, "started": start_time(pid)} for pid in pids]
    atomic_files.replace(submission.folder / "local.json", atomic_files.json_writer(owners))
    return [str(pid) for pid in pids]


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})


@contextlib.contextmanager
def _streams(log: Path) -> Iterator[None]:
    """Let processes that are started here write to `log`, and read nothing.

    With the streams of this process they would hold a pipe open (`submit ... | tee FILE`) until
    the last task has ended.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in (0, 1, 2)]
    try:
        with open(os.devnull, "rb") as nothing, open(log, "ab") as written:
            os.dup2(nothing.fileno(), 0)
            os.dup2(written.fileno(), 1)
            os.dup2(written.fileno(), 2)
            yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, descriptor in enumerate(kept):
            os.dup2(descriptor, number)
            os.close(descriptor)


def end(submission: Submission) -> None:
    """Ask the tasks that still run here to stop; they save first."""
    for pid in running(submission):
        os.kill(pid, signal.SIGTERM)  # submitit's controller passes it on


def running(submission: Submission) -> list[int]:
    """Pids of the tasks' controllers that still run on this machine."""
    found = atomic_files.read_json(submission.folder / "local.json")
    owners = [o for o in found if isinstance(o, dict)] if isinstance(found, list) else []
    return [o["pid"] for o in owners if visible(o) and process_runs(o["pid"], o["started"])]
