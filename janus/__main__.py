"""`python -m janus method=janus bench=glyphs seed=0`: train one cell, from the command line.

The overrides follow Hydra's grammar; which keys exist and what they may hold is decided by
`janus.config.compose`, whose errors name the nearest valid choice.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from dataclasses import dataclass, replace
from typing import Any

from janus import plugins
from janus.config.cell import Cell, cell_record
from janus.config.compose import cautions, compose, unused_overrides
from janus.config.execution import OPTIONS, Execution
from janus.config.help_text import describe, list_methods
from janus.config.overrides import parse_overrides
from janus.errors import OUT_OF_MEMORY, JanusError, RunError, cause_of
from janus.machine.devices import pick_device
from janus.one_line import drop_stdout, explain_os_error, open_streams, printable
from janus.store.store import Store
from janus.tracking import outside_trackers
from janus.tracking.observer import Observer, Together
from janus.tracking.terminal import make_progress, percent
from janus.tracking.trackers import make_tracker
from janus.weights import resolve


@dataclass(frozen=True)
class CellRequest:
    """A parsed command line."""

    overrides: dict[str, Any]
    execution: Execution


def split_request(overrides: dict[str, Any]) -> CellRequest:
    """Separate the execution options from what defines the cell."""
    cell, options = {}, {}
    for key, value in overrides.items():
        if key in OPTIONS:
            options[key] = OPTIONS[key].check(key, value)
        else:
            cell[key] = value
    execution = Execution(**options)
    outside_trackers.checked_tracker(execution.tracker)
    return CellRequest(cell, execution)


def main(words: list[str]) -> int:
    """Run one cell; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m janus", add_help=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--list", choices=["methods"])
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("--include", action="append", default=[])
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_intermixed_args(words)
    for path in given.include:
        plugins.include(path)
    request = split_request(parse_overrides(given.overrides))
    if given.list:
        sys.stdout.write(list_methods())
        return 0
    if given.help:
        sys.stdout.write(describe(compose(request.overrides)))
        return 0
    cell = compose(request.overrides)
    for note in [*unused_overrides(request.overrides, cell), *cautions(cell)]:
        sys.stderr.write(f"note: {note}\n")
    if given.dry:
        import json

        sys.stdout.write(json.dumps({"id": cell.id, **cell_record(cell)}, indent=1) + "\n")
        return 0
    return _train(cell, request.execution)


UNCHECKED = (
    "this result is of a version that did not check weight files; was its network random? "
    "python -m janus.weights audit {store}"
)

WAIT_S = 10.0
"""Between looks at a run that another machine may have left behind."""


def _may_be_gone(cell: Cell, store: Store) -> bool:
    """Whether only its heartbeat shows if the holder is alive; if so, says that we wait."""
    from janus.store.processes import has_ended

    owner = store.owner(cell.id)
    if has_ended(owner) is not None:
        return False
    sys.stderr.write(
        f"claimed by {owner.get('host', 'an unknown machine')}; waiting until it finishes, or has "
        f"made no progress for {store.lease_s:.0f} s\n"
    )
    return True


def _train(cell: Cell, execution: Execution) -> int:
    resolve.weight_file(cell.backbone)  # before torch is imported: a missing file is said at once
    tracker, store = make_tracker(execution.tracker), Store(execution.store)
    sys.stderr.write(f"{cell.title}  cell {cell.id}\n")
    for line in resolve.check_weight_files([cell.backbone]):
        sys.stderr.write(f"weights: {line}\n")
    if resolve.was_unchecked(store, cell.id):
        sys.stderr.write(f"note: {UNCHECKED.format(store=store.root)}\n")
    execution = replace(execution, device=pick_device(execution.device))
    try:
        with tracker.observe(cell, store, {}) as observer:
            result = _run(cell, store, observer, execution)
        m = result["metrics"]
        sys.stdout.write(
            f"ACC {percent(m['acc'])}  MAA {percent(m['maa'])}  BWT {percent(m['bwt'])}  "
            f"({cell.title})\n{store.result_path(cell.id)}\n"
        )
        sys.stdout.flush()
    finally:
        tracker.close()
    return 0


def _run(
    cell: Cell, store: Store, observer: Observer | None, execution: Execution
) -> dict[str, Any]:
    """The cell's result, waiting for another machine that may be at work on it."""
    from janus.training.loop import run_cell

    while True:
        try:
            with make_progress(cell.title) as progress:
                result = run_cell(cell, store, Together(progress, observer), execution)
            assert result is not None
            return result
        except RunError as error:
            if error.cause != "claimed" or not _may_be_gone(cell, store):
                raise
        time.sleep(WAIT_S)


def _other_error(error: MemoryError | RuntimeError | OSError) -> int:
    """Say what the machine lacked; returns the exit status. Raises `error` where it is a bug."""
    if cause_of(error) == OUT_OF_MEMORY:
        first = (str(error) or type(error).__name__).splitlines()[0]
        sys.stderr.write(f"error ({OUT_OF_MEMORY}): {first}; {SHORT_OF_MEMORY}\n")
        return 1
    if not isinstance(error, OSError):
        raise error
    if error.filename is None:
        drop_stdout()
    sys.stderr.write(printable(f"error: {explain_os_error(error)}\n"))
    return 2


SHORT_OF_MEMORY = (
    "pass each batch in parts (train.accumulate=4), take smaller values (train.batch_size, "
    "backbone, method.projection, ...), or a larger machine"
)


def run_command(words: list[str]) -> int:
    """`main`, with every foreseen error as one line on stderr and its exit status."""
    open_streams()
    try:
        status = main(words)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever reads, as `head` does, has seen enough
        drop_stdout()
        return 0
    except RunError as error:
        sys.stderr.write(printable(f"error ({error.cause}): {error}\n"))
        return 1
    except JanusError as error:
        sys.stderr.write(printable(f"error: {error}\n"))
        return 2
    except (MemoryError, RuntimeError, OSError) as error:
        return _other_error(error)
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on from the last checkpoint\n")
        return 130


if __name__ == "__main__":
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    sys.exit(run_command(sys.argv[1:]))
