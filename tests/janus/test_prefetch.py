"""Batches made ahead: same order, same errors, bounded, and gone when the caller stops."""

from __future__ import annotations

import threading
import time

import pytest

from janus.data.prefetch import ahead


def test_items_come_in_order():
    assert list(ahead(iter(range(50)))) == list(range(50))
    assert list(ahead(iter([]))) == []


def test_an_error_arrives_where_it_happened():
    def items():
        yield 1
        yield 2
        raise ValueError("third")

    seen = []
    with pytest.raises(ValueError, match="third"):
        seen.extend(ahead(items()))
    stream = ahead(items())
    assert [next(stream), next(stream)] == [1, 2]


def test_no_more_than_depth_items_wait():
    made = []

    def items():
        for n in range(100):
            made.append(n)
            yield n

    stream = ahead(items(), depth=3)
    next(stream)
    time.sleep(0.05)
    assert len(made) <= 4


def test_a_caller_that_stops_early_leaves_no_thread():
    stream = ahead(iter(range(1000)))
    next(stream)
    stream.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("janus-batches")]
