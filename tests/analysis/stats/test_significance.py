"""Statistics against scipy, brute force and values worked out by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from analysis.stats import significance


def test_mean_and_std_by_hand():
    mean, std = significance.mean_std([1.0, 2.0, 4.0])
    assert mean == pytest.approx(7 / 3)
    assert std == pytest.approx(math.sqrt(7 / 3))  # squares 16/9 + 1/9 + 25/9 = 42/9, over 2


def test_one_value_has_no_deviation_and_none_has_no_mean():
    assert significance.mean_std([0.5]) == (0.5, None)
    assert significance.mean_std([]) == (None, None)


def test_seeds_are_averaged_inside_their_order():
    draws = {("0", 0): 1.0, ("0", 1): 3.0, ("1", 0): 10.0}
    assert significance.average_units(draws) == {"0": 2.0, "1": 10.0}
    assert significance.average_units(draws, "seed") == {"0/0": 1.0, "0/1": 3.0, "1/0": 10.0}


def test_pairs_are_the_common_orders_and_seeds_and_the_rest_is_named():
    ours = {("0", 0): 5.0, ("0", 1): 100.0, ("1", 0): 7.0, ("2", 0): 9.0}
    theirs = {("0", 0): 4.0, ("1", 0): 9.0, ("3", 0): 1.0}
    pairing = significance.pair(ours, theirs)
    assert pairing.differences == {"0": 1.0, "1": -2.0}
    assert pairing.only_ours == (("0", 1), ("2", 0))
    assert pairing.only_theirs == (("3", 0),)


def test_sign_flip_by_hand():
    # |sum| of the 8 patterns of (1, 2, 4): 7, 5, 3, 1, each twice
    assert significance.sign_flip_p([1, 2, 4]) == 2 / 8
    assert significance.sign_flip_p([-1, 2, 4]) == 4 / 8
    assert significance.sign_flip_p([1, 2, -4]) == 8 / 8


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_sign_flip_equals_brute_force_and_scipy(n):
    values = np.random.default_rng(n).normal(0.5, 1, n)
    sums = [abs(np.dot(s, values)) for s in itertools.product((1, -1), repeat=n)]
    brute = np.mean(np.array(sums) >= abs(values.sum()) - 1e-12)
    assert significance.sign_flip_p(values) == pytest.approx(brute)
    if n > 1:
        found = scipy.stats.permutation_test(
            (values,), np.mean, permutation_type="samples", n_resamples=np.inf
        )
        assert significance.sign_flip_p(values) == pytest.approx(found.pvalue)


def test_sign_flip_counts_equal_sums_as_ties_whatever_the_rounding():
    # 0.1 + 0.2 - 0.3 is not 0 in floats; p of an all-positive sample of n is 2 / 2^n at best
    assert significance.sign_flip_p([0.1] * 10) == significance.smallest_p(10)
    assert significance.sign_flip_p([0.1, 0.2, -0.3]) == 1.0


@pytest.mark.parametrize("n", range(1, 11))
def test_no_sample_beats_the_smallest_p(n):
    assert significance.sign_flip_p(np.arange(1.0, n + 1)) == significance.smallest_p(n)


def test_four_units_cannot_reach_five_percent_and_six_can():
    assert significance.smallest_p(4) == 0.125
    assert significance.smallest_p(5) > 0.05 > significance.smallest_p(6)


def test_many_units_are_sampled_reproducibly_and_close_to_exact():
    values = np.random.default_rng(0).normal(0.4, 1, 15)
    patterns = 2 * (np.arange(2**15)[:, None] >> np.arange(15) & 1) - 1
    exact = np.mean(np.abs(patterns @ values) >= abs(values.sum()) - 1e-12)
    found = significance.sign_flip_p(values)
    assert found == significance.sign_flip_p(values)
    assert found == pytest.approx(exact, abs=5 * math.sqrt(exact / 100_000))
    assert (
        significance.sign_flip_p(np.ones(60)) == significance.smallest_p(60) == 1 / 100_001
    )  # never zero


def test_no_differences_and_zero_differences_show_nothing():
    assert significance.sign_flip_p([]) == 1.0
    assert significance.sign_flip_p([0.0, 0.0, 0.0]) == 1.0
    assert significance.wilcoxon_p([0.0, 0.0]) == 1.0


def test_wilcoxon_by_hand():
    assert significance.wilcoxon_p([1, 2, 3, 4, 5]) == 2 / 32  # all ranks on one side
    assert significance.wilcoxon_p([-1, 2, 3, 4, 5]) == 4 / 32
    # ranks 1.5, -1.5, 3: sums of the 8 patterns 6, 3, 3, 0, twice; a zero takes no part
    assert significance.wilcoxon_p([0.2, -0.2, 0.7, 0.0]) == 6 / 8
    assert significance.wilcoxon_p([0.3 - 0.2, -0.1, 0.7]) == 6 / 8  # a tie but for the last bits


@pytest.mark.parametrize("values", [[3, -1, 4, 1, 5, -9, 2], [0, -2, -2, 2, 0, 3, 4, 2, 3, 2]])
def test_wilcoxon_counts_all_sign_patterns_of_the_ranks(values):
    kept = np.array([v for v in values if v])
    ranks = scipy.stats.rankdata(np.abs(kept))
    sums = [abs(np.dot(s, ranks)) for s in itertools.product((1, -1), repeat=len(kept))]
    observed = abs(np.dot(np.sign(kept), ranks))
    assert significance.wilcoxon_p(values) == pytest.approx(np.mean(np.array(sums) >= observed))


def test_wilcoxon_takes_what_differs_in_the_last_bits_only_for_a_tie():
    # tied: ranks 1.5, -1.5, -3, 4, 5 of sum 6; apart: 2, -1, -3, 4, 5 of sum 7, p = 14 / 32
    values = [0.1, -(0.3 - 0.2), -0.4, 0.7, 0.8]
    assert significance.wilcoxon_p(values) == significance.wilcoxon_p([1, -1, -4, 7, 8]) == 16 / 32


def test_a_zero_among_many_differences_leaves_the_others_exact():
    values = [(-1) ** (i % 3) * i for i in range(1, 17)]
    assert significance.wilcoxon_p([0, *values]) == significance.wilcoxon_p(values)


def test_max_t_by_hand():
    # both have 9 as sum of squares, so |sum| compares: of the patterns +++, ++-, +-+, -++
    #   (2, 2, 1) gives 5, 3, 1, 1: it leads, and 5 is reached by +++ and, in the other row, by +-+
    #   (1, -2, 2) gives 1, 3, 5, 1: one step down it stands alone, and all four reach 1
    rows = [{"0": 1.0, "1": -2.0, "2": 2.0}, {"0": 2.0, "1": 2.0, "2": 1.0}]
    assert significance.max_t(rows) == [1.0, 2 / 4]
    assert significance.max_t(rows[1:]) == [1 / 4]


def closed(rows: list[dict[str, float]]) -> list[float]:
    """Max-T over every subset of rows that holds a row (closed testing), with scipy's |t|."""
    units = sorted({unit for row in rows for unit in row})

    def statistics(signs: tuple[int, ...]) -> np.ndarray:
        out = []
        for row in rows:
            found = np.array([s * row[u] for s, u in zip(signs, units, strict=True) if u in row])
            out.append(abs(found.sum()) / np.sqrt((found**2).sum()))
        return np.array(out)

    every = np.array([statistics(s) for s in itertools.product((1, -1), repeat=len(units))])
    observed = statistics((1,) * len(units))
    adjusted = [0.0] * len(rows)
    for size in range(1, len(rows) + 1):
        for subset in itertools.combinations(range(len(rows)), size):
            at_least = every[:, subset].max(axis=1) >= observed[list(subset)].max() - 1e-9
            for i in subset:
                adjusted[i] = max(adjusted[i], float(at_least.mean()))
    return adjusted


