"""`python -m sweeps run NAME`: train the open cells of a sweep; `plan` and `status` only look.

`choose` prints the winners of a tuning sweep as a sweep file.

Exit status: 0 every cell has a result, 2 usage, 3 some cells failed or are missing, 130 stopped.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from janus.config import Cell
from janus.errors import JanusError
from janus.store import Store
from sweeps import report
from sweeps.choose import choose
from sweeps.drive import Note, Tally, drive
from sweeps.load import KEYS, Request, load, sweep_names
from sweeps.plan import Planned, plan_rows, read_list, split_open, without_effect, write_list
from sweeps.watch import make_watch


def main(words: Sequence[str]) -> int:
    """Do what the command line asks; returns the exit status."""
    given = _parser().parse_args(words)
    request = load(given.name, given.overrides)
    command = shlex.join(["python", "-m", "sweeps", "run", given.name, *given.overrides])
    if given.action == "status":
        return status(request)
    if given.action == "plan":
        return plan(request)
    if given.action == "choose":
        sys.stdout.write(choose(request.sweep, Store(request.store)))
        return 0
    return run(request, command)


def _parser() -> argparse.ArgumentParser:
    keys = "\n".join(f"  {key:<10} {text}" for key, text in KEYS.items())
    parser = argparse.ArgumentParser(
        prog="python -m sweeps",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Train methods x orders x seeds on Ray Tune, each cell once.",
        epilog=f"sweeps: {', '.join(sweep_names())}, or a YAML file\n\nkeys:\n{keys}\n\n"
        "Other keys go to the cells, a comma list spans a grid: train.epochs=3 method.rank=4,8\n"
        "Keys of the cells: python -m janus --help",
    )
    parser.add_argument("action", choices=["run", "plan", "status", "choose"])
    parser.add_argument("name", metavar="NAME", help="name of the sweep")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    return parser


def plan(request: Request) -> int:
    """Print what `run` would do."""
    store, planned = Store(request.store), plan_rows(request.sweep)
    split = split_open((p.cell.id for p in planned), store)
    _say(f"sweep {request.sweep.name}, store {store.root}")
    _say(report.plan_text(planned, split))
    for key, methods in without_effect(request.sweep).items():
        _say(f"  {key} is no setting of: {', '.join(methods)}")
    _say(report.forecast_text(planned, split, store, _workers(request)))
    return 0


def status(request: Request) -> int:
    """Print how far the sweep in the store is."""
    store = Store(request.store)
    record = read_list(store, request.sweep.name)
    titles = {cell["id"]: cell["title"] for cell in record["cells"]}
    split = split_open(titles, store)
    _say(f"sweep {record['name']}, store {store.root}")
    _say(report.counts(split))
    if split.running:
        _say(report.running_text(split.running, titles, store))
    missing = len(titles) - len(split.done)
    if not missing:
        return 0
    why = report.reasons(split.failed, store, None)
    _say(report.failure_text(why, titles, missing, record["command"]))
    return 3


def run(request: Request, command: str) -> int:
    """Train what is open, then say what was done and what is missing."""
    start = time.monotonic()
    store, planned = Store(request.store), plan_rows(request.sweep)
    titles = {p.cell.id: p.title for p in planned}
    split = split_open(titles, store)
    write_list(store, request.sweep.name, command, planned)
    for key, methods in without_effect(request.sweep).items():
        _tell(f"note: {key} is no setting of: {', '.join(methods)}")
    _tell(f"sweep {request.sweep.name}: {report.counts(split)}; {store.root}")
    if fixed := request.sweep.fixed:
        _tell("in every cell: " + ", ".join(f"{key}={value}" for key, value in fixed.items()))
    try:
        tally, workers = _train(request, store, planned)
    except KeyboardInterrupt:
        split = split_open(titles, store)
        _tell(f"stopped with {len(split.done)} of {len(titles)} cells done. Go on with: {command}")
        return 130
    split = split_open(titles, store)
    if tally.last:
        _say(report.summary_text(tally, time.monotonic() - start, workers))
    missing = [cell_id for cell_id in titles if cell_id not in set(split.done)]
    if not missing:
        _say(f"all {len(titles)} cells of {request.sweep.name} are done")
        return 0
    why = report.reasons(missing, store, tally)
    _say(report.failure_text(why, titles, len(missing), command))
    return 3


def _train(request: Request, store: Store, planned: Sequence[Planned]) -> tuple[Tally, int]:
    """Drive the sweep; workers are started when there is something to train."""
    titles = {p.cell.id: p.title for p in planned}
    left = len(titles) - len(split_open(titles, store).done)
    with ExitStack() as stack:
        pools: list[Any] = []

        def run_round(cells: Sequence[Cell], note: Note) -> None:
            if not pools:
                from sweeps.tune import RayPool

                workers = None if _elsewhere(request) else max(1, min(_workers(request), left))
                pools.append(stack.enter_context(RayPool(store, workers, request.device)))
            pools[0].run(cells, note)

        with make_watch(titles, len(titles) - left, store) as watch:
            tally = drive([p.cell for p in planned], store, run_round, watch.note)
        return tally, pools[0].workers if pools else _workers(request)


def _elsewhere(request: Request) -> bool:
    """Whether an existing cluster decides how many cells are trained at a time."""
    return request.workers is None and bool(os.environ.get("RAY_ADDRESS"))


def _workers(request: Request) -> int:
    if request.workers is not None:
        return request.workers
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    try:
        sys.exit(main(sys.argv[1:]))
    except JanusError as error:
        _tell(f"error: {error}")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
