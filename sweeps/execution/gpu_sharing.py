"""How many cells share a GPU: from a measured peak, halved whenever memory runs out.

Cells that differ only in order and seed have one shape and need the same memory. The peak of a
finished cell of that shape is in its provenance; without one, the first cell has a GPU to itself
and is the measurement. On a CPU the cells share the machine's memory and the same halving holds.
No Ray here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from janus.config.cell import Cell
from janus.errors import OUT_OF_MEMORY
from janus.store.store import Store
from sweeps.estimate.memory_fit import measured, shape
from sweeps.execution.attempt import Outcome


@dataclass
class Packing:
    """Shares of the cells of one sweep."""

    store: Store
    places: int
    """Cells side by side per GPU that the cores allow; without GPUs, on the whole machine."""
    gpus: int = 0
    """0: cells run on cores, and start out with `places` of them side by side."""
    sweep: Sequence[Cell] = ()
    """All cells of the sweep: finished ones among them are measurements."""
    known: dict[str, int] = field(default_factory=dict)
    """Cells of a shape that fit together, as measured."""
    limit: dict[str, int] = field(default_factory=dict)
    """The same, as running out of memory has taught."""
    shapes: dict[str, str] = field(default_factory=dict)
    """{cell id: shape}, of the cells seen so far."""

    def batches(self, cells: Sequence[Cell]) -> Iterator[list[tuple[Cell, int]]]:
        """(cell, cells that may share its device), in batches that run one after the other.

        A batch holds all cells of measured shapes and, alone on a GPU each, as many others as
        there are GPUs: at least one of each shape, so that the next batch can be packed.
        """
        left = list(cells)
        while left:
            self._measure(left)
            ready = [c for c in left if self._share(c) is not None]
            alone = self._one_of_each_shape([c for c in left if self._share(c) is None])
            batch = [(c, self._share(c) or 1) for c in [*alone, *ready]]
            yield batch
            taken = {cell.id for cell, _ in batch}
            left = [c for c in left if c.id not in taken]

    def on_outcome(self, outcome: Outcome) -> None:
        """Learn from a cell that ran out of memory in company."""
        if outcome.cause == OUT_OF_MEMORY and outcome.shared > 1:
            key = self.shapes[outcome.cell_id]
            self.limit[key] = min(self.limit.get(key, outcome.shared), outcome.shared // 2)

    def _share(self, cell: Cell) -> int | None:
        key = self.shapes[cell.id]
        fit = self.known.get(key) if self.gpus else self.places
        if key in self.limit:  # a cell that ran alone has nothing to halve
            fit = min(fit or self.limit[key], self.limit[key])
        return fit and max(1, min(fit, self.places))

    def _measure(self, cells: Sequence[Cell]) -> None:
        for cell in [*cells, *self.sweep] if self.gpus else cells:
            if cell.id not in self.shapes:
                self.shapes[cell.id] = shape(cell)
        if not self.gpus:
            return
        done = self.store.done()
        for key in {self.shapes[cell.id] for cell in cells} - set(self.known):
            alike = [i for i, other in self.shapes.items() if other == key and i in done]
            fit = measured(alike, self.store)
            if fit is not None:
                self.known[key] = fit

    def _one_of_each_shape(self, cells: Sequence[Cell]) -> list[Cell]:
        first = {self.shapes[cell.id]: cell for cell in reversed(cells)}
        chosen = {cell.id for cell in first.values()}
        others = [cell for cell in cells if cell.id not in chosen]
        return [*first.values(), *others[: max(0, self.gpus - len(first))]]
