"""`run`: train the open cells of a sweep, then say what was done and what is missing."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from janus.config.cell import Cell
from janus.errors import ClusterError, RunError
from janus.one_line import explain
from janus.store.store import Store
from janus.tracking import outside
from janus.tracking.wandb_account import wanted
from janus.weights.resolve import check
from sweeps.estimate import forecast
from sweeps.execution.interrupts import STOPPED, not_interrupted
from sweeps.execution.rounds import Hear, Tally, drive
from sweeps.show import texts
from sweeps.show.console import say, tell
from sweeps.show.live_table import make_watch
from sweeps.show.lost_work import repeated
from sweeps.spec.plan import Planned, notes, plan_rows, split_open, write_list
from sweeps.spec.sweep_file import Request


def run(request: Request, command: str) -> int:
    """Train what is open, then say what was done and what is missing."""
    start = time.monotonic()
    store, planned = Store(request.store), plan_rows(request.sweep)
    titles = {p.cell.id: p.title for p in planned}
    split = split_open(titles, store)
    done = set(split.done)
    left = len(titles) - len(done) - len(split.damaged)
    for line in check(p.cell.backbone for p in planned if p.cell.id not in done):
        tell(f"weights: {line}")
    if left:
        store.require_writable()
    made = forecast.forecast(planned, split, store, request.usable_workers(), request.device)
    if made is None:
        made = forecast.kept(store, request.sweep.name)
    else:
        forecast.keep(store, request.sweep.name, made)
    write_list(store, request.sweep.name, command, planned)
    for note in notes(request.sweep):
        tell(f"note: {note}")
    tell(f"sweep {request.sweep.name}: {texts.counts(split)}; {store.root}")
    if text := texts.damaged_text(split):
        tell(text)
    if fixed := request.sweep.fixed:
        tell("in every cell: " + ", ".join(f"{key}={value}" for key, value in fixed.items()))
    if request.keep_final and (bare := [i for i in split.done if not store.checkpoints(i)]):
        tell(f"note: {len(bare)} cells were finished without keep=final; their methods are gone")
    try:
        tally, workers = _train(request, store, planned, left)
    except KeyboardInterrupt:
        with not_interrupted():
            split = split_open(titles, store)
            part = f"{len(split.done)} of {len(titles)} cells done"
            tell(f"stopped with {part}. Go on with: {command}")
        return STOPPED
    except (ClusterError, RunError, OSError) as error:
        tell(f"error: {explain(error) if isinstance(error, OSError) else error}")
        split = split_open(titles, store)
        tell(f"stopped with {len(split.done)} of {len(titles)} cells done. Go on with: {command}")
        return 3
    split = split_open(titles, store)
    if tally.last:
        _say_what_was_done(request, store, tally, made, time.monotonic() - start, workers)
    missing = [cell_id for cell_id in titles if cell_id not in set(split.done)]
    if not missing:
        say(f"all {len(titles)} cells of {request.sweep.name} are done")
        return 0
    why = texts.reasons(missing, store, tally, split.damaged)
    say(texts.failure_text(why, titles, len(missing), command))
    return 3


def _say_what_was_done(
    request: Request,
    store: Store,
    tally: Tally,
    made: forecast.Forecast | None,
    wall_s: float,
    workers: int,
) -> None:
    say(texts.summary_text(tally, wall_s, workers))
    for text in (
        texts.compared_text(made, tally.trained, tally.training_s, wall_s),
        texts.retries_text(tally),
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
    with Workers(request, store, planned, left) as workers:
        with make_watch(titles, len(titles) - left, store) as watch:
            tally = drive([p.cell for p in planned], store, workers.run_round, watch.note)
        return tally, workers.side_by_side


RESTARTS = 3
"""Times that a sweep starts its own Ray anew after a process of Ray died."""

LOST = "JANUS_RAY_LOST"
"""Environment variable: how often Ray had died before this process began its program again."""


class Workers:
    """The sweep's pool of workers: started with the first round, and anew when Ray dies."""

    def __init__(
        self, request: Request, store: Store, planned: Sequence[Planned], left: int
    ) -> None:
        self.request, self.store, self.planned, self.left = request, store, planned, left
        self.pool: Any = None
        self.lost = int(os.environ.get(LOST, "0"))
        """Times that Ray died."""
        self.side_by_side = request.usable_workers()
        """The most cells that were trained at a time."""

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def run_round(self, cells: Sequence[Cell], hear: Hear) -> None:
        """Attempt the cells. When Ray dies, the round ends early and the next one starts Ray anew.

        Raises ClusterError when that happened too often.
        """
        if self.pool is None:
            self._start()
        from sweeps.execution.ray_cluster import RayLostError

        try:
            self.pool.run(cells, hear)
        except RayLostError as error:
            self._close()
            self._count(str(error))
        else:
            self.side_by_side = self.pool.side_by_side

    def _count(self, what: str) -> None:
        """Say that Ray died, or raise ClusterError when that happened too often."""
        self.lost += 1
        if self.lost > RESTARTS:
            raise ClusterError(f"{what}, time {self.lost}; is memory short? Try fewer workers")
        tell(
            f"{what} (ended by the kernel for lack of memory?); what was in training is taken up "
            f"from its checkpoints, with Ray started anew ({self.lost} of {RESTARTS})"
        )

    def _begin_again(self, name: str) -> None:
        """Run this process's program from its start: its main thread is stuck in dead Ray.

        Nothing is lost by that: what is finished and how far the rest is stand in the store.
        """
        if sys.stderr.isatty():
            sys.stderr.write("\x1b[?25h")  # the cursor, which the live display hides
        try:
            self._count(f"Ray's {name} died")
        except ClusterError as error:
            tell(f"error: {error}. Go on with the same command")
            os._exit(3)
        os.environ[LOST] = str(self.lost)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

    def _start(self) -> None:
        from sweeps.execution.ray_pool import RayPool

        request = self.request
        count = None if _elsewhere(request) else max(1, min(request.usable_workers(), self.left))
        self.pool = RayPool(
            self.store,
            count,
            request.device,
            sweep=[p.cell for p in self.planned],
            tracked=_tracked(request, self.planned),
            keep_final=request.keep_final,
        )
        self.pool.cluster.when_stuck = self._begin_again
        self.pool.__enter__()

    def _close(self) -> None:
        pool, self.pool = self.pool, None
        if pool is not None:
            pool.__exit__()


def _tracked(request: Request, planned: Sequence[Planned]) -> dict[str, dict[str, Any]]:
    """What a tracker is told of each cell beside the cell itself; empty: nothing is tracked."""
    facts = {"sweep": request.sweep.name}
    if outside.is_outside(request.tracker):
        facts |= {"tracker": request.tracker, "store": str(request.store)}
    elif not wanted(request.tracker):
        return {}
    return {p.cell.id: {**facts, "row": p.row} for p in planned}


def _elsewhere(request: Request) -> bool:
    """Whether an existing cluster decides how many cells are trained at a time."""
    return request.workers is None and bool(os.environ.get("RAY_ADDRESS"))
