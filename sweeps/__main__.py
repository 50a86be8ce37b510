"""`python -m sweeps ACTION NAME`: run, look at, or learn from a sweep.

Exit status: 0 every cell has a result, 2 usage, 3 some cells failed or are missing, 130 stopped.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from janus.errors import JanusError, RunError
from janus.one_line import one_line
from sweeps.command_line import main
from sweeps.execution.interrupts import STOPPED, not_interrupted
from sweeps.show.console import log


def _leave(status: int) -> None:
    """End the process. Ctrl-C from here on would only interrupt Python's own end.

    A stopped one ends at once: Ray's native code, interrupted while it started, may crash in it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if status == STOPPED:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def run_command(words: Sequence[str]) -> int:
    """`main`, with every foreseen error as one line on stderr and its exit status."""
    try:
        return one_line(main, words, _status_of)
    except KeyboardInterrupt:
        with not_interrupted():
            log("stopped; the same command goes on from what is in the store")
        return STOPPED


def _status_of(error: JanusError) -> int:
    """3 where the cells are only not finished, 2 for a mistake in the command."""
    return 3 if isinstance(error, RunError) and error.cause == "disk-full" else 2


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    _leave(run_command(sys.argv[1:]))
