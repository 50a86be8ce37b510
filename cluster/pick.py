"""Which cell a worker takes next: first those of its own share, then whatever is left.

No queue and no server: the claims in the store decide. Worker i of W starts with cells i, i+W,
i+2W, ..., so workers seldom look at the same cell and the sweep is finished front to back, whole
pairs first. A slow or dead worker holds nothing back, because the others come to its share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from cluster.claims import TaskStore
from cluster.slurm import Queued
from janus.config import Cell
from janus.errors import ClusterError


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
) -> Iterator[Cell]:
    """Cells to attempt, until all are done, failed, or held by somebody alive.

    `own` is how many of the first cells are this worker's share; `rows` asks for the queue, which
    happens only when nothing else is left to do.
    """
    todo = list(cells)
    while todo:
        held = []
        for position, cell in enumerate(todo):
            if position == own:
                done = store.done()  # one listing instead of a look at each
                todo[position:] = [c for c in todo[position:] if c.id not in done]
                if position >= len(todo):
                    break
                cell = todo[position]
            status = _status(store, cell.id, retry)
            if status == "open" or (status == "running" and store.free_our_own(cell.id)):
                yield cell
                status = _status(store, cell.id, retry)
            if status == "running":
                held.append(cell)
        todo, own = held, 0
        if held and not _some_died(store, held, rows):
            return


def _status(store: TaskStore, cell_id: str, retry: Mapping[str, int]) -> str:
    """As the store's, but a failure that was submitted again counts as open until it is tried."""
    status = store.status(cell_id)
    if status == "failed" and retry.get(cell_id) == store.last_claim(cell_id):
        return "open"
    return status


def _some_died(
    store: TaskStore, held: Sequence[Cell], rows: Callable[[], Sequence[Queued]]
) -> bool:
    try:
        return bool(store.free_the_dead([cell.id for cell in held], rows()))
    except ClusterError:
        return False  # no squeue on this node: the holder's own requeue has to do