@pytest.mark.parametrize("seed", range(4))
def test_step_down_max_t_is_closed_testing(seed):
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=6)
    rows = [
        {str(u): d for u, d in enumerate(shift + rng.normal(size=6) + shared)}
        for shift in (0.0, 1.0, 4.0, -2.0)
    ]
    found = significance.max_t(rows)
    assert found == pytest.approx(closed(rows))
    assert len(set(found)) > 1


def test_rows_of_other_units_take_part_with_those_they_have():
    """Two rows lack units, and not the same ones; each keeps its own, none is cut to the common."""
    rng = np.random.default_rng(3)
    rows = [{str(u): 1.0 + rng.normal() for u in range(7)} for _ in range(3)]
    del rows[0]["6"], rows[0]["5"], rows[1]["0"]
    found = significance.max_t(rows)
    assert found == pytest.approx(closed(rows))
    assert significance.max_t([rows[0]])[0] == significance.sign_flip_p(list(rows[0].values()))


def test_a_row_of_two_units_does_not_hide_a_row_of_ten():
    full = {str(u): 1.0 + u / 100 for u in range(10)}
    begun = {"0": -0.5, "1": -0.5}  # its |t| is infinite in half of the patterns
    assert significance.max_t([full, begun]) == [2 / 1024, 0.5]


