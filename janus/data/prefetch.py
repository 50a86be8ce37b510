"""Batches made ahead of the loop that uses them, by one thread, in the same order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TypeVar

from janus.data.workers import workers

T = TypeVar("T")

DEPTH = 3
"""Batches that wait at most."""


def ahead(items: Iterator[T], depth: int = DEPTH) -> Iterator[T]:
    """The same items; up to `depth` are made while the caller works on one.

    What `items` raises is raised here, in its place. A caller that stops early ends the thread.
    """
    end = object()
    pool = workers(1, "janus-batches")
    try:
        waiting: deque[Future[T | object]] = deque()
        for _ in range(depth):
            waiting.append(pool.submit(next, items, end))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, items, end))
            yield item  # type: ignore[misc]
    finally:
        pool.shutdown(cancel_futures=True)
