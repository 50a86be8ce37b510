"""Who leads, by how much, whether that is decided; rows by rank."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.analysis.conftest import FakeStore


@pytest.fixture
def two(fake: FakeStore) -> Callable[[list[float]], None]:
    """janus at 60 % in every order, seqlora by so many points above it."""

    def add(above: list[float]) -> None:
        for order, points in enumerate(above):
            fake.add("janus", 0.6, order=order)
            fake.add("seqlora", 0.6 + points / 100, order=order)

    return add


def last(text: str) -> str:
    return text.strip().splitlines()[-1]


def test_a_leader_that_is_decided_is_said_with_its_interval_and_wins(two, call):
    two([3, 4, 5, 3, 4, 5, 3, 4])
    said = last(call()[1])
    assert said.startswith("seqlora leads on glyphs with ACC 63.")
    assert "before janus with 60.00 %." in said
    assert "Against janus: +3.88 points [+3.18, +4.57], better in 8 of 8 orders" in said
    assert said.endswith("; decided, p (max-T) 0.0078.")


def test_a_reference_that_leads_is_compared_with_the_next_row(two, call):
    two([-3, -4, -5, -3])
    said = last(call()[1])
    assert said.startswith("janus leads on glyphs with ACC 60.00 %")
    assert "Against seqlora: +3.75 points [" in said and "better in 4 of 4 orders" in said
    assert "not decided, p (max-T) 0.1250. About 2 further orders would decide." in said


def test_a_small_lead_says_how_many_orders_would_be_needed(two, call):
    two([3, -3, 3, -3, 3, -2])
    assert "further orders would be needed to decide." in last(call()[1])


def test_two_orders_decide_nothing_however_far_apart_the_rows_are(two, call):
    two([9, 10])
    assert last(call()[1]).endswith("better in 2 of 2 orders; not decided: 2 orders cannot decide.")


def test_a_leader_ahead_of_the_reference_is_not_said_to_be_ahead_of_all(fake, call):
    for order in range(8):
        fake.add("janus", 0.6, order=order)
        fake.add("seqlora", 0.7 + order % 2 / 100, order=order)
        fake.add("inflora", 0.7 + (order + 1) % 2 / 100, order=order)
    said = last(call()[1])
    assert "decided, p" in said and "better than every other row" not in said
    for order in range(8):
        fake.add("olora", 0.8, order=order)
    assert "olora leads" in last(call()[1])
    assert "It is better than every other row" in last(call()[1])


def test_one_row_has_no_leader_and_other_formats_no_sentence(fake, call):
    for order in (0, 1):
        fake.add("janus", order=order)
    assert "leads" not in call()[1]
    fake.add("seqlora", order=0)
    assert "leads" not in call("--format", "markdown")[1]


def test_rows_are_sorted_by_rank_on_demand(two, call):
    two([-3, -4, -5, -3])
    rows = [line.split()[0] for line in call("--sort", "acc")[1].splitlines() if "±" in line]
    assert rows[:2] == ["janus", "seqlora"]
    rows = [line.split()[0] for line in call()[1].splitlines() if "±" in line]
    assert rows[:2] == ["seqlora", "janus"]


def test_a_single_order_decides_nothing(two, call):
    two([3])
    assert last(call()[1]).endswith("better in 1 of 1 seeds; not decided: 1 seed cannot decide.")
