"""`probe`: time two training steps of each row that was never measured, then print the plan."""

from __future__ import annotations

from typing import Any

from janus.config.cell import Cell
from janus.machine.devices import pick_device
from janus.store.store import Store
from sweeps.commands.plan import print_planned
from sweeps.estimate import forecast
from sweeps.show.console import log
from sweeps.spec.by_status import by_status
from sweeps.spec.plan import plan
from sweeps.spec.sweep_file import SweepRequest


def probe(request: SweepRequest, command: str) -> int:
    """The action: measure what is unknown, keep it for forecasts, print the plan."""
    store, planned = Store(request.store), plan(request.sweep)
    found = by_status(planned.titles, store)
    for entry in forecast.unmeasured(planned, found, store):
        log(f"two steps of {entry.title}")
        forecast.keep_step_time(store, entry.cell, _time_two_steps(request, entry.cell))
    return print_planned(request, planned, command)


def _time_two_steps(request: SweepRequest, cell: Cell) -> dict[str, Any]:
    from janus.training.time_steps import time_cell as time_steps

    return time_steps(cell, pick_device(request.device))
