"""Order and seed parts of the spread, and the number of further orders, against simulation."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from analysis.stats import significance, variance


def draw(rng, orders, seeds, order_std, seed_std):
    return {
        (str(o), s): level + rng.normal(0, seed_std)
        for o, level in enumerate(rng.normal(0, order_std, orders))
        for s in range(seeds)
    }


def test_components_by_hand():
    # orders {1, 3} and {5, 9}: within (2 + 8) / 2 = 5, between 2 (2 - 4.5)^2 + 2 (7 - 4.5)^2 = 25
    found = variance.components({("a", 0): 1, ("a", 1): 3, ("b", 0): 5, ("b", 1): 9})
    assert found.seed == pytest.approx(5**0.5)
    assert found.order == pytest.approx(10**0.5)  # (25 - 5) / 2
    assert found.order_share == pytest.approx(10 / 15)


@pytest.mark.parametrize(("order_std", "seed_std"), [(1.0, 0.3), (0.5, 1.0)])
def test_components_recover_what_made_the_values(order_std, seed_std):
    rng = np.random.default_rng(0)
    found = [variance.components(draw(rng, 8, 4, order_std, seed_std)) for _ in range(400)]
    assert np.mean([c.seed**2 for c in found]) == pytest.approx(seed_std**2, rel=0.1)
    assert np.mean([c.order**2 for c in found]) == pytest.approx(order_std**2, rel=0.25)


def test_unequal_numbers_of_seeds_are_weighed():
    rng = np.random.default_rng(1)
    found = []
    for _ in range(400):
        values = draw(rng, 8, 4, 1.0, 0.5)
        for place in [("0", 1), ("0", 2), ("0", 3), ("1", 3)]:
            del values[place]
        found.append(variance.components(values).order ** 2)
    assert np.mean(found) == pytest.approx(1.0, rel=0.15)


def test_what_cannot_be_told_apart_is_none():
    single = variance.components({("a", 0): 1.0, ("b", 0): 3.0})
    assert (single.order, single.seed, single.order_share) == (pytest.approx(2**0.5), None, None)
    one_order = variance.components({("a", 0): 1.0, ("a", 1): 3.0})
    assert (one_order.order, one_order.seed) == (None, pytest.approx(2**0.5))
    assert variance.components({("a", 0): 1.0}).seed is None


def test_a_clear_difference_is_decided_and_a_small_one_asks_for_more():
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 1, 8)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    asked = [variance.units_to_decide(noise + shift) for shift in (5.0, 0.7, 0.5)]
    assert asked[0] == 0
    assert 0 < asked[1] < asked[2]
    assert variance.units_to_decide(noise) is None  # no difference: no number settles it surely


def test_fewer_than_six_orders_never_decide():
    assert variance.units_to_decide([5.0, 5.1, 5.2, 5.1]) == 2
    assert variance.units_to_decide([0.5, 0.5, 0.5]) == 3
    assert variance.units_to_decide([0.5, 0.6]) is None


def test_the_number_keeps_its_promise():
    """Where the true effect is known, the tests decide about as often as announced or more."""
    rng = np.random.default_rng(3)
    decided = []
    for _ in range(60):
        start = rng.normal(1.0, 1.0, 8)
        further = variance.units_to_decide(start, draws=400)
        if further is not None:
            grown = np.concatenate([start, rng.normal(1.0, 1.0, further)])
            decided.append(scipy.stats.ttest_1samp(grown, 0).pvalue < 0.05)
    assert len(decided) > 40
    assert np.mean(decided) > 0.75


def test_the_t_test_stands_in_for_the_sign_flip_test():
    rng = np.random.default_rng(4)
    for _ in range(30):
        values = rng.normal(0.8, 1, 10)
        t = scipy.stats.ttest_1samp(values, 0).pvalue
        assert significance.sign_flip_p(values) == pytest.approx(t, abs=0.03)


def test_the_number_of_further_units_respects_the_steps_of_the_exact_p():
    """At 0.05 / 3 seven units need all signs equal, which a difference of 0 rules out."""
    values = np.array([0.9, 0.7, 1.0, 1.4, -0.01, 2.2])
    further = variance.units_to_decide(values, 0.05 / 3)
    n, rng, decided = len(values), np.random.default_rng(5), []
    sigma = values.std(ddof=1) * np.sqrt((n - 1) / rng.chisquare(n - 1, 400))
    for s in sigma:
        new = rng.normal(rng.normal(values.mean(), s / n**0.5), s, further)
        decided.append(significance.sign_flip_p(np.concatenate([values, new])) < 0.05 / 3)
    assert np.mean(decided) > 0.72


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [0.1, 0.7, 1.1])
def test_equal_differences_are_no_spread_whatever_the_rounding(value):
    assert variance.units_to_decide([value] * 3) == 3
    assert variance.units_to_decide([value] * 6) == 0
