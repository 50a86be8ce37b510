"""What SLURM's own commands say: partitions, the queue, requeue and cancel. No submitit here.

`sacct` is never needed: the queue shows what waits and runs, the store what is done.
"""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from janus.errors import ClusterError

ALIVE = {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT"}
"""States in which processes of a job may exist."""

COMING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"}
"""States from which a job may start."""

BROKEN = {"FAILED", "NODE_FAIL", "BOOT_FAIL", "OUT_OF_MEMORY", "TIMEOUT"}
"""States of jobs that ended otherwise than by finishing or being cancelled."""

NEVER = {
    "PartitionTimeLimit": "profile.minutes is more than the partition allows",
    "PartitionNodeLimit": "the partition does not have that many nodes",
    "PartitionConfig": "the partition cannot give what the profile asks for: minutes or nodes",
    "PartitionDown": "the partition is down",
    "PartitionInactive": "the partition takes no jobs now",
    "InvalidAccount": "the account is not valid",
    "AccountNotAllowed": "the partition does not serve this account",
    "InvalidQOS": "the qos is not valid",
    "QOSNotAllowed": "the partition does not serve this qos",
    "BadConstraints": "no node has what the profile asks for",
    "account not known": "the partition does not serve this account",
    "account not permitted": "the partition does not serve this account",
    "account in deny list": "the partition does not serve this account",
}
"""Reasons for which a job would wait for ever, as squeue words them."""

REFUSALS = {
    "invalid partition": "profile.partition",
    "invalid account": "profile.account",
    "account/partition": "profile.account",
    "invalid qos": "profile.qos",
    "invalid feature": "profile.constraint",
    "node configuration": "profile.gpus, profile.cpus or profile.mem_gb: no node has so much",
    "memory specification": "profile.mem_gb: no node has so much",
    "time limit": "profile.minutes",
    "array specification": "profile.chunk: the site allows smaller job arrays",
    "generic resource": "profile.gpus, profile.gpu_type and profile.flags.gres",
    "gres specification": "profile.gpus, profile.gpu_type and profile.flags.gres",
    "wckey": "profile.flags.wckey: the site wants one, or not this one",
    "export": "profile.flags.export: the site wants another value, such as NONE",
    "unrecognized option": "profile.flags",
    "submit limit": "profile.tasks: the site limits how many jobs you may have",
}
"""Parts of sbatch's refusals, and the key to change."""

SILENT = {
    "configuration source": "SLURM is installed here but not configured: no slurm.conf",
    "process configuration file": "SLURM's configuration cannot be read; look at SLURM_CONF",
    "unable to contact": "SLURM's controller does not answer; is it down, or this no login node?",
}
"""Parts of what any SLURM command says when it reached nobody, and what that means."""


@dataclass(frozen=True)
class Queued:
    """One task in SLURM's queue, waiting, running or ended a short while ago."""

    id: str
    name: str
    state: str
    restarts: int
    node: str
    reason: str
    submission: str = ""
    """Name of its job: the submission's id."""
    comment: str = ""


def ask(*command: str, timeout_s: float = 60.0) -> str:
    """Output of a SLURM command. Raises ClusterError with what it said when it fails."""
    if shutil.which(command[0]) is None:
        raise ClusterError(
            f"no {command[0]} on this machine: it is no SLURM login node. "
            "To run without SLURM: cluster=local"
        )
    conf = os.environ.get("SLURM_CONF")
    if conf and not Path(conf).is_file():  # SLURM's own commands would look again for a minute
        raise ClusterError(f"SLURM_CONF names {conf}, which is not there")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{command[0]} gave no answer within {timeout_s:.0f} s") from None
    if done.returncode != 0:
        last = done.stderr.strip().rpartition("\n")[2]
        why = next((why for part, why in SILENT.items() if part in last.lower()), command[0])
        raise ClusterError(f"{why}: {last}")
    return done.stdout


def queue(submission: str | None = None) -> list[Queued]:
    """This user's jobs, or those of one submission, as far as SLURM still knows them."""
    words = ["squeue", "--noheader", "--array", "--states=all", f"--user={getpass.getuser()}"]
    # with a bar instead of a width, fields are not cut
    form = "JobID:|,JobArrayID:|,State:|,RestartCnt:|,NodeList:|,Reason:|,Name:|,Comment:|"
    words += [f"--name={submission}"] if submission else []
    rows = (line.split("|") for line in ask(*words, "-O", form).splitlines())
    return [
        Queued(job, name, state, int(restarts or 0), node, reason, of, comment)
        for job, name, state, restarts, node, reason, of, comment in (
            tuple(part.strip() for part in row[:8]) for row in rows if len(row) >= 8
        )
    ]


def lost_nodes(names: Collection[str]) -> dict[str, str]:
    """Those of the nodes that take no jobs now, with SLURM's words about it; {} without SLURM."""
    try:
        lines = ask("sinfo", "--noheader", "--all", "--Node", "-o", "%N|%T|%E").splitlines()
    except ClusterError:
        return {}
    rows = (line.split("|") for line in lines)
    states = {row[0]: f"{row[1].rstrip('*')}: {row[2]}" for row in rows if len(row) >= 3}
    bad = ("down", "drain", "fail", "unk", "power")
    return {n: states[n] for n in sorted(names) if states.get(n, "").startswith(bad)}


@dataclass(frozen=True)
class Partition:
    """What one kind of node of a partition offers."""

    name: str
    default: bool
    gres: str
    """GPUs and the like, as SLURM writes them: 'gpu:a100:4(S:0-1),lustre:2'."""
    cpus: int
    memory_mb: int
    minutes: float


def partitions() -> list[Partition]:
    """Every partition, hidden ones too, a line for each kind of node."""
    found = []
    for line in ask("sinfo", "--all", "--noheader", "-o", "%P|%G|%c|%m|%l").splitlines():
        name, gres, cpus, memory, limit = (part.strip() for part in line.split("|"))
        whole = [int("".join(c for c in text if c.isdigit()) or 0) for text in (cpus, memory)]
        kind = Partition(
            name.rstrip("*"), name.endswith("*"), gres, whole[0], whole[1], minutes(limit)
        )
        found.append(kind)
    return found


def count_gpus(gres: str, kind: str | None = None) -> int:
    """GPUs in a text like 'gpu:a100:4(S:0-1),gpu:fake:2'; `kind`: those of one type."""
    return sum(number for found, number in _gpus(gres) if kind in (None, found))


def gpu_types(gres: str) -> set[str]:
    """The types of the GPUs in such a text; those without one are left out."""
    return {kind for kind, _ in _gpus(gres) if kind}


def _gpus(gres: str) -> list[tuple[str, int]]:
    """(type or '', number) of every kind of GPU."""
    found = []
    for part in gres.split(","):
        fields = part.split("(")[0].split(":")
        if fields[0] == "gpu" and fields[-1].isdigit():
            found.append((fields[1] if len(fields) > 2 else "", int(fields[-1])))
    return found


def minutes(limit: str) -> float:
    """SLURM's 'days-hours:minutes:seconds' in minutes; 'infinite' is infinite."""
    if not limit or not limit[0].isdigit():
        return float("inf")
    days, _, clock = limit.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    if days or len(parts) == 3:
        hours, mins, secs = [*parts, 0, 0][:3]
    else:
        hours, mins, secs = 0, parts[0], (parts[1] if len(parts) > 1 else 0)
    return int(days or 0) * 1440 + hours * 60 + mins + secs / 60


def max_array() -> int:
    """Largest job array the site takes."""
    for line in ask("scontrol", "show", "config").splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "MaxArraySize":
            return max(1, int(value))
    return 1000


def requeue(job: str) -> str:
    """Ask SLURM to start this job again; '' when it agreed, else why not."""
    try:
        ask("scontrol", "requeue", job)
    except ClusterError as error:
        return str(error)
    return ""


def job_state(job: str) -> str:
    """State of one job as the controller sees it now, '' when it does not know the job.

    A task is asked after by its place in the array (12_3): one of them has the array's own number,
    by which SLURM means all of them.
    """
    try:
        text = ask("scontrol", "--oneliner", "show", "job", job)
    except ClusterError:
        return ""
    words = dict(word.split("=", 1) for word in text.split() if "=" in word)
    return words.get("JobState", "")


def cancel_jobs(jobs: Iterable[str]) -> None:
    """End these jobs for good."""
    if listed := list(jobs):
        ask("scancel", *listed)


def cancel_submission(name: str) -> None:
    """End every job of a submission."""
    ask("scancel", f"--name={name}", f"--user={getpass.getuser()}")


def explain_refusal(refusal: str) -> str:
    """sbatch's refusal in one line, and which key of the profile to look at."""
    first = " ".join(line.removeprefix("sbatch: error: ") for line in refusal.splitlines()[:3])
    hints = [key for part, key in REFUSALS.items() if part in refusal.lower()]
    hint = f" Look at {hints[0]}." if hints else ""
    return f"SLURM refused the job: {first.strip().rstrip('.')}.{hint}"


def hopeless(rows: Sequence[Queued]) -> str:
    """Why waiting jobs among `rows` can never start, '' while they may."""
    for row in rows:
        for part, why in NEVER.items():
            if row.state == "PENDING" and part in row.reason:
                return f"{why} (SLURM says: {row.reason})"
    return ""