def test_max_t_orders_rows_of_one_size_as_t_does():
    rng = np.random.default_rng(5)
    values = rng.normal(0.8, [[0.1], [1.0], [5.0]], (3, 8))
    signs = np.array(list(itertools.product((1, -1), repeat=8)))
    t = np.abs([scipy.stats.ttest_1samp(signs * row, 0, axis=1).statistic for row in values])
    first = np.abs([scipy.stats.ttest_1samp(row, 0).statistic for row in values])
    largest = int(first.argmax())
    share = np.mean(t.max(axis=0) >= first[largest] * (1 - 1e-9))
    rows = [{str(u): d for u, d in enumerate(row)} for row in values]
    assert significance.max_t(rows)[largest] == pytest.approx(share)
    assert min(significance.max_t(rows)) == pytest.approx(share)


def test_max_t_is_scipys_when_whole_units_are_flipped_for_all_rows():
    values = np.random.default_rng(8).normal(0.5, 1, (5, 9))
    scaled = values / np.sqrt((values**2).sum(axis=1, keepdims=True))
    null = scipy.stats.permutation_test(
        (scaled,),
        lambda x, axis: np.abs(x.sum(axis=axis)),
        permutation_type="samples",
        vectorized=True,
        axis=-1,
        n_resamples=np.inf,
    ).null_distribution
    observed = np.abs(scaled.sum(axis=1)).max()
    rows = [{str(u): d for u, d in enumerate(row)} for row in values]
    assert min(significance.max_t(rows)) == pytest.approx(
        np.mean(null.max(axis=1) >= observed - 1e-9)
    )


def test_many_rows_and_few_orders_show_what_all_orders_agree_on():
    """Holm gives p = 0.59 to the same rows: 19 times the smallest p of six orders."""
    rng = np.random.default_rng(0)
    rows = [{str(u): gap + rng.normal(0, 0.5) for u in range(6)} for gap in range(4, 23)]
    assert (
        max(significance.holm([significance.sign_flip_p(list(row.values())) for row in rows])) > 0.5
    )
    assert significance.max_t(rows) == [2 / 64] * 19


def test_rows_without_variance_or_without_a_difference_have_a_p():
    constant, none = {"0": -2.0, "1": -2.0, "2": -2.0}, dict.fromkeys("012", 0.0)
    assert significance.max_t([constant, none]) == [2 / 8, 1.0]
    assert significance.max_t([none, none]) == [1.0, 1.0]
    assert significance.max_t([]) == []


def test_max_t_of_many_units_is_drawn_reproducibly_and_close_to_exact(monkeypatch):
    rng = np.random.default_rng(2)
    rows = [{str(u): 0.5 + rng.normal() for u in range(15)} for _ in range(4)]
    drawn = significance.max_t(rows)
    assert drawn == significance.max_t(rows)
    monkeypatch.setattr(significance, "EXACT_UP_TO", 15)
    assert drawn == pytest.approx(significance.max_t(rows), abs=0.005)
    assert drawn != significance.max_t(rows)


def test_holm_by_hand():
    # sorted .01 x4 = .04, .02 x3 = .06, .03 x2 = .06, .5 x1
    assert significance.holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert significance.holm([0.9, 0.8]) == [1.0, 1.0]
    assert significance.holm([0.03]) == [0.03]
    assert significance.holm([]) == []


def test_holm_rejects_what_the_step_down_procedure_rejects():
    rng = np.random.default_rng(1)
    for _ in range(200):
        p = rng.uniform(0, 0.1, rng.integers(1, 8))
        rejected = set()
        for rank, index in enumerate(np.argsort(p)):
            if p[index] > 0.05 / (len(p) - rank):
                break
            rejected.add(int(index))
        assert {i for i, q in enumerate(significance.holm(list(p))) if q <= 0.05} == rejected


@pytest.mark.parametrize("n", [2, 3, 10])
def test_the_interval_of_one_bench_is_students(n):
    values = np.random.default_rng(n).normal(1, 2, n).tolist()
    theirs = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    ours = significance.t_interval([values])
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))
    assert ours.method == "t"
    assert significance.t_half_width(values) == pytest.approx((theirs.high - theirs.low) / 2)


