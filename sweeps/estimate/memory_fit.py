"""How many cells fit on a GPU together, by a peak that was measured. No Ray here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from janus.config.cell import Cell
from janus.store.store import Store

CONTEXT_BYTES = 600 << 20
"""Per process on a GPU, beside what torch allocates: context and libraries. Our choice."""


SLACK = 1.15
"""Room for the allocator's fragmentation above the measured peak. Our choice."""


USABLE = 0.95
"""Share of a GPU's memory that is planned with. Our choice."""


def shape(cell: Cell) -> str:
    """Equal for cells that need the same memory: all but order and seed."""
    return replace(cell, order="natural", own_order=None, seed=0).id


def cells_that_fit(peak_bytes: int, device_bytes: int) -> int:
    """Cells of a measured peak that fit on a device together; at least 1."""
    return max(1, int(USABLE * device_bytes // (SLACK * peak_bytes + CONTEXT_BYTES)))


def measured(cell_ids: Sequence[str], store: Store) -> int | None:
    """How many fit together, by the first cell whose peak was measured on a GPU."""
    for cell_id in cell_ids:
        record = store.provenance(cell_id) or {}
        peak, device = record.get("peak_memory_bytes"), record.get("device_memory_bytes")
        if peak and device:
            return cells_that_fit(int(peak), int(device))
    return None
