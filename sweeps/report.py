"""Texts about a sweep: what is planned, what it may cost, what is missing and why.

Everything is told from the plan and the store; nothing here starts work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from janus.store import Store
from janus.tracking import clock
from sweeps.drive import Tally
from sweeps.plan import Planned, Split

SAMPLES = 16
"""Finished cells of a row that a forecast looks at."""


def counts(split: Split) -> str:
    """'12 cells: 3 done, 0 running, 1 failed, 8 open'."""
    parts = {name: len(getattr(split, name)) for name in ("done", "running", "failed", "open")}
    listed = ", ".join(f"{number} {name}" for name, number in parts.items())
    return f"{sum(parts.values())} cells: {listed}"


def plan_text(planned: Sequence[Planned], split: Split) -> str:
    """How the cells spread over rows, benches, orders and seeds."""
    done = set(split.done)
    width = max(len(p.row) for p in planned)
    lines = [counts(split)]
    for row, cells in _by_row(planned).items():
        finished = sum(p.cell.id in done for p in cells)
        lines.append(f"  {row:<{width}}  {len(cells):>5} cells  {finished:>5} done")
    lines.append(f"  benches: {_distinct(p.cell.bench.name for p in planned)}")
    lines.append(f"  orders:  {_distinct(p.cell.order for p in planned)}")
    lines.append(f"  seeds:   {_distinct(str(p.cell.seed) for p in planned)}")
    return "\n".join(lines)


def forecast_text(planned: Sequence[Planned], split: Split, store: Store, workers: int) -> str:
    """Time that the open cells may take, from the seconds of this sweep's finished ones."""
    done, left = set(split.done), len(planned) - len(split.done)
    if not left:
        return "nothing left to train"
    known: dict[tuple[str, str], float] = {}
    for key, cells in _by_pattern(planned).items():
        seconds = _seconds([p.cell.id for p in cells if p.cell.id in done], store)
        if seconds:
            known[key] = sum(seconds) / len(seconds)
    if not known:
        return f"no forecast: none of these cells is finished yet; {left} to train"
    usual = sum(known.values()) / len(known)
    total = sum(known.get(_pattern(p), usual) for p in planned if p.cell.id not in done)
    unmeasured = {_pattern(p) for p in planned if p.cell.id not in done} - set(known)
    guess = f"; {len(unmeasured)} rows not measured yet, taken as average" if unmeasured else ""
    return (
        f"forecast: {left} cells, {clock(total)} of training, "
        f"{clock(total / workers)} on {workers} workers{guess}"
    )


def failure_text(
    reasons: Mapping[str, tuple[str, str]], titles: Mapping[str, str], missing: int, command: str
) -> str:
    """Failed cells grouped by cause, with one example each, and the command that goes on.

    `reasons` maps cell ids to (cause, message); `missing` counts all cells without a result.
    """
    lines = [f"{missing} of {len(titles)} cells have no result"]
    for cause, number in Counter(cause for cause, _ in reasons.values()).most_common():
        cell_id, (_, message) = next(item for item in reasons.items() if item[1][0] == cause)
        first = message.splitlines()[0] if message else "no message"
        lines.append(f"  {cause}: {number} cells, e.g. {titles[cell_id]} ({cell_id})")
        lines.append(f"    {first}")
    lines.append(f"the same command trains what is missing: {command}")
    return "\n".join(lines)


def reasons(
    cell_ids: Iterable[str], store: Store, tally: Tally | None
) -> dict[str, tuple[str, str]]:
    """Cause and message of each failed cell: from this command's attempts, else from the store."""
    found = {}
    for cell_id in cell_ids:
        last = tally.last.get(cell_id) if tally else None
        if last is not None and last.status != "done":
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


def running_text(cell_ids: Iterable[str], titles: Mapping[str, str], store: Store) -> str:
    """One line for each running cell, from its heartbeat."""
    lines = []
    for cell_id in cell_ids:
        beat = store.beat(cell_id)
        at = f"task {beat['task'] + 1}/{beat['tasks']}" if beat else "starting"
        left = f", left {clock(beat.get('seconds_left'))}" if beat else ""
        lines.append(f"  running: {titles[cell_id]}  {at}{left}")
    return "\n".join(lines)


def _by_row(planned: Sequence[Planned]) -> dict[str, list[Planned]]:
    found: dict[str, list[Planned]] = {}
    for entry in planned:
        found.setdefault(entry.row, []).append(entry)
    return found


def _pattern(entry: Planned) -> tuple[str, str]:
    return entry.cell.bench.name, entry.row


def _by_pattern(planned: Sequence[Planned]) -> dict[tuple[str, str], list[Planned]]:
    """Cells that should take equally long: same bench and row."""
    found: dict[tuple[str, str], list[Planned]] = {}
    for entry in planned:
        found.setdefault(_pattern(entry), []).append(entry)
    return found


def _seconds(done_ids: Sequence[str], store: Store) -> list[float]:
    """Training seconds of finished cells, of a sample spread evenly over many."""
    step = max(1, len(done_ids) // SAMPLES)
    records = (store.provenance(cell_id) for cell_id in done_ids[::step])
    return [float(r["seconds"]) for r in records if r and "seconds" in r]


def _distinct(values: Iterable[str]) -> str:
    """The first dozen distinct values, and how many there are."""
    listed = list(dict.fromkeys(values))
    more = f" ... ({len(listed)})" if len(listed) > 12 else ""
    return " ".join(listed[:12]) + more
