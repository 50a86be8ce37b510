"""Statistics over single images against scipy, brute force, and simulations with a known truth."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from analysis.stats import image_stats
from analysis.stats.image_stats import flip_images_p, image_bootstrap, mcnemar_p, two_way

BOTH = {"difficulty": 1.5, "taste": 0.5, "order": 0.1, "luck": 0.05, "noise": 0.4}
"""Deviations of what makes a made-up image right: it is right where their sum and the method's
skill are positive. `difficulty`: the image's, for both methods; `taste`: the image's, for one
method; `order`: the order's, for both methods; `luck`: the order's, for one; `noise`: the rest."""

CASES = {
    "both matter": BOTH,
    "orders matter": BOTH | {"taste": 0.2, "order": 0.3, "luck": 0.25},
    "images matter": BOTH | {"taste": 0.6, "order": 0.05, "luck": 0.005, "noise": 0.3},
    "neither matters": BOTH | {"taste": 0.0, "order": 0.0, "luck": 0.0, "noise": 0.6},
}


def drawn(
    rng: np.random.Generator, n: int, m: int, skills: tuple[float, float], sd: dict[str, float]
) -> NDArray[np.float64]:
    """(n, m): right by the first method minus right by the second."""
    shared = rng.normal(0, sd["difficulty"], m) + rng.normal(0, sd["order"], (n, 1))
    one, other = (
        skill
        + shared
        + rng.normal(0, sd["taste"], m)
        + rng.normal(0, sd["luck"], (n, 1))
        + rng.normal(0, sd["noise"], (n, m))
        > 0
        for skill in skills
    )
    return one.astype(np.float64) - other


def truth(skills: tuple[float, float], sd: dict[str, float]) -> float:
    """The difference over all orders and images there could be."""
    whole = math.sqrt(sum(value**2 for value in sd.values()))
    one, other = (stats.norm.cdf(skill / whole) for skill in skills)
    return float(one - other)


def covered(n: int, m: int, sd: dict[str, float], draws: int) -> dict[str, float]:
    """How often three 95 % intervals hold the truth."""
    rng, skills = np.random.default_rng([n, m]), (1.05, 1.0)
    wanted, held = truth(skills, sd), dict.fromkeys(("both", "orders", "images"), 0)
    for _ in range(draws):
        found = two_way(drawn(rng, n, m, skills, sd))
        half = {
            "both": (found.interval.high - found.interval.low) / 2,
            "orders": stats.t.ppf(0.975, n - 1) * found.se_units,
            "images": 1.96 * found.se_images,
        }
        for name, width in half.items():
            held[name] += abs(found.mean - wanted) <= width
    return {name: count / draws for name, count in held.items()}


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (1, 0), (5, 5), (3, 9), (53, 60), (700, 801)])
def test_mcnemar_is_the_binomial_test_of_the_discordant_images(won, lost):
    wanted = stats.binomtest(won, won + lost, 0.5).pvalue if won + lost else 1.0
    assert mcnemar_p(won, lost) == pytest.approx(wanted, abs=1e-12)
    assert mcnemar_p(lost, won) == mcnemar_p(won, lost)


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (1, 0), (5, 5), (3, 9), (53, 60), (700, 801)])
def test_flipping_the_images_of_one_order_is_mcnemars_test(won, lost):
    sums = np.array([1] * won + [-1] * lost + [0] * 100)
    assert flip_images_p(sums) == pytest.approx(mcnemar_p(won, lost), abs=1e-11)


@pytest.mark.parametrize("seed", range(5))
def test_flipping_images_counts_every_pattern(seed):
    sums = np.random.default_rng(seed).integers(-4, 5, 11)
    patterns = np.array(list(itertools.product((-1, 1), repeat=len(sums))))
    wanted = np.mean(np.abs(patterns @ sums) >= abs(sums.sum()))
    assert flip_images_p(sums) == pytest.approx(wanted, abs=1e-12)
    assert flip_images_p(6 * sums) == pytest.approx(wanted, abs=1e-12)
    found = stats.permutation_test(
        (sums,), np.sum, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert flip_images_p(sums) == pytest.approx(found, abs=1e-12)


def test_flipping_many_images_agrees_with_the_normal_law_and_stops_at_the_smallest_p():
    rng = np.random.default_rng(0)
    sums = rng.integers(-6, 7, 40_000)
    z = sums.sum() / math.sqrt((sums**2).sum())
    assert flip_images_p(sums) == pytest.approx(2 * stats.norm.sf(abs(z)), abs=2e-3)
    assert flip_images_p(np.ones(1000, dtype=np.int64)) == image_stats.SMALLEST_P


def test_the_two_way_error_is_that_of_the_analysis_of_variance():
    """Every sum of squares by loops over the cells."""
    table = np.random.default_rng(1).normal(size=(4, 7))
    n, m, grand = 4, 7, table.mean()
    of_rows = sum(m * (table[o].mean() - grand) ** 2 for o in range(n)) / (n - 1)
    of_columns = sum(n * (table[:, i].mean() - grand) ** 2 for i in range(m)) / (m - 1)
    rest = sum(
        (table[o, i] - table[o].mean() - table[:, i].mean() + grand) ** 2
        for o in range(n)
        for i in range(m)
    ) / ((n - 1) * (m - 1))
    found = two_way(table)
    assert found.se_units == pytest.approx(stats.sem(table.mean(axis=1)))
    assert found.se_images == pytest.approx(stats.sem(table.mean(axis=0)))
    squares = np.array([of_rows, of_columns, -rest])
    wanted = max(squares.sum(), of_rows, of_columns)
    assert found.se == pytest.approx(math.sqrt(wanted / (n * m)))
    freedom = np.array([n - 1, m - 1, (n - 1) * (m - 1)])
    assert found.freedom == pytest.approx(wanted**2 / (squares**2 / freedom).sum())
    half = stats.t.ppf(0.975, found.freedom) * found.se
    assert (found.interval.low, found.interval.high) == pytest.approx((grand - half, grand + half))


def test_the_two_way_variance_is_right_on_average():
    """Drawn with known parts: s_a^2/n + s_b^2/m + s_e^2/nm."""
    rng, n, m, a, b, e = np.random.default_rng(2), 5, 40, 0.3, 1.0, 2.0
    found = [
        two_way(rng.normal(0, a, (n, 1)) + rng.normal(0, b, m) + rng.normal(0, e, (n, m))).se ** 2
        for _ in range(3000)
    ]
    wanted = a**2 / n + b**2 / m + e**2 / (n * m)
    assert np.mean(found) == pytest.approx(wanted, rel=0.05)


def test_what_one_order_or_equal_methods_cannot_tell_is_missing():
    alone = two_way(np.array([[1.0, 0.0, -1.0, 1.0]]))
    assert alone.se_units is alone.se is alone.interval is None
    assert alone.se_images == pytest.approx(stats.sem([1, 0, -1, 1]))
    equal = two_way(np.zeros((3, 5)))
    assert equal.se == 0 and equal.interval is None


def test_an_interval_over_both_holds_where_one_over_orders_alone_fails():
    found = covered(4, 500, CASES["images matter"], 400)
    assert found["both"] > 0.92
    assert found["orders"] < 0.80


@pytest.mark.slow
@pytest.mark.parametrize("m", [500, 2000])
@pytest.mark.parametrize("n", [4, 6, 10])
@pytest.mark.parametrize("case", CASES)
def test_the_interval_over_both_covers_whatever_matters(case, n, m):
    """95 % +- 3 standard errors of 1000 draws; above it where nothing but noise is there."""
    found = covered(n, m, CASES[case], 1000)
    assert found["both"] >= 0.929
    assert found["both"] <= (0.990 if case == "neither matters" else 0.975)


def test_adding_the_counts_of_orders_up_takes_an_image_for_many():
    """Two methods of equal skill, whose taste in images differs: McNemar's test over ten orders."""
    rng, rejected = np.random.default_rng(3), {"flipped": 0, "added": 0}
    sd = BOTH | {"order": 0.0, "luck": 0.0}
    for _ in range(400):
        table = drawn(rng, 10, 300, (1.0, 1.0), sd).astype(np.int64)
        rejected["flipped"] += flip_images_p(table.sum(axis=0)) < 0.05
        rejected["added"] += mcnemar_p(int((table > 0).sum()), int((table < 0).sum())) < 0.05
    assert rejected["flipped"] / 400 < 0.08
    assert rejected["added"] / 400 > 0.25


def test_the_image_bootstrap_is_scipys():
    values = np.random.default_rng(4).choice([-1, -0.5, 0, 0, 0, 0.25, 1], 400)
    found = image_bootstrap(values)
    wanted = stats.bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", rng=0)
    low, high = wanted.confidence_interval
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.05 * (high - low))
    assert image_bootstrap(values[:1]) is None


def test_seeds_are_averaged_inside_their_unit_in_sums_as_in_means():
    rng = np.random.default_rng(5)
    cells = [(unit, rng.integers(-1, 2, 9).astype(np.int8)) for unit in ("a", "a", "a", "b", "b")]
    units = image_stats.per_unit(cells)
    assert units["a"] == pytest.approx(np.mean([cells[i][1] for i in range(3)], axis=0))
    mean = np.mean(list(units.values()), axis=0)
    assert image_stats.image_sums(cells) / (6 * 2) == pytest.approx(mean)
