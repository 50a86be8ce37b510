"""Ctrl-C, however often: one closing line, status 130, nothing left behind."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STOPPED = 130
"""Exit status of a command that was stopped: 128 + SIGINT, as shells have it."""


@contextmanager
def not_interrupted() -> Iterator[None]:
    """SIGINT and SIGTERM do nothing meanwhile. For tidying up: half of it would leave processes.

    Only the main thread can arrange that; elsewhere it has no effect.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    both = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in both}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
