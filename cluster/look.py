"""How a submission is doing, from the store, its tasks' events, and the queue (never `sacct`)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import local, slurm
from cluster.slurm import Queued
from cluster.submission import Submission, read_events
from janus.errors import ClusterError
from janus.store import Store
from sweeps.plan import split_open

NOTEWORTHY = ("not requeued", "refused", "died", "ended with status", "did not")
"""Parts of the reasons for which a task ended that a person should read."""


@dataclass(frozen=True)
class Status:
    """How a submission is doing."""

    text: str
    complete: bool
    """Every cell has a result."""
    over: bool
    """No task waits or runs any more; False while SLURM cannot be asked."""


def status_of(submission: Submission) -> Status:
    """What is known now."""
    store = Store(submission.store)
    cells = [cell.id for cell in submission.work[0]]
    split = split_open(cells, store)
    events = read_events(submission.events.glob("*.jsonl"))
    rows, queue_line, over = _queue(submission)
    lines = [
        f"submission {submission.id}, {len(cells)} cells, code {submission.record['code']}",
        f"cells: {len(split.done)} done, {len(split.running)} running, {len(split.failed)} failed, "
        f"{len(split.open)} open",
        queue_line,
        *_requeues(events),
        *_troubles(submission, rows, events),
    ]
    if over and (left := len(split.open) + len(split.running)):
        command = submission.record["command"]
        lines.append(f"no task is left for {left} cells; go on with: {command}")
    for cell_id in split.failed:
        failure = store.failure(cell_id) or {}
        first = str(failure.get("message", "")).splitlines()[:1]
        lines.append(f"  failed {cell_id}  {failure.get('title', '')}")
        lines.append(f"    {failure.get('cause', 'error')}: {''.join(first)}")
    return Status("\n".join(lines), len(split.done) == len(cells), over)


def _queue(submission: Submission) -> tuple[list[Queued], str, bool]:
    """The tasks SLURM knows, a line about them, and whether none waits or runs."""
    if submission.record["cluster"] == "local":
        count = len(local.running(submission))
        return [], f"tasks: {count} on this machine, without SLURM", not count
    try:
        rows = slurm.queue(submission.id)
    except ClusterError as error:
        return [], f"tasks: the queue cannot be asked ({error})", False
    counts = Counter(row.state for row in rows)
    told = ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))
    over = not any(row.state in slurm.ALIVE | slurm.COMING for row in rows)
    return rows, f"tasks: {told or 'none in the queue'}", over


def _requeues(events: Sequence[dict[str, Any]]) -> list[str]:
    found = Counter(e["signal"] for e in events if e["event"] == "requeue")
    return [f"requeued: {', '.join(f'{n} after {s}' for s, n in found.items())}"] if found else []


def _troubles(
    submission: Submission, rows: Sequence[Queued], events: Sequence[dict[str, Any]]
) -> list[str]:
    """What needs a person: jobs that can never start, nodes unfit to train, silent deaths."""
    lines = []
    if why := slurm.hopeless(rows):
        lines.append(f"the waiting tasks will never start: {why}")
    bad = {e["node"]: e["lines"] for e in events if e["event"] == "check" and not e["ok"]}
    for node, report in bad.items():
        lines.append(f"{node} is not fit to train:")
        lines += [f"    {line}" for line in report]
    for event in events:
        if event["event"] == "end" and any(word in event["why"] for word in NOTEWORTHY):
            lines.append(f"{event['job']}: {event['why']}")
    started = {str(e["job"]).rpartition(".r")[0] for e in events if e["event"] == "task"}
    silent = [r for r in rows if r.state in slurm.BROKEN and r.name not in started]
    if silent:
        nodes = ", ".join(sorted({row.node for row in silent}))
        lines.append(
            f"{len(silent)} tasks ended on {nodes} before they could write a word into "
            f"{submission.folder}. Do the nodes see this path? The store must lie on a file "
            "system that all nodes share; also look at profile.setup and profile.python"
        )
    return lines


def logs_of(submission: Submission, wanted: str) -> str:
    """What every task wrote about the cell whose id starts with `wanted`, log files named."""
    ids = [cell.id for cell in submission.work[0] if cell.id.startswith(wanted)]
    if len(ids) != 1:
        what = "no cell" if not ids else f"{len(ids)} cells"
        raise ClusterError(f"{what} of {submission.id} start with {wanted!r}")
    events = [e for e in read_events(submission.events.glob("*.jsonl")) if e.get("cell") == ids[0]]
    lines = [_line(e) for e in events] or [f"no task has taken {ids[0]} yet"]
    jobs = dict.fromkeys(str(e["job"]).rpartition(".r")[0] for e in events)
    lines += [f"log: {path}" for job in jobs for path in log_files(submission, job)]
    failure = Store(submission.store).failure(ids[0])
    if failure:
        lines += [f"{failure.get('cause')}: {failure.get('message')}", failure.get("traceback", "")]
    return "\n".join(lines).rstrip()


def log_files(submission: Submission, job: str) -> list[Path]:
    """The log of a task, all its restarts in one file."""
    stem = job.removeprefix("pid-")
    return sorted(submission.jobs.glob(f"{stem}_*log.out"))


def _line(event: dict[str, Any]) -> str:
    clock = time.strftime("%m-%d %H:%M:%S", time.localtime(event["at"]))
    hidden = ("at", "event", "cell", "job", "slot")
    facts = " ".join(f"{k}={v}" for k, v in event.items() if k not in hidden)
    return f"{clock}  {event['job']}  {event['event']} {facts}"
