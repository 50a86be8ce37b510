"""`plan`, `probe` and `status`: what a sweep would do and how far it is; nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from janus.config.cell import Cell
from janus.machine.devices import pick_device
from janus.store.store import Store
from sweeps.estimate import forecast
from sweeps.show import texts
from sweeps.show.console import for_action, say, tell
from sweeps.show.live_table import pace_of_store
from sweeps.show.lost_work import repeated
from sweeps.spec.plan import Planned, Split, notes, plan_rows, read_list, split_open
from sweeps.spec.sweep_file import Request


def plan(request: Request, command: str) -> int:
    """Print what `run` would do; the forecast is kept."""
    store, planned = Store(request.store), plan_rows(request.sweep)
    split = split_open((p.cell.id for p in planned), store)
    say(f"sweep {request.sweep.name}, store {store.root}")
    say(texts.plan_text(planned, split))
    for note in notes(request.sweep):
        say(f"  note: {note}")
    say_forecast(request, planned, split, request.usable_workers(), request.device, command)
    return 0


def say_forecast(
    request: Request,
    planned: Sequence[Planned],
    split: Split,
    workers: int,
    device: str,
    command: str,
    probe: str | None = None,
) -> None:
    """Print and keep what `workers` cells at a time will cost; `command` is the sweep's `run`.

    `probe`: the command that measures what was never trained; None: the sweep's own, here.
    """
    store = Store(request.store)
    made = forecast.forecast(planned, split, store, workers, device)
    if made is not None:
        forecast.keep(store, request.sweep.name, made)
    left = len(planned) - len(split.done) - len(split.damaged)
    say(texts.forecast_text(made, left, probe or for_action(command, "probe")))


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
    from janus.training.time_steps import probe as two_steps

    return two_steps(cell, pick_device(request.device))


def status(request: Request, command: str) -> int:
    """Print how far the sweep in the store is."""
    start = for_action(command, "search") if request.search else command
    return status_of_list(Store(request.store), request.sweep.name, start)


def status_of_list(store: Store, name: str, command: str) -> int:
    """Print how far the sweep is whose list of cells stands in the store under `name`."""
    record = read_list(store, name, command)
    titles = {cell["id"]: cell["title"] for cell in record["cells"]}
    split = split_open(titles, store)
    say(f"sweep {record['name']}, store {store.root}")
    say(texts.counts(split))
    if text := texts.damaged_text(split):
        say(text)
    if split.running:
        say(texts.running_text(split.running, titles, store))
        say(f"  {pace_of_store(split, store)}")
    say(str(repeated(titles, store)))
    missing = len(titles) - len(split.done)
    if not missing:
        return 0
    why = texts.reasons([*split.failed, *split.damaged], store, None, split.damaged)
    say(texts.failure_text(why, titles, missing, record["command"]))
    return 3
