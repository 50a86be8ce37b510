"""What a person sees while a sweep runs: a live table on a terminal, plain lines elsewhere.

The driver tells which cells ended; everything else (who runs, which task, how accurate so far) is
read from the heartbeats in the store, so cells that another driver trains are shown as well.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from janus.store.store import Store
from janus.tracking.terminal import clock, percent
from sweeps.execution.attempt import Outcome
from sweeps.show.texts import known_number, task_text
from sweeps.spec.by_status import CellsByStatus, by_status


def outcome_text(outcome: Outcome, title: str, finished: int, total: int) -> str:
    """One line for a cell that ended: '[3/12] glyphs janus order=1 seed=0  ACC 63.40 ...'."""
    if outcome.status == "done":
        acc, bwt = (percent(outcome.metrics.get(name)) for name in ("acc", "bwt"))
        seconds = f"  {outcome.seconds:.0f} s" if outcome.seconds else "  (by another process)"
        return f"[{finished}/{total}] {title}  ACC {acc}  BWT {bwt}{seconds}"
    reason = f"{outcome.cause}: {outcome.message}".splitlines()[0]
    return f"[{outcome.status}] {title}  {reason}"


class PlainWatch:
    """A line for each cell that ends."""

    def __init__(self, titles: Mapping[str, str], finished: int, out: TextIO | None = None) -> None:
        self.titles = titles
        self.finished = finished
        self.out = out or sys.stderr

    def on_cell_end(self, outcome: Outcome) -> None:
        """Say how a cell ended."""
        self.finished += outcome.status == "done"
        title = self.titles[outcome.cell_id]
        self.show(outcome_text(outcome, title, self.finished, len(self.titles)))

    def show(self, line: str) -> None:
        """Print one line at once."""
        self.out.write(line + "\n")
        self.out.flush()

    def __enter__(self) -> PlainWatch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        return None


class LiveWatch(PlainWatch):
    """The same lines, above a table of the cells being trained that is redrawn in place."""

    def __init__(self, titles: Mapping[str, str], finished: int, store: Store) -> None:
        super().__init__(titles, finished)
        self.store = store
        self.started = time.monotonic()
        self.finished_before = finished
        self.drawn: RenderableType = Text("starting workers")
        self.read_after = 0.0
        self.console = Console(stderr=True)
        self.live = Live(
            console=self.console, get_renderable=self.render, refresh_per_second=1, transient=True
        )

    def show(self, line: str) -> None:
        """Print one line above the table."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> LiveWatch:
        self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.live.stop()

    def render(self) -> RenderableType:
        """The table; the store is read at most a twentieth of the time."""
        now = time.monotonic()
        if now >= self.read_after:
            self.drawn = self._read_store()
            self.read_after = now + max(1.0, 20 * (time.monotonic() - now))
        return self.drawn

    def _read_store(self) -> RenderableType:
        cells = by_status(self.titles, self.store)
        table = Table("cell", "task", "epoch", "loss", "accuracy so far", "left", box=None)
        for cell_id in cells.running:
            beat = self.store.beat(cell_id) or {}
            loss, epoch = known_number(beat, "loss"), known_number(beat, "epoch")
            table.add_row(
                self.titles[cell_id],
                task_text(beat) or "--",
                "--" if epoch is None else f"{epoch + 1:.0f}",
                "--" if loss is None else f"{loss:.3f}",
                percent(known_number(beat, "accuracy")),
                clock(known_number(beat, "seconds_left")),
            )
        counts = f"{len(cells.done)} done, {len(cells.running)} running, "
        counts += f"{len(cells.failed)} failed, {len(cells.open)} open"
        left = len(self.titles) - len(cells.done)
        return Group(Text(f"{counts}; {pace(self._ended(), self._spent(), left)}"), table)

    def _ended(self) -> int:
        """Cells that ended while we looked on, here or in another driver."""
        return self.finished - self.finished_before

    def _spent(self) -> float:
        return time.monotonic() - self.started


def pace(ended: int, seconds: float, left: int) -> str:
    """'12.0 cells an hour, time left 1:30:00', from the cells that ended in so many seconds."""
    if not ended or seconds <= 0:
        return "time left --"
    return f"{3600 * ended / seconds:.1f} cells an hour, time left {clock(seconds / ended * left)}"


def pace_of_store(cells: CellsByStatus, store: Store, window_s: float = 3600.0) -> str:
    """As `pace`, from the store alone: results that appeared in the last hour."""
    now = time.time()
    times = [store.result_path(cell_id).stat().st_mtime for cell_id in cells.done]
    recent = [t for t in times if now - t < window_s]
    left = cells.left
    # the first of them only starts the clock
    return pace(len(recent) - 1, now - min(recent), left) if len(recent) > 1 else pace(0, 0.0, left)


def make_watch(titles: Mapping[str, str], finished: int, store: Store) -> PlainWatch:
    """The live view on a terminal, plain lines otherwise."""
    if sys.stderr.isatty():
        return LiveWatch(titles, finished, store)
    return PlainWatch(titles, finished)
