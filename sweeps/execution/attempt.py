"""One attempt at one cell, with every way it can end turned into a value.

A cell that fails must not stop the others, and whoever started it must learn why: `attempt` never
raises for what a run can do wrong. No Ray here; torch is imported when the first cell starts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from janus.config.cell import Cell
from janus.errors import cause_of
from janus.store.store import Store

BUSY = ("claimed", "claim-lost")
"""Causes that mean another process works on the cell."""


@dataclass(frozen=True)
class Outcome:
    """How an attempt at a cell ended."""

    cell_id: str
    status: str
    """`done`, `failed`, `busy` (somebody else works on it) or `crashed` (the process died)."""
    cause: str = ""
    """Short kind of a failure, by which reports group."""
    message: str = ""
    seconds: float = 0.0
    """Spent inside the run; 0 when there was nothing to train."""
    shared: int = 1
    """Cells that had the device (or the machine's memory) together, this one included."""
    metrics: Mapping[str, Any] = field(default_factory=dict)


def attempt(cell: Cell, store: Store, run: Callable[[], Mapping[str, Any] | None]) -> Outcome:
    """Call `run`, which trains `cell`, and tell how it ended.

    A cell that another process finished meanwhile is `done` in no time.
    """
    start = time.monotonic()
    status, cause, message = "failed", "", ""
    metrics: Mapping[str, Any] = {}
    try:
        if (known := store.result(cell.id)) is not None:
            return Outcome(cell.id, "done", metrics=known.get("metrics", {}))
        result = run()
        status = "done" if result is not None else "busy"
        metrics = (result or {}).get("metrics", {})
    except Exception as error:  # even a bug in one method must not end the other cells
        cause = cause_of(error)
        status = "busy" if cause in BUSY else "failed"
        message = str(error)
    seconds = time.monotonic() - start
    return Outcome(cell.id, status, cause, message, seconds, metrics=metrics)
