"""Statistics against scipy, brute force and values worked out by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from analysis import stats


def test_mean_and_std_by_hand():
    mean, std = stats.mean_std([1.0, 2.0, 4.0])
    assert mean == pytest.approx(7 / 3)
    assert std == pytest.approx(math.sqrt(7 / 3))  # squares 16/9 + 1/9 + 25/9 = 42/9, over 2


def test_one_value_has_no_deviation_and_none_has_no_mean():
    assert stats.mean_std([0.5]) == (0.5, None)
    assert stats.mean_std([]) == (None, None)


def test_seeds_are_averaged_inside_their_order():
    draws = {("0", 0): 1.0, ("0", 1): 3.0, ("1", 0): 10.0}
    assert stats.average_units(draws) == {"0": 2.0, "1": 10.0}
    assert stats.average_units(draws, "seed") == {"0/0": 1.0, "0/1": 3.0, "1/0": 10.0}


def test_pairs_are_the_common_orders_and_seeds_and_the_rest_is_named():
    ours = {("0", 0): 5.0, ("0", 1): 100.0, ("1", 0): 7.0, ("2", 0): 9.0}
    theirs = {("0", 0): 4.0, ("1", 0): 9.0, ("3", 0): 1.0}
    pairing = stats.pair(ours, theirs)
    assert pairing.differences == {"0": 1.0, "1": -2.0}
    assert pairing.only_ours == (("0", 1), ("2", 0))
    assert pairing.only_theirs == (("3", 0),)


def test_sign_flip_by_hand():
    # |sum| of the 8 patterns of (1, 2, 4): 7, 5, 3, 1, each twice
    assert stats.sign_flip_p([1, 2, 4]) == 2 / 8
    assert stats.sign_flip_p([-1, 2, 4]) == 4 / 8
    assert stats.sign_flip_p([1, 2, -4]) == 8 / 8


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_sign_flip_equals_brute_force_and_scipy(n):
    values = np.random.default_rng(n).normal(0.5, 1, n)
    sums = [abs(np.dot(s, values)) for s in itertools.product((1, -1), repeat=n)]
    brute = np.mean(np.array(sums) >= abs(values.sum()) - 1e-12)
    assert stats.sign_flip_p(values) == pytest.approx(brute)
    if n > 1:
        found = scipy.stats.permutation_test(
            (values,), np.mean, permutation_type="samples", n_resamples=np.inf
        )
        assert stats.sign_flip_p(values) == pytest.approx(found.pvalue)


def test_sign_flip_counts_equal_sums_as_ties_whatever_the_rounding():
    # 0.1 + 0.2 - 0.3 is not 0 in floats; p of an all-positive sample of n is 2 / 2^n at best
    assert stats.sign_flip_p([0.1] * 10) == stats.smallest_p(10)
    assert stats.sign_flip_p([0.1, 0.2, -0.3]) == 1.0


@pytest.mark.parametrize("n", range(1, 11))
def test_no_sample_beats_the_smallest_p(n):
    assert stats.sign_flip_p(np.arange(1.0, n + 1)) == stats.smallest_p(n)


def test_four_units_cannot_reach_five_percent_and_six_can():
    assert stats.smallest_p(4) == 0.125
    assert stats.smallest_p(5) > 0.05 > stats.smallest_p(6)


def test_many_units_are_sampled_reproducibly_and_close_to_exact():
    values = np.random.default_rng(0).normal(0.4, 1, 15)
    patterns = 2 * (np.arange(2**15)[:, None] >> np.arange(15) & 1) - 1
    exact = np.mean(np.abs(patterns @ values) >= abs(values.sum()) - 1e-12)
    found = stats.sign_flip_p(values)
    assert found == stats.sign_flip_p(values)
    assert found == pytest.approx(exact, abs=5 * math.sqrt(exact / 100_000))
    assert stats.sign_flip_p(np.ones(60)) == stats.smallest_p(60) == 1 / 100_001  # never zero


def test_no_differences_and_zero_differences_show_nothing():
    assert stats.sign_flip_p([]) == 1.0
    assert stats.sign_flip_p([0.0, 0.0, 0.0]) == 1.0
    assert stats.wilcoxon_p([0.0, 0.0]) == 1.0


def test_wilcoxon_by_hand():
    assert stats.wilcoxon_p([1, 2, 3, 4, 5]) == 2 / 32  # all ranks on one side
    assert stats.wilcoxon_p([-1, 2, 3, 4, 5]) == 4 / 32
    # ranks 1.5, -1.5, 3: sums of the 8 patterns 6, 3, 3, 0, twice; a zero takes no part
    assert stats.wilcoxon_p([0.2, -0.2, 0.7, 0.0]) == 6 / 8
    assert stats.wilcoxon_p([0.3 - 0.2, -0.1, 0.7]) == 6 / 8  # a tie but for the last bits


@pytest.mark.parametrize("n", [1, 2, 6, 13, 14])
def test_wilcoxon_is_scipys(n):
    rng = np.random.default_rng(n)
    values = rng.normal(0.4, 1, n)
    assert stats.wilcoxon_p(values) == pytest.approx(scipy.stats.wilcoxon(values).pvalue)


def test_wilcoxon_with_ties_and_zeros_is_scipys_permutation_test():
    values = [0, -2, -2, 2, 0, 3, 4, 2, 3, 2]
    assert stats.wilcoxon_p(values) == pytest.approx(scipy.stats.wilcoxon(values).pvalue)


def test_wilcoxon_of_many_units_is_close_to_scipys():
    values = np.random.default_rng(0).normal(0.3, 1, 40)
    theirs = scipy.stats.wilcoxon(values).pvalue
    assert stats.wilcoxon_p(values) == pytest.approx(theirs, abs=0.005)


def test_holm_by_hand():
    # sorted .01 x4 = .04, .02 x3 = .06, .03 x2 = .06, .5 x1
    assert stats.holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert stats.holm([0.9, 0.8]) == [1.0, 1.0]
    assert stats.holm([0.03]) == [0.03]
    assert stats.holm([]) == []


def test_holm_rejects_what_the_step_down_procedure_rejects():
    rng = np.random.default_rng(1)
    for _ in range(200):
        p = rng.uniform(0, 0.1, rng.integers(1, 8))
        rejected = set()
        for rank, index in enumerate(np.argsort(p)):
            if p[index] > 0.05 / (len(p) - rank):
                break
            rejected.add(int(index))
        assert {i for i, q in enumerate(stats.holm(list(p))) if q <= 0.05} == rejected


@pytest.mark.parametrize("n", [6, 12, 40])
def test_bootstrap_interval_agrees_with_scipys_bca(n):
    values = np.random.default_rng(n).exponential(1.0, n)
    ours = stats.bootstrap_interval(values, draws=50_000)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=50_000, method="BCa", rng=np.random.default_rng(5)
    ).confidence_interval
    assert ours.method == "BCa"
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.02 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.02 * width)


def test_bootstrap_interval_is_reproducible_and_needs_three_units():
    assert stats.bootstrap_interval([0.1, 0.2]) is None
    first = stats.bootstrap_interval([0.1, 0.2, 0.4])
    assert first == stats.bootstrap_interval([0.1, 0.2, 0.4])
    assert first.low < 0.7 / 3 < first.high


@pytest.mark.parametrize("value", [0.0, 0.3, -0.1])
def test_equal_differences_give_a_percentile_interval_of_no_width(value):
    found = stats.bootstrap_interval([value] * 5)
    assert found.method == "percentile"
    assert (found.low, found.high) == pytest.approx((value, value))


def test_intervals_from_four_units_are_narrower_than_they_say():
    # why the table's note warns below six units: coverage here, 95 % claimed
    rng = np.random.default_rng(0)
    found = [stats.bootstrap_interval(rng.normal(0, 1, 4), draws=400) for _ in range(300)]
    assert 0.65 < np.mean([i.low <= 0 <= i.high for i in found]) < 0.9


def test_wins_and_losses_leave_ties_out():
    assert stats.count_wins([0.1, -0.2, 0.0, 0.3]) == (2, 1)


def test_two_units_have_no_effect_size_rather_than_none_at_all():
    assert stats.hedges_g([0.1, 0.3]) is None  # the correction would be 0
    assert stats.hedges_g([1.0, 2.0, 3.0]) == pytest.approx(2 * (1 - 3 / 7))


def test_attainable_levels_are_p_values_of_the_exact_test():
    assert stats.attainable_level(7, 0.025) == 2 / 128
    assert stats.attainable_level(8, 0.025) == 6 / 256
    assert stats.attainable_level(6, 2 / 64) == 0.0  # p must be below the level, not at it
    assert stats.attainable_level(20, 0.025) == 0.025
    assert stats.units_for_p(0.05) == 6
    assert stats.units_for_p(0.05 / 84) == 12
