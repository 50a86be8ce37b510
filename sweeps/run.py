"""`run`: train the open cells of a sweep, then say what was done and what is missing."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from janus.config import Cell
from janus.store import Store
from janus.wandb_account import wanted
from janus.weights import check
from sweeps import forecast, report
from sweeps.console import say, tell
from sweeps.drive import Note, Tally, drive
from sweeps.load import Request
from sweeps.plan import Planned, notes, plan_rows, split_open, write_list
from sweeps.repeated import repeated
from sweeps.watch import make_watch


def run(request: Request, command: str) -> int:
    """Train what is open, then say what was done and what is missing."""
    start = time.monotonic()
    store, planned = Store(request.store), plan_rows(request.sweep)
    titles = {p.cell.id: p.title for p in planned}
    split = split_open(titles, store)
    done = set(split.done)
    for line in check(p.cell.backbone for p in planned if p.cell.id not in done):
        tell(f"weights: {line}")
    made = forecast.forecast(planned, split, store, request.usable_workers(), request.device)
    if made is None:
        made = forecast.kept(store, request.sweep.name)
    else:
        forecast.keep(store, request.sweep.name, made)
    write_list(store, request.sweep.name, command, planned)
    for note in notes(request.sweep):
        tell(f"note: {note}")
    tell(f"sweep {request.sweep.name}: {report.counts(split)}; {store.root}")
    if fixed := request.sweep.fixed:
        tell("in every cell: " + ", ".join(f"{key}={value}" for key, value in fixed.items()))
    if request.keep_final and (bare := [i for i in split.done if not store.checkpoints(i)]):
        tell(f"note: {len(bare)} cells were finished without keep=final; their methods are gone")
    try:
        tally, workers = _train(request, store, planned, len(titles) - len(split.done))
    except KeyboardInterrupt:
        split = split_open(titles, store)
        tell(f"stopped with {len(split.done)} of {len(titles)} cells done. Go on with: {command}")
        return 130
    split = split_open(titles, store)
    if tally.last:
        _say_what_was_done(request, store, tally, made, time.monotonic() - start, workers)
    missing = [cell_id for cell_id in titles if cell_id not in set(split.done)]
    if not missing:
        say(f"all {len(titles)} cells of {request.sweep.name} are done")
        return 0
    why = report.reasons(missing, store, tally)
    say(report.failure_text(why, titles, len(missing), command))
    return 3


def _say_what_was_done(
    request: Request,
    store: Store,
    tally: Tally,
    made: forecast.Forecast | None,
    wall_s: float,
    workers: int,
) -> None:
    say(report.summary_text(tally, wall_s, workers))
    for text in (
        report.compared_text(made, tally.trained, tally.training_s, wall_s),
        report.retries_text(tally),
        f"counted from the store: {repeated(tally.last, store)}",
    ):
        if text:
            say(text)
    if tally.trained:
        name = request.sweep.name
        forecast.keep_outcome(store, name, tally.trained, tally.training_s, wall_s)


def _train(
    request: Request, store: Store, planned: Sequence[Planned], left: int
) -> tuple[Tally, int]:
    """Drive the sweep, `left` cells of it; workers are started when there is something to train."""
    titles = {p.cell.id: p.title for p in planned}
    with ExitStack() as stack:
        pools: list[Any] = []

        def run_round(cells: Sequence[Cell], note: Note) -> None:
            if not pools:
                from sweeps.tune import RayPool

                workers = (
                    None if _elsewhere(request) else max(1, min(request.usable_workers(), left))
                )
                pool = RayPool(
                    store,
                    workers,
                    request.device,
                    sweep=[p.cell for p in planned],
                    tracked=_tracked(request, planned),
                    keep_final=request.keep_final,
                )
                pools.append(stack.enter_context(pool))
            pools[0].run(cells, note)

        with make_watch(titles, len(titles) - left, store) as watch:
            tally = drive([p.cell for p in planned], store, run_round, watch.note)
        return tally, pools[0].side_by_side if pools else request.usable_workers()


def _tracked(request: Request, planned: Sequence[Planned]) -> dict[str, dict[str, Any]]:
    """What W&B is told of each cell beside the cell itself; empty: nothing is tracked."""
    if not wanted(request.tracker):
        return {}
    return {p.cell.id: {"sweep": request.sweep.name, "row": p.row} for p in planned}


def _elsewhere(request: Request) -> bool:
    """Whether an existing cluster decides how many cells are trained at a time."""
    return request.workers is None and bool(os.environ.get("RAY_ADDRESS"))
