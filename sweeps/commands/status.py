"""`status`: print how far a sweep is, from the store alone."""

from __future__ import annotations

from janus.store.store import Store
from sweeps.show import texts
from sweeps.show.console import for_action, print_line
from sweeps.show.live_table import pace_of_store
from sweeps.show.lost_work import lost_work
from sweeps.spec.by_status import by_status
from sweeps.spec.cell_list import read_list
from sweeps.spec.sweep_file import SweepRequest


def print_status(request: SweepRequest, command: str) -> int:
    """The action: print how far the sweep in the store is."""
    start = for_action(command, "search") if request.search else command
    return status_of_list(Store(request.store), request.sweep.name, start)


def status_of_list(store: Store, name: str, command: str) -> int:
    """Print how far the sweep is whose list of cells stands in the store under `name`."""
    record = read_list(store, name, command)
    titles = {cell["id"]: cell["title"] for cell in record["cells"]}
    found = by_status(titles, store)
    print_line(f"sweep {record['name']}, store {store.root}")
    print_line(texts.counts_line(found))
    if text := texts.damaged_text(found):
        print_line(text)
    if found.running:
        print_line(texts.running_text(found.running, titles, store))
        print_line(f"  {pace_of_store(found, store)}")
    print_line(str(lost_work(titles, store)))
    missing = len(titles) - len(found.done)
    if not missing:
        return 0
    why = texts.reasons([*found.failed, *found.damaged], store, None, found.damaged)
    print_line(texts.failure_text(why, titles, missing, record["command"]))
    return 3
