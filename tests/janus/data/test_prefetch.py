"""Batches made ahead: same order, same errors, bounded, and gone when the caller stops."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from janus.data.images.prefetch import ahead
from janus.data.images.thread_pool import thread_pool


def jobs(items):
    return (lambda n=n: n for n in items)


@pytest.mark.parametrize("threads", [1, 2])
def test_items_come_in_order(threads):
    def slow(n):
        time.sleep(0.003 * (n % 3))  # a later one is done first
        return n

    made = ahead((lambda n=n: slow(n) for n in range(30)), threads)
    assert list(made) == list(range(30))
    assert list(ahead([], threads)) == []


def test_several_threads_work_at_once():
    """Each of two jobs waits for the other to have begun."""
    both = threading.Barrier(2, timeout=10)
    assert sorted(ahead([both.wait, both.wait], 2)) == [0, 1]


def test_an_error_arrives_where_it_happened():
    def fail():
        raise ValueError("third")

    seen = []
    with pytest.raises(ValueError, match="third"):
        seen.extend(ahead([lambda: 1, lambda: 2, fail]))
    stream = ahead([lambda: 1, lambda: 2, fail])
    assert [next(stream), next(stream)] == [1, 2]


def test_no_more_than_depth_items_wait():
    made = []
    stream = ahead((lambda n=n: made.append(n) for n in range(100)), depth=3)
    next(stream)
    time.sleep(0.05)
    assert len(made) <= 4


def test_batches_are_made_with_one_thread_of_torch_and_the_caller_keeps_its_own():
    """Barriers between several, after each of many short operations, cost more than they bring."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        found = [(n, torch.get_num_threads()) for n in ahead([torch.get_num_threads] * 2)]
        assert found == [(1, 3), (1, 3)]
        with thread_pool(2, "test") as pool:
            assert [pool.submit(torch.get_num_threads).result() for _ in range(8)] == [1] * 8
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_workers_started_by_a_worker_leave_later_threads_as_they_were():
    """As when the first batch made ahead starts the threads that decode its images."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)

    def nested():
        with thread_pool(1, "inner") as inner:
            return inner.submit(torch.get_num_threads).result(), torch.get_num_threads()

    try:
        assert list(ahead([nested])) == [(1, 1)]
        later = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert later == [3] and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_caller_that_stops_early_leaves_no_thread():
    stream = ahead(jobs(range(1000)), 2)
    next(stream)
    stream.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("janus-batches")]
