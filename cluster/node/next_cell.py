"""Which cell a worker takes next: first those of its own share, then whatever is left.

No queue and no server: the claims in the store decide. Worker i of W starts with cells i, i+W,
i+2W, ..., so workers seldom look at the same cell and the sweep is finished front to back, whole
pairs first. A slow or dead worker holds nothing back, because the others come to its share.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from cluster.node.job_store import TaskStore
from cluster.scheduler.slurm_commands import Queued
from janus.config.cell import Cell
from janus.errors import ClusterError

CHECKED = 50
"""Held cells, drawn anew by each worker that runs out of work, whose holders it asks after. Were it
all of them, a thousand workers that end together would ask a million times; the last to end asks
after every cell that is left."""


def own_order(cells: Sequence[Cell], index: int, workers: int) -> list[Cell]:
    """All cells, in the order in which worker `index` looks at them."""
    own = list(cells[index::workers])
    start = min(index, len(cells))
    rest = [*cells[start:], *cells[:start]]
    chosen = {cell.id for cell in own}
    return own + [cell for cell in rest if cell.id not in chosen]


def pick(
    cells: Sequence[Cell],
    retry: Mapping[str, int],
    store: TaskStore,
    own: int,
    rows: Callable[[], Sequence[Queued]],
    wait: Callable[[Sequence[str]], Iterable[str]] = lambda held: (),
) -> Iterator[Cell]:
    """Cells to attempt, until all are done, failed, or held by somebody alive.

    `own` is how many of the first cells are this worker's share; `rows` asks for the queue, which
    happens only when nothing else is left to do. `wait` is given the held cells of this share, and
    returns those that became free: one worker waits for each cell, the others end.
    """
    todo, freed = list(cells), set[str]()
    share = {cell.id for cell in cells[:own]}
    while todo:
        held = []
        for position, cell in enumerate(todo):
            if position == own:
                done = store.done()  # one listing instead of a look at each
                todo[position:] = [c for c in todo[position:] if c.id not in done]
                if position >= len(todo):
                    break
                cell = todo[position]
            if store.held(cell.id) and cell.id not in freed and not store.free_our_own(cell.id):
                held.append(cell)
            elif _status(store, cell.id, retry) == "open":
                freed.discard(cell.id)
                yield cell
                held += [cell] if store.held(cell.id) else []
        checked = random.sample(held, min(CHECKED, len(held)))
        freed = _whose_holder_is_gone([cell.id for cell in checked], store, rows)
        if not freed and (ours := [cell.id for cell in held if cell.id in share]):
            freed = set(wait(ours))
        todo, own = held if freed else [], 0


def _status(store: TaskStore, cell_id: str, retry: Mapping[str, int]) -> str:
    """As the store's, but a failure that was submitted again counts as open until it is tried."""
    status = store.status(cell_id)
    if status == "failed" and retry.get(cell_id) == store.last_claim(cell_id):
        return "open"
    return status


def _whose_holder_is_gone(
    cell_ids: Sequence[str], store: TaskStore, rows: Callable[[], Sequence[Queued]]
) -> set[str]:
    """Those whose process ended on this machine, or whose job SLURM no longer runs."""
    gone = {cell_id for cell_id in cell_ids if store.status(cell_id) != "running"}
    try:
        return gone | set(store.free_the_dead(cell_ids, rows())) if cell_ids else gone
    except ClusterError:
        return gone  # no squeue on this node: the holder's own requeue has to do
