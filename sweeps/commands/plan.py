"""`plan`: print what `run` would do; nothing is trained."""

from __future__ import annotations

from janus.store.store import Store
from sweeps.estimate import forecast
from sweeps.show import texts
from sweeps.show.console import for_action, print_line
from sweeps.spec.by_status import by_status
from sweeps.spec.plan import Plan, plan
from sweeps.spec.sweep_file import SweepRequest


def print_plan(request: SweepRequest, command: str) -> int:
    """The action: print the plan of the sweep and keep its forecast."""
    return print_planned(request, plan(request.sweep), command)


def print_planned(request: SweepRequest, planned: Plan, command: str) -> int:
    """Print a plan that was already made; returns the exit status."""
    store = Store(request.store)
    found = by_status(planned.titles, store)
    expected = forecast.make_and_keep(
        planned, found, store, request.usable_workers(), request.device
    )
    print_line(f"sweep {planned.name}, store {store.root}")
    print_line(texts.plan_text(planned, found))
    for note in planned.notes:
        print_line(f"  note: {note}")
    print_line(texts.forecast_text(expected, found.left, for_action(command, "probe")))
    return 0
