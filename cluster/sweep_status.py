"""The state of a sweep's submissions, from the store, the tasks' events, and the queue.

Never `sacct`. SLURM forgets a job minutes after its end; what befell it stands in the events.
"""

from __future__ import annotations

import re
import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.launchers import launcher_of
from cluster.launchers.launcher import Tasks
from cluster.node.job_store import holder_of
from cluster.record.incidents import incidents
from cluster.record.submission import Submission, read_events
from cluster.scheduler import slurm_commands
from cluster.scheduler.slurm_commands import Queued
from janus.errors import ClusterError
from janus.store.processes import visible
from janus.store.store import Store
from sweeps.spec.by_status import CellsByStatus, by_status

SHOWN = 20
"""Most incidents that `status` prints, and most earlier submissions."""


@dataclass(frozen=True)
class Status:
    """The state of a sweep's submissions, as text."""

    text: str
    complete: bool
    """Every cell of the newest submission has a result."""
    over: bool
    """No task waits or runs any more; False while SLURM cannot be asked."""


def status_of(found: Sequence[Submission]) -> Status:
    """What is known now of the submissions, newest first."""
    newest, earlier = found[0], found[1:]
    queued = queues(found)
    store = Store(newest.store)
    now = by_status([cell.id for cell in newest.work[0]], store)
    tasks = {s.id: submission_tasks(s, queued[s.record["cluster"]]) for s in found}
    lines = _block(newest, tasks[newest.id], now)
    lines += _dead_holders(store, now.running, queued)
    over = all(t.over for t in tasks.values())
    if over and (left := len(now.open) + len(now.running)):
        lines.append(f"no task is left for {left} cells; go on with: {newest.record['command']}")
    for cell_id in now.failed:
        failure = store.failure(cell_id) or {}
        first = str(failure.get("message", "")).splitlines()[:1]
        lines.append(f"  failed {cell_id}  {failure.get('title', '')}")
        lines.append(f"    {failure.get('cause', 'error')}: {''.join(first)}")
    done = store.done() if earlier else set()
    for submission in earlier[:SHOWN]:
        cells = [cell.id for cell in submission.work[0]]
        told = f"{len(cells)} cells, {sum(c in done for c in cells)} done"
        if tasks[submission.id].over:
            lines.append(f"earlier: {submission.id}, {told}; ended{_aside(submission, tasks)}")
            continue
        lines.append("earlier, and not ended:")
        block = _block(submission, tasks[submission.id], by_status(cells, store))
        lines += [f"  {line}" for line in block]
    if len(earlier) > SHOWN:
        lines.append(f"and {len(earlier) - SHOWN} submissions before these")
    return Status("\n".join(lines), len(now.done) == len(newest.work[0]), over)


def _block(submission: Submission, tasks: Tasks, found: CellsByStatus) -> list[str]:
    """One submission: its cells, its tasks, and what befell them."""
    events = read_events(submission.events.glob("*.jsonl"))
    befell = incidents(events, tasks.rows, asked=tasks.over or bool(tasks.rows))
    if len(befell) > SHOWN:
        more = len(befell) - SHOWN
        befell = [f"{more} earlier ones: see {submission.events}", *befell[-SHOWN:]]
    cells = len(submission.work[0])
    return [
        f"submission {submission.id}, {cells} cells, code {submission.record['code']}",
        f"cells: {len(found.done)} done, {len(found.running)} running, {len(found.failed)} failed, "
        f"{len(found.open)} open",
        tasks.text,
        *_requeues(events),
        *(["what befell tasks, newest last:"] if befell else []),
        *(f"  {line}" for line in befell),
        *_troubles(submission, tasks.rows, events),
    ]


def _aside(submission: Submission, tasks: Mapping[str, Tasks]) -> str:
    """For a submission that has ended: the command that shows its incidents; '' if it had none."""
    events = read_events(submission.events.glob("*.jsonl"))
    befell = incidents(events, tasks[submission.id].rows, asked=True)
    nodes = {e["node"] for e in events if e["event"] == "unfit"}
    if not befell and not nodes:
        return ""
    words = ["python", "-m", "cluster", "status", submission.id, f"store={submission.store}"]
    count = f"{len(befell)} incident{'s' * (len(befell) != 1)}"
    count += f", {len(nodes)} unfit nodes" if nodes else ""
    return f" ({count}: {shlex.join(words)})"


def queues(found: Sequence[Submission]) -> dict[str, list[Queued] | ClusterError]:
    """{name of a launcher: every job of this user there, or why that is not known}.

    Asked once of each launcher that started one of the submissions.
    """
    asked: dict[str, list[Queued] | ClusterError] = {}
    for submission in found:
        name = submission.record["cluster"]
        if name not in asked:
            try:
                asked[name] = launcher_of(submission).queue()
            except ClusterError as error:
                asked[name] = error
    return asked


def submission_tasks(submission: Submission, queued: list[Queued] | ClusterError) -> Tasks:
    """The tasks of a submission; where its launcher is not known here, the reason instead."""
    try:
        launcher = launcher_of(submission)
    except ClusterError as error:
        return Tasks([], f"tasks: {error}", False)
    return launcher.tasks(submission, queued)


