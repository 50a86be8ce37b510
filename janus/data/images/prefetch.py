"""Prepares batches in threads ahead of the training loop, and yields them in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

from janus.data.images.thread_pool import thread_pool

T = TypeVar("T")

DEPTH = 3
"""Most batches that are waiting or being made."""


def ahead(jobs: Iterable[Callable[[], T]], threads: int = 1, depth: int = DEPTH) -> Iterator[T]:
    """The results of the jobs, in order; up to `depth` jobs run ahead of the caller.

    An exception of a job is raised here when its result is due. The threads end when the caller
    stops early.
    """
    left = iter(jobs)
    pool = thread_pool(threads, "janus-batches")
    try:
        waiting = deque(pool.submit(job) for job in islice(left, depth))
        while waiting:
            item = waiting.popleft().result()
            waiting.extend(pool.submit(job) for job in islice(left, 1))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)
