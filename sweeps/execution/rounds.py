"""Rounds of attempts until nothing is open, judged by the store alone.

The driver knows nothing of Ray: it hands the open cells to `run_round`, reads the store again, and
decides what is worth another attempt. Several drivers on one store share the work, because cells
that somebody else trains are waited for, and taken over when they stall.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from janus.config.cell import Cell
from janus.store.store import Store
from sweeps.execution.attempt import Outcome
from sweeps.execution.retry_policy import worth_another
from sweeps.spec.by_status import by_status

OnCellEnd = Callable[[Outcome], None]
"""Takes how a cell ended, here or in another driver."""
OnOutcome = Callable[[Outcome], bool]
"""Takes how an attempt ended; returns whether the cell is worth another attempt."""
RunRound = Callable[[Sequence[Cell], OnOutcome], None]
"""Attempts the cells and calls the second argument as each attempt ends. A cell for which that
returns True may be attempted again in the same round; otherwise the next round does it."""


@dataclass
class Tally:
    """What one command did to a sweep."""

    last: dict[str, Outcome] = field(default_factory=dict)
    """The last outcome of each cell that was attempted."""
    attempts: Counter[str] = field(default_factory=Counter)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By cell and cause."""
    trained: int = 0
    """Cells finished by this command."""
    training_s: float = 0.0
    """Seconds spent inside runs, added over workers."""

    def add(self, outcome: Outcome) -> None:
        """Count one attempt."""
        self.last[outcome.cell_id] = outcome
        self.training_s += outcome.seconds
        self.trained += outcome.status == "done" and outcome.seconds > 0
        if outcome.status != "busy":
            self.attempts[outcome.cell_id] += 1
        if outcome.status in ("failed", "crashed"):
            self.failures[outcome.cell_id, outcome.cause] += 1

    def worth_trying(self, cell_id: str) -> bool:
        """Whether another attempt may end differently, by the cause of the last failure."""
        last = self.last.get(cell_id)
        return last is None or worth_another(last, self.failures[cell_id, last.cause])

    def is_busy(self, cell_id: str) -> bool:
        """Whether the last attempt found another process at work on the cell."""
        last = self.last.get(cell_id)
        return last is not None and last.status == "busy"

    def retried(self) -> dict[str, tuple[int, int]]:
        """{cause: (attempts that ended so, cells that have a result all the same)}."""
        found: dict[str, tuple[int, int]] = {}
        for (cell_id, cause), number in self.failures.items():
            attempts, mended = found.get(cause, (0, 0))
            done = self.last[cell_id].status == "done"
            found[cause] = (attempts + number, mended + done)
        return found


def drive(
    cells: Sequence[Cell],
    store: Store,
    run_round: RunRound,
    on_cell_end: OnCellEnd,
    *,
    pause_s: float = 2.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Tally:
    """Attempt all open cells, and failed ones once more, until no attempt can change anything.

    `on_cell_end` is called for every cell that ends, here or in another driver.
    """
    by_id = {cell.id: cell for cell in cells}
    tally = Tally()
    finished = set(by_status(by_id, store).done)

    def on_outcome(outcome: Outcome) -> bool:
        tally.add(outcome)
        on_cell_end(outcome)
        return tally.worth_trying(outcome.cell_id)

    while True:
        found = by_status(by_id, store)
        for cell_id in found.done:
            ours = tally.last.get(cell_id)
            if cell_id not in finished and (ours is None or ours.status != "done"):
                on_cell_end(Outcome(cell_id, "done", metrics=_metrics(store, cell_id)))
            finished.add(cell_id)
        waiting = {*found.open, *found.failed}
        todo = [c for i, c in by_id.items() if i in waiting and tally.worth_trying(i)]
        if not todo and not found.running:
            return tally
        if todo:
            run_round(todo, on_outcome)
        if not todo or all(tally.is_busy(c.id) for c in todo):
            sleep(pause_s)


def _metrics(store: Store, cell_id: str) -> dict[str, float]:
    return dict((store.result(cell_id) or {}).get("metrics", {}))