def _requeues(events: Sequence[dict[str, Any]]) -> list[str]:
    found = Counter(e["signal"] for e in events if e["event"] == "requeue")
    return [f"requeued: {', '.join(f'{n} after {s}' for s, n in found.items())}"] if found else []


def _dead_holders(
    store: Store,
    running: Sequence[str],
    queued: Mapping[str, list[Queued] | ClusterError],
) -> list[str]:
    """Running cells whose holder has ended, or of which SLURM cannot say whether it lives."""
    known = [row for rows in queued.values() if not isinstance(rows, ClusterError) for row in rows]
    if any(isinstance(rows, ClusterError) for rows in queued.values()):
        return []
    alive = {row.id: row.restarts for row in known if row.state in slurm_commands.ALIVE}
    dead, unknown = Counter[str](), Counter[str]()
    for cell_id in running:
        holder = holder_of(store, cell_id)
        if holder is None:
            unknown[store.holder(cell_id)] += not visible(store.owner(cell_id))
        elif alive.get(holder["id"]) != holder["restart"]:
            dead[f"{holder['name']}.r{holder['restart']} on {holder['node']}"] += 1
    lines = [f"{n} of the running cells: held by {who}" for who, n in (+unknown).items()]
    lines = [f"{line}, no job of yours; a task takes it when it is silent" for line in lines]
    ended = "which has ended; the next free task takes over"
    return [f"{n} of the running cells: held by {who}, {ended}" for who, n in dead.items()] + lines


def _troubles(
    submission: Submission, rows: Sequence[Queued], events: Sequence[dict[str, Any]]
) -> list[str]:
    """What needs a person: jobs that can never start, nodes that cannot train, tasks that ended
    without a reason.
    """
    lines = []
    if why := slurm_commands.hopeless(rows):
        lines.append(f"the waiting tasks will never start: {why}")
    blind = sorted({row.comment for row in rows if " does not see " in row.comment})
    lines += [f"{comment}: left out, while other nodes do" for comment in blind]
    lines += _unfit(events)
    started = {_task(e) for e in events if e["event"] in ("task", "unfit")}
    silent = [r for r in rows if r.state in slurm_commands.BROKEN and r.name not in started]
    if silent:
        nodes = ", ".join(sorted({row.node for row in silent}))
        lines.append(f"{len(silent)} tasks ended on {nodes} before they could write a word. ")
        said = [(path, words) for r in silent for path, words in _said(submission, r.name)]
        if said:
            path, words = said[-1]
            lines[-1] += f"Their log {path} ends with:\n    {words}"
        else:
            lines[-1] += (
                f"They left no log in {submission.jobs}. Do the nodes see this path? The store "
                "must lie on a file system that all nodes share"
            )
    return lines


def _unfit(events: Sequence[dict[str, Any]]) -> list[str]:
    """Nodes that could not train, with what was wrong, and what became of the tasks there."""
    lines: list[str] = []
    checks = {e["node"]: e for e in events if e["event"] == "check" and not e["ok"]}
    left = {e["node"]: e for e in events if e["event"] == "unfit"}
    for node in sorted({*checks, *left}):
        lines.append(f"{node} is not fit to train:")
        if check := checks.get(node):
            lines += [f"    wrong  {line}" for line in check["lines"]]
            lines += [f"    fine   {line}" for line in check.get("fine", [])]
        elif node in left:
            lines.append(f"    wrong  {left[node]['why']}")
        then = Counter(e["then"] for e in events if e["event"] == "unfit" and e["node"] == node)
        lines += [f"    {n} task{'s' * (n > 1)}: {what}" for what, n in then.items()]
    if left:
        lines.append(f"    to leave out: profile.flags={{exclude: '{','.join(sorted(left))}'}}")
    return lines


def _task(event: dict[str, Any]) -> str:
    """Name of the task that wrote an event, without the number of its start."""
    return str(event["job"]).rpartition(".r")[0]


_REPORT = re.compile(r"srun: error: .*exited with", re.IGNORECASE)


def _said(submission: Submission, job: str) -> list[tuple[Path, str]]:
    """A task's logs and the last line of each that is not srun's report of an exit status."""
    found = []
    for path in log_files(submission, job):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        words = [line.strip() for line in lines if line.strip() and not _REPORT.match(line)]
        found += [(path, words[-1])] if words else []
    return found


def logs_of(found: Sequence[Submission], wanted: str) -> str:
    """What every task of the submissions wrote about the cell whose id starts with `wanted`."""
    ids = {cell.id for s in found for cell in s.work[0] if cell.id.startswith(wanted)}
    if len(ids) != 1:
        what = "no cell" if not ids else f"{len(ids)} cells"
        raise ClusterError(f"{what} of {found[0].id} start with {wanted!r}")
    (cell_id,) = ids
    events = read_events(path for s in found for path in s.events.glob("*.jsonl"))
    events = [e for e in events if e.get("cell") == cell_id]
    lines = [_line(e) for e in events] or [f"no task has taken {cell_id} yet"]
    jobs = dict.fromkeys(_task(e) for e in events)
    lines += [f"log: {path}" for s in found[::-1] for job in jobs for path in log_files(s, job)]
    failure = Store(found[0].store).failure(cell_id)
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
