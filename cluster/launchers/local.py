"""The same tasks on this machine, without SLURM: submitit's LocalExecutor stands in for it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import submitit

from cluster.launchers.slurm import task_count
from cluster.node.slurm_task import Task
from cluster.record.profile import Profile
from cluster.record.submission import Submission
from janus import atomic_files
from janus.store.processes import process_identity, process_runs, start_time, visible


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
        jobs = [executor.submit(Task(str(submission.folder), i, tasks)) for i in range(tasks)]
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
