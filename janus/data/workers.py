"""Threads that make batches beside the loop that trains."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import torch


def workers(count: int, name: str) -> ThreadPoolExecutor:
    """`count` threads in each of which torch computes with one thread.

    A batch is made by dozens of short operations. Split among torch's threads, each ends in a
    barrier, where one thread waits for whichever the system has set aside: on a busy machine two
    threads make fewer batches than one (tests/perf/input_path.py --threads 1 2). It also keeps a
    batch's bytes free of the number of threads.
    """
    started = threading.Barrier(count + 1)

    def begin() -> None:
        torch.set_num_threads(1)  # of this thread, and of all that start from here on
        torch.get_num_threads()  # taken on first use: now, before it is put back
        started.wait()

    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, name, initializer=begin)
    for _ in range(count):
        pool.submit(int)  # nothing, in a thread of its own: none is free before all have begun
    started.wait()
    torch.set_num_threads(threads)
    return pool
