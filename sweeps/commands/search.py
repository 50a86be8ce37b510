"""`search`: find each row's best values on tuning cells, and write them as a sweep file."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from janus import atomic_files
from janus.errors import ConfigError
from janus.store.store import Store
from sweeps.execution.interrupts import STOPPED
from sweeps.search.search import Driver, Tuned, UnfinishedError, lazy_pool, make_tuned
from sweeps.search.winners_file import winners_file
from sweeps.show import texts
from sweeps.show.console import for_action, log, print_line
from sweeps.spec.plan import plan
from sweeps.spec.search_section import Search
from sweeps.spec.sweep_file import SweepRequest


def search(request: SweepRequest, command: str) -> int:
    """The action: search, then write the winners and print how to report them."""
    store, settings, command = (
        Store(request.store),
        _settings(request),
        for_action(command, "search"),
    )
    planned = plan(request.sweep)
    tuned = [make_tuned(planned, settings, row) for row in planned.rows]
    log(
        f"search {planned.name}: {len(tuned)} rows x {settings.budget} configurations "
        f"({settings.algorithm}) x {len(request.sweep.pairs())} tuning cells; {store.root}"
    )
    try:
        with ExitStack() as stack:
            run_until = lazy_pool(request, store, stack)
            Driver(request, settings, store, run_until, command).go(tuned)
    except KeyboardInterrupt:
        log(f"stopped. Go on with: {command}")
        return STOPPED
    except UnfinishedError as failed:
        _print_failed(failed, tuned, command)
        return 3
    _write_winners(winners_file(request, settings, tuned, store), planned.name, store)
    return 0


def _settings(request: SweepRequest) -> Search:
    if request.search is None:
        raise ConfigError(
            f"{request.sweep.name} has no `search:` part, which says what to try; "
            "see docs/search.md"
        )
    return request.search


def _print_failed(failed: UnfinishedError, tuned: Sequence[Tuned], command: str) -> None:
    titles = {c.id: x.label for t in tuned for x in t.tried for c in x.cells}
    why = {o.cell_id: (o.cause, o.message) for o in failed.outcomes}
    print_line(texts.failure_text(why, titles, len(why), command))


def _write_winners(text: str, name: str, store: Store) -> None:
    """Keep the winners' sweep file beside the lists of cells, and print it."""
    path = store.root / "sweeps" / f"{name}_winners.yaml"

    def write(part: Path) -> None:
        part.write_text(text, encoding="utf-8")

    atomic_files.replace(path, write)
    print_line(text.rstrip("\n"))
    report_them = shlex.join(["python", "-m", "sweeps", "run", str(path), f"store={store.root}"])
    print_line(f"# report them on fresh orders and seeds: {report_them}")
