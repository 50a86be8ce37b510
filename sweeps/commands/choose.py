"""`choose`: print the winners of a tuning sweep as a sweep file."""

from __future__ import annotations

from janus.store.store import Store
from sweeps.search.winners import winners_of
from sweeps.show.console import print_line
from sweeps.spec.plan import plan
from sweeps.spec.sweep_file import SweepRequest


def choose(request: SweepRequest, command: str) -> int:
    """The action: print the winners."""
    print_line(winners_of(plan(request.sweep), Store(request.store)).rstrip("\n"))
    return 0
