"""Texts about a sweep: what is planned, what it may cost, what is missing and why.

All of it is made from the plan and the store; nothing here starts work.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from janus.atomic_files import number
from janus.store.store import DAMAGED, Store
from janus.tracking.terminal import clock, percent
from sweeps.estimate.forecast import Forecast
from sweeps.execution.retry_policy import policy_for
from sweeps.execution.rounds import Tally
from sweeps.spec.by_status import CellsByStatus
from sweeps.spec.plan import Plan, PlannedCell


def counts_line(cells: CellsByStatus) -> str:
    """'12 cells: 3 done, 0 running, 1 failed, 8 open'."""
    parts = {name: len(getattr(cells, name)) for name in ("done", "running", "failed", "open")}
    if cells.damaged:
        parts["damaged"] = len(cells.damaged)
    listed = ", ".join(f"{number} {name}" for name, number in parts.items())
    return f"{sum(parts.values())} cells: {listed}"


def damaged_text(cells: CellsByStatus) -> str:
    """Up to ten damaged results, each with its file and what to do; '' when there is none."""
    lines = [f"  damaged: {why}" for why in list(cells.damaged.values())[:10]]
    if len(cells.damaged) > 10:
        lines.append(f"  and {len(cells.damaged) - 10} more damaged results")
    return "\n".join(lines)


def plan_text(planned: Plan, cells: CellsByStatus) -> str:
    """How the cells spread over rows, benches, orders and seeds."""
    done = set(cells.done)
    width = max(len(p.row) for p in planned.entries)
    lines = [counts_line(cells), *filter(None, [damaged_text(cells)])]
    for row, entries in _by_row(planned.entries).items():
        finished = sum(p.cell.id in done for p in entries)
        lines.append(f"  {row:<{width}}  {len(entries):>5} cells  {finished:>5} done")
    lines.append(f"  benches: {_distinct(cell.bench.name for cell in planned.cells)}")
    lines.append(f"  orders:  {_distinct(cell.order for cell in planned.cells)}")
    lines.append(f"  seeds:   {_distinct(str(cell.seed) for cell in planned.cells)}")
    return "\n".join(lines)


def forecast_text(made: Forecast | None, left: int, probe: str) -> str:
    """What the open cells may cost; `probe` is the command that measures when nothing is known."""
    if not left:
        return "nothing left to train"
    if made is None:
        return f"no forecast for {left} cells: nothing comparable is finished yet; measure: {probe}"
    hours = "GPU-hours" if made.together else "core-hours"
    lines = [
        f"forecast for {made.device}: {made.cells} cells, {clock(made.training_s)} of training "
        f"({made.training_s / 3600:.2f} {hours}), {clock(made.wall_s)} on the clock with "
        f"{made.side_by_side} side by side",
        f"  disk: {_size(made.disk_bytes)} more, {_size(made.free_bytes)} free",
    ]
    lines += [f"  on a GPU together: {fit} of {row}" for row, fit in made.together.items()]
    if made.scaled:
        lines.append(f"  {made.scaled} rows known from other settings of their methods, scaled")
    if made.guessed:
        lines.append(f"  {made.guessed} rows never measured, taken as average; measure: {probe}")
    if made.elsewhere:
        lines.append(f"  measured on other hardware: {', '.join(made.elsewhere)}")
    return "\n".join(lines)


def compared_text(made: Forecast | None, trained: int, training_s: float, wall_s: float) -> str:
    """What the forecast said beside what it took; '' when there is nothing to compare."""
    if made is None or not trained:
        return ""
    per_cell = 100 * (training_s / trained) / (made.training_s / made.cells) - 100
    return (
        f"forecast: {made.cells} cells, {clock(made.training_s)} of training, "
        f"{clock(made.wall_s)} on the clock; it took: {trained} cells, {clock(training_s)}, "
        f"{clock(wall_s)} ({per_cell:+.0f} % training per cell)"
    )


def _size(number: float) -> str:
    """Bytes for people: '1.2 GB'."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def failure_text(
    reasons: Mapping[str, tuple[str, str]], titles: Mapping[str, str], missing: int, command: str
) -> str:
    """Failed cells grouped by cause, with one example each, and the command that goes on.

    `reasons` maps cell ids to (cause, message); `missing` counts all cells without a result.
    """
    lines = [f"{missing} of {len(titles)} cells have no result"]
    for cause, count in Counter(cause for cause, _ in reasons.values()).most_common():
        cell_id, (_, message) = next(item for item in reasons.items() if item[1][0] == cause)
        told = message.splitlines()[0] if message else "no message"
        lines.append(f"  {cause}: {count} cells, e.g. {titles[cell_id]} ({cell_id})")
        lines.append(f"    {told}")
        lines.append(f"    ({policy_for(cause).advice})")
    causes = {cause for cause, _ in reasons.values()}
    first = "with those files moved away, " if causes == {DAMAGED} else ""
    lines.append(f"{first}the same command trains what is missing: {command}")
    return "\n".join(lines)


