"""A pool of threads that prepare batches while the training loop runs."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import torch

_inherited = threading.local()
"""Thread-local: torch's thread count outside this pool; pools made inside a worker inherit it."""


def thread_pool(count: int, name: str) -> ThreadPoolExecutor:
    """A pool of `count` threads; inside each of them torch computes with one thread.

    Preparing a batch takes dozens of short operations. If torch split each of them over several
    threads, every operation would wait for the slowest thread: on a busy machine two threads then
    prepare fewer batches than one (tests/perf/input_path.py --threads 1 2). One thread also makes
    a batch's bytes independent of the number of threads.
    """
    started = threading.Barrier(count + 1)

    threads = getattr(_inherited, "threads", None) or torch.get_num_threads()

    def begin() -> None:
        _inherited.threads = threads
        torch.set_num_threads(1)  # for this thread and for all threads started later
        torch.get_num_threads()  # torch applies the value at first use: now, before it is restored
        started.wait()

    pool = ThreadPoolExecutor(count, name, initializer=begin)
    for _ in range(count):
        pool.submit(int)  # an empty job per thread; no thread is free before all have begun
    started.wait()
    restore = threading.Thread(target=torch.set_num_threads, args=(threads,))
    restore.start()  # for threads started later; the caller keeps its own setting
    restore.join()
    return pool
