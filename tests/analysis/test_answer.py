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
    assert "(+3.88 points against janus [+3.18, +4.57], better in 8 of 8 orders)" in said
    assert "Decided: p (max-T) 0.0078." in said


def test_a_reference_that_leads_is_compared_with_the_next_row(two, call):
    two([-3, -4, -5, -3])
    said = last(call()[1])
    assert said.startswith("janus leads on glyphs with ACC 60.00 %")
    assert "(+3.75 points against seqlora [" in said and "better in 4 of 4 orders)" in said
    assert "Not decided: p (max-T) 0.1250; about 2 further orders would decide it." in said


def test_a_small_lead_says_how_many_orders_would_be_needed(two, call):
    two([3, -3, 3, -3, 3, -2])
    assert "further orders would be needed to decide it" in last(call()[1])


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
    assert call()[1].strip().endswith("Not decided: a single seed.")
