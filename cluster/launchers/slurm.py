"""SLURM: tasks as job arrays, or one job of several nodes with a Ray cluster inside."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError

from cluster.launchers import job_script
from cluster.launchers.job_script import array_parameters, ray_parameters
from cluster.launchers.launcher import Tasks, refuse_signs, task_count
from cluster.node.ray_nodes import RayTask
from cluster.node.slurm_task import SlurmTask
from cluster.record.profile import Profile
from cluster.record.submission import Submission
from cluster.scheduler import slurm_commands
from cluster.scheduler.slurm_commands import Partition, Queued
from janus.errors import ClusterError, suggest
from sweeps.show.console import log


class Slurm:
    """Tasks as SLURM's jobs."""

    modes: tuple[str, ...] = ("array", "ray")

    def check(self, store: Path, profile: Profile, dry: bool) -> list[str]:
        """Check the store's path and the profile against the site; a dry run needs no SLURM."""
        refuse_signs(store, ("%", "\\"))  # SLURM reads both in the names of logs: %j is a number
        lines = []
        try:
            kinds = slurm_commands.partitions()
        except ClusterError as error:
            if not dry:
                raise
            lines.append(
                f"not checked: partition, GPUs, processors, memory and time limit ({error})"
            )
        else:
            check_profile(profile, kinds)
        if above := sorted(name for name in os.environ if name.startswith("SBATCH_")):
            told = ", ".join(f"{name}={os.environ[name]}" for name in above)
            lines.append(
                f"note: set in your environment, and SLURM puts it above the profile: {told}"
            )
        return lines

    def describe(self, submission: Submission, cells: int, mode: str) -> list[str]:
        """The scripts that would be submitted; needs no SLURM."""
        profile = submission.profile
        try:
            most = slurm_commands.max_array()
        except ClusterError as error:
            most = profile.chunk
            log(f"not checked: how large a job array the site takes ({error})")
        tasks = 1 if mode == "ray" else task_count(cells, profile)
        parts = chunks(tasks, profile, most)
        return [job_script.script_text(submission, len(part), mode) for part in parts]

    def submit(self, submission: Submission, mode: str) -> list[str]:
        """Queue the tasks. What SLURM takes but can never start is cancelled: ClusterError."""
        profile = submission.profile
        if mode == "ray":
            ids = submit_ray(submission, profile)
        else:
            ids = submit_array(submission, profile, len(submission.work[0]))
        refuse_hopeless(submission, ids)
        return ids

    def queue(self) -> list[Queued]:
        """As `squeue` lists them."""
        return slurm_commands.queue()

    def tasks(self, submission: Submission, queued: list[Queued] | ClusterError) -> Tasks:
        """Counted by SLURM's states."""
        if isinstance(queued, ClusterError):
            return Tasks([], f"tasks: the queue cannot be asked ({queued})", False)
        rows = [row for row in queued if row.submission == submission.id]
        counts = Counter(row.state for row in rows)
        told = ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))
        over = not any(row.state in slurm_commands.ALIVE | slurm_commands.COMING for row in rows)
        return Tasks(rows, f"tasks: {told or 'none in the queue'}", over)

    def cancel(self, submission: Submission) -> None:
        """All jobs of the submission."""
        slurm_commands.cancel_submission(submission.id)

    def with_resources(self, profile: Profile, command: str) -> str:
        """By `srun`: nobody should train on a login node."""
        return f"{interactive(profile)} {command}"


def chunks(tasks: int, profile: Profile, site_limit: int) -> list[range]:
    """The tasks in job arrays that the site takes."""
    size = max(1, min(profile.chunk, site_limit))
    return [range(k, min(k + size, tasks)) for k in range(0, tasks, size)]


