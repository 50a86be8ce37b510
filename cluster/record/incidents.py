"""Names the incidents of tasks: lost nodes, workers that died, tasks cancelled or requeued."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from cluster.scheduler import slurm_commands
from cluster.scheduler.slurm_commands import Queued

TOLD = ("stopped by", "requeue", "refused", "died", "ended with status", "did not", "in a row")
"""Parts of the reasons for which a task ended that a person should read."""

FRESH_S = 10.0
"""A start that wrote something so short a while ago may be younger than our look at the queue."""

Event = dict[str, Any]
Start = tuple[str, str]
"""A start of a task (12_3.r0) and the node it was on."""


def incidents(events: Sequence[Event], rows: Sequence[Queued], *, asked: bool) -> list[str]:
    """A line for each, oldest first; `asked`: whether `rows` is what SLURM knows now."""
    begun = [e for e in events if e["event"] == "task" and "node" in e]
    starts = {(str(e["job"]), str(e["node"])): e["at"] for e in begun}
    nodes = dict(starts.keys())
    found = [*_ends(events, nodes), *_deaths(events, nodes)]
    found += _silences(events, starts, rows) if asked else []
    names = {job.rpartition(".r")[0] for job in nodes}
    lines = [text for _, text in sorted(found)]
    waited = [r.name for r in rows if r.state == "CANCELLED" and r.name not in names]
    return lines + [f"{name}: cancelled before it started" for name in waited]


def _ends(events: Sequence[Event], nodes: dict[str, str]) -> Iterator[tuple[float, str]]:
    """Tasks that ended before the work was done, with the reason that they recorded."""
    for event in events:
        job = str(event["job"])
        if event["event"] == "requeue":
            yield event["at"], f"{_at(job, nodes)}: stopped by {event['signal']}, requeued"
        elif event["event"] == "end" and _noteworthy(event["why"]):
            yield event["at"], f"{_at(job, nodes)}: {_plain(event['why'])}"


def _noteworthy(why: str) -> bool:
    told = why.endswith((", requeued", ", started again"))  # by the event of the requeue
    return not told and any(word in why for word in TOLD)


def _plain(why: str) -> str:
    """What SLURM did when it ended a task itself, in plain words."""
    if "(state CANCELLED)" in why:
        return "cancelled (scancel)"
    if "(state PENDING)" in why or "(state REQUEUE" in why:
        return "requeued from outside (scontrol requeue, or a preemption)"
    return why


def _deaths(events: Sequence[Event], nodes: dict[str, str]) -> Iterator[tuple[float, str]]:
    """Workers that died, and Ray drivers."""
    for event in events:
        if event["event"] in ("worker-died", "driver-died"):
            who = event["event"].removesuffix("-died")
            why = event.get("reason") or f"status {event.get('status')}"
            then = "started again" if event.get("again") else "not started again"
            yield event["at"], f"{_at(str(event['job']), nodes)}: a {who} died ({why}), {then}"


def _silences(
    events: Sequence[Event], starts: dict[Start, float], rows: Sequence[Queued]
) -> Iterator[tuple[float, str]]:
    """Starts of tasks that ended without recording why: a power cut, a node failure, a kill."""
    spoke = {
        (str(e["job"]), str(e.get("node") or "")) for e in events if e["event"] in ("end", "unfit")
    }
    ended = {str(e["job"]) for e in events if e["event"] == "requeue"}
    signals = {str(e["job"]): e["signal"] for e in events if e["event"] == "signal"}
    alive = {f"{r.name}.r{r.restarts}" for r in rows if r.state in slurm_commands.ALIVE}
    last: dict[str, float] = {}
    for event in events:
        last[str(event["job"])] = event["at"]
    fresh = {job for job, at in last.items() if time.time() - at < FRESH_S}
    known = ended | alive | fresh
    silent = [start for start in starts if start not in spoke and start[0] not in known]
    down = slurm_commands.lost_nodes({node for _, node in silent}) if silent else {}
    states = {r.name: r.state for r in rows if r.state in slurm_commands.BROKEN}
    for job, node in silent:
        text = f"{job} on {node}: ended without a word"
        if job in signals:
            text += f" after {signals[job]}, before it could save"
        else:
            text += " (power cut, node failure or kill)"
        name, _, number = job.rpartition(".r")
        if state := states.get(name):
            text += f"; SLURM says {state}"
        if node in down:
            text += f"; {node} is {down[node]}"
        next_start = f"{name}.r{int(number) + 1}" if number.isdigit() else ""
        again = next((n for j, n in starts if j == next_start), None)
        yield starts[job, node], text + (f"; started again on {again}" if again else "")


def _at(job: str, nodes: dict[str, str]) -> str:
    return f"{job} on {nodes[job]}" if job in nodes else job
