"""The cells of a sweep by what the store knows of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from janus.store.store import Store


@dataclass(frozen=True)
class CellsByStatus:
    """Ids of cells; each is in one of the lists."""

    done: list[str]
    running: list[str]
    failed: list[str]
    open: list[str]
    damaged: dict[str, str] = field(default_factory=dict)
    """Finished cells whose result is damaged, with what to do: not trained over, not counted."""

    @property
    def left(self) -> int:
        """Cells that may still be trained: not done, and not damaged."""
        return len(self.running) + len(self.failed) + len(self.open)


def by_status(ids: Iterable[str], store: Store) -> CellsByStatus:
    """Sort cell ids into done, running (somewhere), failed (last attempt), open and damaged.

    One listing finds the finished ones; only the others are looked at one by one.
    """
    done = store.done()
    ids = list(ids)
    found = CellsByStatus([], [], [], [], store.damaged([i for i in ids if i in done]))
    for cell_id in ids:
        if cell_id in found.damaged:
            continue
        status = "done" if cell_id in done else store.status(cell_id)
        getattr(found, status).append(cell_id)
    return found