def check_profile(profile: Profile, kinds: Sequence[Partition]) -> None:
    """Refuse what SLURM would refuse, or queue for ever. Raises ClusterError.

    `kinds`: the nodes of the site's partitions, as `slurm.partitions` lists them.
    """
    if not kinds:
        raise ClusterError("SLURM shows no partition here (sinfo --all lists none)")
    names = [p.name for p in kinds]
    if profile.partition is None:
        wanted = [p for p in kinds if p.default] or list(kinds)
    else:
        wanted = [p for name in profile.partition.split(",") for p in kinds if p.name == name]
        for name in profile.partition.split(","):
            if name not in names:
                raise ClusterError(f"no partition {name!r} here.{suggest(name, set(names))}")
    where = f"partition {profile.partition or wanted[0].name}"
    types = {kind for p in wanted for kind in slurm_commands.gpu_types(p.gres)}
    some = profile.gpus and any(slurm_commands.count_gpus(p.gres) for p in wanted)
    if some and profile.gpu_type and profile.gpu_type not in types:
        hint = suggest(profile.gpu_type, types) or " Its GPUs have no types: leave the type out."
        raise ClusterError(f"no GPU of type {profile.gpu_type!r} in {where}.{hint}")
    gpus = max(slurm_commands.count_gpus(p.gres, profile.gpu_type) for p in wanted)
    limits = [
        ("gpus", profile.gpus, gpus, "GPUs on a node"),
        ("cpus", profile.cpus, max(p.cpus for p in wanted), "processors on a node"),
        ("minutes", profile.minutes, max(p.minutes for p in wanted), "minutes"),
        ("mem_gb", profile.mem_gb or 0, max(p.memory_mb for p in wanted) / 1000, "GB on a node"),
    ]
    for key, value, most, unit in limits:
        if value > most:
            kind = f" of type {profile.gpu_type}" if key == "gpus" and profile.gpu_type else ""
            raise ClusterError(
                f"profile.{key}={value:g}, but {where} has at most {most:g} {unit}{kind}"
            )


def slurm_executor(submission: Submission, given: Mapping[str, Any]) -> Any:
    """submitit's executor with everything set. Raises ClusterError where there is no SLURM."""
    slurm_commands.ask("sbatch", "--version")
    python = submission.profile.python
    try:
        executor = submitit.SlurmExecutor(submission.jobs, python=python)
    except RuntimeError as error:
        raise ClusterError(f"{error}. Without SLURM: cluster=local") from None
    executor.update_parameters(**given)
    return executor


def submit_array(submission: Submission, profile: Profile, cells: int) -> list[str]:
    """Queue the tasks in arrays; returns the arrays' job ids. Raises ClusterError when refused."""
    tasks = task_count(cells, profile)
    executor = slurm_executor(submission, array_parameters(submission, profile))
    ids: list[str] = []
    try:
        for part in chunks(tasks, profile, slurm_commands.max_array()):
            with executor.batch():
                jobs = [
                    executor.submit(SlurmTask(str(submission.folder), index, tasks))
                    for index in part
                ]
            ids.append(jobs[0].job_id.split("_")[0])
    except FailedJobError as error:
        slurm_commands.cancel_jobs(ids)  # all of it or nothing
        raise ClusterError(slurm_commands.explain_refusal(str(error))) from None
    return ids


def submit_ray(submission: Submission, profile: Profile) -> list[str]:
    """Queue one job of several nodes with a Ray cluster inside; returns its id."""
    executor = slurm_executor(submission, ray_parameters(submission, profile))
    try:
        return [str(executor.submit(RayTask(str(submission.folder))).job_id)]
    except FailedJobError as error:
        raise ClusterError(slurm_commands.explain_refusal(str(error))) from None


def interactive(profile: Profile) -> str:
    """The `srun` that runs a command on a node with what a task gets, for half an hour."""
    amount = f"{profile.gpu_type}:{profile.gpus}" if profile.gpu_type else profile.gpus
    given = {
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "gpus": amount if profile.gpus and profile.gpus_by != "gres" else None,
        "gres": f"gpu:{amount}" if profile.gpus and profile.gpus_by == "gres" else None,
        "cpus-per-task": profile.cpus,
        "mem": None if profile.mem_gb is None else f"{int(profile.mem_gb * 1024)}M",
        "time": min(profile.minutes, 30),
        **{key: profile.flags.get(key) for key in ("reservation", "licenses", "exclude", "wckey")},
    }
    return shlex.join(
        ["srun", *(f"--{key}={value}" for key, value in given.items() if value is not None)]
    )


def refuse_hopeless(submission: Submission, ids: Sequence[str]) -> None:
    """Cancel and raise ClusterError when SLURM took the jobs but can never start them."""
    why = slurm_commands.hopeless(slurm_commands.queue(submission.id))
    if why:
        slurm_commands.cancel_jobs(ids)
        raise ClusterError(f"the jobs would wait for ever and were cancelled: {why}")
