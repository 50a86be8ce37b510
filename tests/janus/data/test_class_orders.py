"""Orders by name against the lists that published code prints."""

from __future__ import annotations

import random

import pytest

from janus.config.compose import compose
from janus.data.class_orders import make_order
from janus.errors import ConfigError

PUBLISHED_1993 = [68, 56, 78, 8, 23, 84, 90, 65, 74, 76, 40, 89, 3, 92, 55, 9, 26, 80, 43, 38]
"""The class order of CIFAR-100 that iCaRL, PODNet and DER write out in full: its start."""


def numbered(count: int) -> list[str]:
    return [str(index) for index in range(count)]


def test_order_1993_is_the_published_one():
    order = make_order("pilot1993", numbered(100))
    assert order[:20] == PUBLISHED_1993 and sorted(order) == list(range(100))


def test_coda_orders_are_those_of_pythons_shuffle():
    expected = list(range(50))
    random.Random(2).shuffle(expected)
    assert make_order("coda2", numbered(50)) == expected
    assert make_order("coda0", numbered(50)) == list(range(50))


def test_named_orders_leave_the_global_generators_alone():
    state = random.getstate()
    make_order("coda1", numbered(9))
    assert random.getstate() == state


@pytest.mark.parametrize("order", ["pilot", "pilot01", "pilot-1", "1993pilot", "codax", "01"])
def test_names_that_are_no_order_are_refused(order):
    with pytest.raises(ConfigError, match="pilot1993"):
        compose({"order": order})