def reasons(
    cell_ids: Iterable[str], store: Store, tally: Tally | None, damaged: Mapping[str, str] = {}
) -> dict[str, tuple[str, str]]:
    """Cause and message of each failed cell: from this command's attempts, else from the store.

    damaged: what to do about each damaged result.
    """
    found = {}
    for cell_id in cell_ids:
        last = tally.last.get(cell_id) if tally else None
        if cell_id in damaged:
            found[cell_id] = (DAMAGED, damaged[cell_id])
        elif last is not None and last.status != "done":
            found[cell_id] = (last.cause, last.message)
        elif record := store.failure(cell_id):
            found[cell_id] = (str(record.get("cause", "error")), str(record.get("message", "")))
    return found


def summary_text(tally: Tally, wall_s: float, workers: int) -> str:
    """Cells trained, wall clock, and the share of the workers' time that was training."""
    share = tally.training_s / (wall_s * workers) if wall_s else 0.0
    return (
        f"trained {tally.trained} cells in {wall_s:.1f} s on {workers} workers; "
        f"{tally.training_s:.1f} s inside runs, {100 * share:.1f} % of wall x workers"
    )


def retries_text(tally: Tally) -> str:
    """What was tried again, by cause; '' when nothing was."""
    lines = [
        f"  {cause}: {attempts} attempts ended so, {mended} of their cells have a result now"
        for cause, (attempts, mended) in tally.retried().items()
        if mended
    ]
    return "\n".join(["tried again:", *lines]) if lines else ""


def running_text(cell_ids: Iterable[str], titles: Mapping[str, str], store: Store) -> str:
    """One line for each running cell, from its heartbeat."""
    lines = []
    for cell_id in cell_ids:
        beat = store.beat(cell_id) or {}
        facts = "starting"
        if task := task_text(beat):
            accuracy, left = (known_number(beat, name) for name in ("accuracy", "seconds_left"))
            facts = f"task {task}, accuracy so far {percent(accuracy)}, left {clock(left)}"
        lines.append(f"  running: {titles[cell_id]}  {facts}")
    return "\n".join(lines)


def task_text(beat: Mapping[str, Any]) -> str:
    """'3/10', the task in a heartbeat; '' if the heartbeat has none."""
    task, tasks = (known_number(beat, name) for name in ("task", "tasks"))
    return "" if task is None or tasks is None else f"{task + 1:.0f}/{tasks:.0f}"


def known_number(beat: Mapping[str, Any], name: str) -> float | None:
    """A number in a heartbeat; None if it is missing or the file is damaged."""
    value = number(beat, name, math.nan)
    return None if math.isnan(value) else value


def _by_row(entries: Sequence[PlannedCell]) -> dict[str, list[PlannedCell]]:
    found: dict[str, list[PlannedCell]] = {}
    for entry in entries:
        found.setdefault(entry.row, []).append(entry)
    return found


def _distinct(values: Iterable[str]) -> str:
    """The first dozen distinct values, and how many there are."""
    listed = list(dict.fromkeys(values))
    more = f" ... ({len(listed)})" if len(listed) > 12 else ""
    return " ".join(listed[:12]) + more
