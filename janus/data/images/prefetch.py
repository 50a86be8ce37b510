"""Batches made ahead of the loop that uses them, by threads, in the order of their use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

from janus.data.images.thread_pool import thread_pool

T = TypeVar("T")

DEPTH = 3
"""Batches that wait or are being made at most."""


def ahead(jobs: Iterable[Callable[[], T]], threads: int = 1, depth: int = DEPTH) -> Iterator[T]:
    """What the jobs return, in their order; up to `depth` are done while the caller works on one.

    What a job raises is raised here, in its place. A caller that stops early ends the threads.
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
