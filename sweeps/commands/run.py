"""`run`: train the open cells of a sweep, then print what was done and what is missing."""

from __future__ import annotations

import os
import time
from typing import Any

from janus.errors import ClusterError, RunError
from janus.one_line import explain_os_error
from janus.store.store import Store
from janus.tracking import outside_trackers
from janus.tracking.wandb_account import wanted
from janus.weights.resolve import check_weight_files
from sweeps.estimate import forecast
from sweeps.execution.interrupts import STOPPED, not_interrupted
from sweeps.execution.rounds import Tally, drive
from sweeps.execution.workers import Workers
from sweeps.show import texts
from sweeps.show.console import log, print_line
from sweeps.show.live_table import make_watch
from sweeps.show.lost_work import lost_work
from sweeps.spec.by_status import CellsByStatus, by_status
from sweeps.spec.cell_list import write_list
from sweeps.spec.plan import Plan, plan
from sweeps.spec.sweep_file import SweepRequest


def run(request: SweepRequest, command: str) -> int:
    """Train what is open; returns the exit status. `command` goes on with the sweep."""
    start = time.monotonic()
    store, planned = Store(request.store), plan(request.sweep)
    before = by_status(planned.titles, store)
    _check_weights_and_store(planned, before, store)
    write_list(store, planned.name, command, planned.entries)
    expected = forecast.make_and_keep(
        planned, before, store, request.usable_workers(), request.device
    ) or forecast.kept(store, planned.name)
    _log_plan(request, planned, before, store)
    try:
        tally, workers = _train(request, planned, before, store)
    except KeyboardInterrupt:
        with not_interrupted():
            _log_stop(planned, store, command)
        return STOPPED
    except (ClusterError, RunError, OSError) as error:
        log(f"error: {explain_os_error(error) if isinstance(error, OSError) else error}")
        _log_stop(planned, store, command)
        return 3
    after = by_status(planned.titles, store)
    if tally.last:
        wall_s = time.monotonic() - start
        _print_what_was_done(planned, store, tally, expected, wall_s, workers)
    return _print_what_is_missing(planned, after, store, tally, command)


def _check_weights_and_store(planned: Plan, before: CellsByStatus, store: Store) -> None:
    """Refuse what would stop the first cell. Raises JanusError."""
    done = set(before.done)
    for line in check_weight_files(cell.backbone for cell in planned.cells if cell.id not in done):
        log(f"weights: {line}")
    if before.left:
        store.require_writable()


def _log_plan(request: SweepRequest, planned: Plan, before: CellsByStatus, store: Store) -> None:
    for note in planned.notes:
        log(f"note: {note}")
    log(f"sweep {planned.name}: {texts.counts_line(before)}; {store.root}")
    if text := texts.damaged_text(before):
        log(text)
    if fixed := request.sweep.fixed:
        log("in every cell: " + ", ".join(f"{key}={value}" for key, value in fixed.items()))
    keeps = request.execution.keeps_final
    if keeps and (bare := [i for i in before.done if not store.checkpoints(i)]):
        log(f"note: {len(bare)} cells were finished without keep=final; their methods are gone")


def _tracked(request: SweepRequest, planned: Plan) -> dict[str, dict[str, Any]]:
    """{cell id: sweep, row and title, for the W&B run of the cell}; empty if nothing is tracked."""
    tracker = request.execution.tracker
    if not (wanted(tracker) or outside_trackers.is_outside(tracker)):
        return {}
    return {p.cell.id: {"sweep": planned.name, "row": p.row} for p in planned.entries}


def _train(
    request: SweepRequest, planned: Plan, before: CellsByStatus, store: Store
) -> tuple[Tally, int]:
    """Attempt the open cells, shown live; also returns the most that were trained at a time.

    Workers are started when there is something to train.
    """
    cells, tracked = planned.cells, _tracked(request, planned)
    finished = len(cells) - before.left
    of_a_cluster = request.workers is None and bool(os.environ.get("RAY_ADDRESS"))
    count = None if of_a_cluster else max(1, min(request.usable_workers(), before.left))
    with (
        Workers(store, request.execution, count, cells, tracked, log) as workers,
        make_watch(planned.titles, finished, store) as watch,
    ):
        tally = drive(cells, store, workers.run_round, watch.on_cell_end)
    return tally, workers.side_by_side


def _log_stop(planned: Plan, store: Store, command: str) -> None:
    done = len(by_status(planned.titles, store).done)
    log(f"stopped with {done} of {len(planned.cells)} cells done. Go on with: {command}")


def _print_what_was_done(
    planned: Plan,
    store: Store,
    tally: Tally,
    expected: forecast.Forecast | None,
    wall_s: float,
    workers: int,
) -> None:
    print_line(texts.summary_text(tally, wall_s, workers))
    for text in (
        texts.compared_text(expected, tally.trained, tally.training_s, wall_s),
        texts.retries_text(tally),
        f"counted from the store: {lost_work(tally.last, store)}",
    ):
        if text:
            print_line(text)
    if tally.trained:
        forecast.keep_outcome(store, planned.name, tally.trained, tally.training_s, wall_s)


def _print_what_is_missing(
    planned: Plan, after: CellsByStatus, store: Store, tally: Tally, command: str
) -> int:
    """Print the cells without a result, by cause; returns the exit status."""
    done = set(after.done)
    missing = [cell_id for cell_id in planned.titles if cell_id not in done]
    if not missing:
        print_line(f"all {len(planned.cells)} cells of {planned.name} are done")
        return 0
    why = texts.reasons(missing, store, tally, after.damaged)
    print_line(texts.failure_text(why, planned.titles, len(missing), command))
    return 3