def test_the_interval_over_two_benches_is_half_of_welchs():
    """(mean a + mean b) / 2 is half of the difference between a and -b."""
    rng = np.random.default_rng(4)
    a, b = rng.normal(1, 5, 4), rng.normal(2, 0.5, 9)
    theirs = scipy.stats.ttest_ind(a, -b, equal_var=False).confidence_interval(0.95)
    ours = significance.t_interval([a.tolist(), b.tolist()])
    assert (ours.low, ours.high) == pytest.approx((theirs.low / 2, theirs.high / 2))


def test_the_interval_over_three_benches_by_hand():
    # variances 2, 8, 0; errors 1, 4, 0: total 5; df 25 / (1 / 1 + 16 / 1) = 25 / 17
    found = significance.t_interval([[0.0, 2.0], [1.0, 5.0], [7.0, 7.0, 7.0]])
    half = scipy.stats.t.ppf(0.975, 25 / 17) * math.sqrt(5) / 3
    assert (found.low, found.high) == pytest.approx((11 / 3 - half, 11 / 3 + half))


def test_one_value_has_no_interval_and_equal_ones_have_one_of_no_width():
    assert significance.t_interval([[0.1]]) is None
    assert significance.t_interval([]) is None
    assert significance.t_interval([[0.1, 0.2], [0.3]]) is None
    found = significance.t_interval([[0.1 + 0.2, 0.3, 0.3]])  # equal but for the last bits
    assert found.low == found.high == pytest.approx(0.3)
    assert significance.d_z([0.1 + 0.2, 0.3, 0.3]) is None


def bca(values: np.ndarray, draws: int) -> tuple[float, float]:
    """Efron's (1987) formula, with resamples of its own."""
    n = len(values)
    means = values[np.random.default_rng(9).integers(0, n, (draws, n))].mean(axis=1)
    bias = scipy.stats.norm.ppf(np.mean(means < values.mean()))
    left_out = np.array([np.delete(values, i).mean() for i in range(n)])
    pulls = left_out.mean() - left_out
    acceleration = (pulls**3).sum() / (6 * (pulls**2).sum() ** 1.5)
    z = bias + scipy.stats.norm.ppf([0.025, 0.975])
    shares = scipy.stats.norm.cdf(bias + z / (1 - acceleration * z))
    low, high = np.quantile(means, shares)
    return float(low), float(high)


@pytest.mark.parametrize("n", [6, 12, 40])
def test_the_bootstrap_interval_is_efrons(n):
    values = np.random.default_rng(n).exponential(1.0, n)
    ours, theirs = significance.bca_interval(values, draws=50_000), bca(values, 50_000)
    assert ours.method == "BCa"
    width = theirs[1] - theirs[0]
    assert (ours.low, ours.high) == pytest.approx(theirs, abs=0.02 * width)


def test_the_bootstrap_interval_repeats_and_needs_three_units_that_vary():
    assert significance.bca_interval([0.1, 0.2]) is None
    assert significance.bca_interval([0.3] * 5) is None
    first = significance.bca_interval([0.1, 0.2, 0.4])
    assert first == significance.bca_interval([0.1, 0.2, 0.4])
    assert first.low < 0.7 / 3 < first.high


def test_wins_and_losses_leave_ties_out():
    assert significance.count_wins([0.1, -0.2, 0.0, 0.3]) == (2, 1)


def test_less_is_a_win_where_less_is_better():
    assert significance.count_wins([0.1, -0.2, 0.0, 0.3], -1) == (1, 2)


def test_two_units_have_no_effect_size_rather_than_none_at_all():
    assert significance.d_z([0.1, 0.3]) is None  # the correction would be 0
    assert significance.d_z([1.0, 2.0, 3.0]) == pytest.approx(2 * (1 - 3 / 7))


def test_attainable_levels_are_p_values_of_the_exact_test():
    assert significance.attainable_level(7, 0.025) == 2 / 128
    assert significance.attainable_level(8, 0.025) == 6 / 256
    assert significance.attainable_level(6, 2 / 64) == 0.0  # p must be below the level, not at it
    assert significance.attainable_level(20, 0.025) == 0.025
    assert significance.units_for_p(0.05) == 6
    assert significance.units_for_p(0.05 / 84) == 12
