"""`plan` and `status`: what a sweep would do and how far it is; nothing is trained."""

from __future__ import annotations

from janus.store import Store
from sweeps import report
from sweeps.console import say
from sweeps.load import Request
from sweeps.plan import plan_rows, read_list, split_open, without_effect


def plan(request: Request, command: str) -> int:
    """Print what `run` would do."""
    store, planned = Store(request.store), plan_rows(request.sweep)
    split = split_open((p.cell.id for p in planned), store)
    say(f"sweep {request.sweep.name}, store {store.root}")
    say(report.plan_text(planned, split))
    for key, methods in without_effect(request.sweep).items():
        say(f"  {key} is no setting of: {', '.join(methods)}")
    say(report.forecast_text(planned, split, store, request.usable_workers()))
    return 0


def status(request: Request, command: str) -> int:
    """Print how far the sweep in the store is."""
    store = Store(request.store)
    record = read_list(store, request.sweep.name)
    titles = {cell["id"]: cell["title"] for cell in record["cells"]}
    split = split_open(titles, store)
    say(f"sweep {record['name']}, store {store.root}")
    say(report.counts(split))
    if split.running:
        say(report.running_text(split.running, titles, store))
    missing = len(titles) - len(split.done)
    if not missing:
        return 0
    why = report.reasons(split.failed, store, None)
    say(report.failure_text(why, titles, missing, record["command"]))
    return 3
