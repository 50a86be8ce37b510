"""Threads that make batches beside the loop that trains."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import torch

_inherited = threading.local()
"""In a worker: the threads that torch has in those who are none."""


def thread_pool(count: int, name: str) -> ThreadPoolExecutor:
    """`count` threads in each of which torch computes with one thread.

    A batch is made by dozens of short operations. Split among torch's threads, each ends in a
    barrier, where one thread waits for whichever the system has set aside: on a busy machine two
    threads make fewer batches than one (tests/perf/input_path.py --threads 1 2). It also keeps a
    batch's bytes free of the number of threads.
    """
    started = threading.Barrier(count + 1)

    threads = getattr(_inherited, "threads", None) or torch.get_num_threads()

    def begin() -> None:
        _inherited.threads = threads
        torch.set_num_threads(1)  # of this thread, and of all that start from here on
        torch.get_num_threads()  # taken on first use: now, before it is put back
        started.wait()

    pool = ThreadPoolExecutor(count, name, initializer=begin)
    for _ in range(count):
        pool.submit(int)  # nothing, in a thread of its own: none is free before all have begun
    started.wait()
    restore = threading.Thread(target=torch.set_num_threads, args=(threads,))
    restore.start()  # for threads to come; the caller, who may be a worker, keeps its own
    restore.join()
    return pool
