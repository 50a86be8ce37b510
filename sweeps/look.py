"""`plan`, `probe` and `status`: what a sweep would do and how far it is; nothing is trained."""

from __future__ import annotations

import shlex
from typing import Any

from janus.config import Cell
from janus.store import Store
from sweeps import forecast, report
from sweeps.console import say, tell
from sweeps.load import Request
from sweeps.plan import plan_rows, read_list, split_open, without_effect
from sweeps.repeated import repeated
from sweeps.watch import pace_of_store


def plan(request: Request, command: str) -> int:
    """Print what `run` would do; the forecast is kept."""
    store, planned = Store(request.store), plan_rows(request.sweep)
    split = split_open((p.cell.id for p in planned), store)
    say(f"sweep {request.sweep.name}, store {store.root}")
    say(report.plan_text(planned, split))
    for key, methods in without_effect(request.sweep).items():
        say(f"  {key} is no setting of: {', '.join(methods)}")
    workers = request.usable_workers()
    made = forecast.forecast(planned, split, store, workers, request.device)
    if made is not None:
        forecast.keep(store, request.sweep.name, made)
    say(report.forecast_text(made, len(planned) - len(split.done), probe_command(command)))
    return 0


def probe_command(command: str) -> str:
    """The command that measures what a forecast lacks."""
    words = shlex.split(command)
    return shlex.join([*words[:3], "probe", *words[4:]])


def probe(request: Request, command: str) -> int:
    """Time two steps of every row that was never measured, then print the plan."""
    store, planned = Store(request.store), plan_rows(request.sweep)
    split = split_open((p.cell.id for p in planned), store)
    unknown = forecast.unmeasured(planned, split, store)
    for entry in unknown:
        tell(f"two steps of {entry.title}")
        forecast.keep_probe(store, entry.cell, _measure(request, entry.cell))
    return plan(request, command)


def _measure(request: Request, cell: Cell) -> dict[str, Any]:
    import torch

    from janus.step_probe import probe as two_steps

    gpu = request.device != "cpu" and torch.cuda.is_available()
    return two_steps(cell, "cuda" if gpu else "cpu")


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
        say(f"  {pace_of_store(split, store)}")
    say(str(repeated(titles, store)))
    missing = len(titles) - len(split.done)
    if not missing:
        return 0
    why = report.reasons(split.failed, store, None)
    say(report.failure_text(why, titles, missing, record["command"]))
    return 3
