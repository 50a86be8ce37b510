"""Statistics across benches against the rliable package (its figures: data/make_rliable.py)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from analysis.stats import across_benches

ORACLE = json.loads((Path(__file__).resolve().parents[1] / "data" / "rliable.json").read_text())


def scores(name: str) -> list[np.ndarray]:
    return list(np.array(ORACLE[name]).T)


@pytest.mark.parametrize("name", ["ours", "theirs"])
def test_interquartile_mean_is_rliables(name):
    assert across_benches.interquartile_mean(scores(name)) == pytest.approx(ORACLE["iqm"][name])


def test_interquartile_mean_by_hand():
    assert across_benches.interquartile_mean([np.array([0.0, 1, 2]), np.array([3.0])]) == 1.5
    assert across_benches.interquartile_mean([np.array([5.0])]) == 5.0


def test_scores_are_standardised_inside_their_bench():
    rows = {
        "a": [np.array([0.8, 0.9]), np.array([0.1])],
        "b": [np.array([0.6]), np.array([0.3, 0.5])],
    }
    found = across_benches.normalised(rows)
    # bench 1: the rows' means 0.85 and 0.6, std of 0.8, 0.9, 0.6; bench 2: 0.1, 0.4; 0.1, 0.3, 0.5
    first, second = np.std([0.8, 0.9, 0.6], ddof=1), np.std([0.1, 0.3, 0.5], ddof=1)
    assert found["a"][0] == pytest.approx(np.array([0.075, 0.175]) / first)
    assert found["b"][1] == pytest.approx(np.array([0.05, 0.25]) / second)


def test_benches_without_any_variation_weigh_nothing():
    found = across_benches.normalised({"a": [np.array([0.3, 0.3])], "b": [np.array([0.3, 0.3])]})
    assert [list(scores) for (scores,) in found.values()] == [[0, 0], [0, 0]]


def test_a_row_that_fails_on_the_hardest_bench_has_the_lower_interquartile_mean():
    """On raw accuracies the hardest and the easiest bench are what is left out: 74.95 twice."""
    rng = np.random.default_rng(0)
    levels = (0.9, 0.8, 0.7, 0.4)
    a = [level + rng.normal(0, 0.01, 8) for level in levels]
    b = [values.copy() for values in a]
    b[3] = b[3] - 0.2
    raw = [across_benches.interquartile_mean(scores) for scores in (a, b)]
    assert raw[0] == pytest.approx(raw[1])
    found = across_benches.normalised({"a": a, "b": b})
    scores = [across_benches.interquartile_mean(found[row]) for row in "ab"]
    assert scores[0] > scores[1] + 0.1


def test_probability_of_improvement_is_rliables():
    found = across_benches.probability_of_improvement(scores("ours"), scores("theirs"))
    assert found == pytest.approx(ORACLE["improvement"])


def test_probability_of_improvement_by_hand():
    ours, theirs = [np.array([1.0, 2.0])], [np.array([0.0, 2.0, 3.0])]
    # wins: 1>0, 2>0; tie: 2=2; of six pairs
    assert across_benches.probability_of_improvement(ours, theirs) == pytest.approx(2.5 / 6)
    assert across_benches.probability_of_improvement(theirs, ours) == pytest.approx(3.5 / 6)


@pytest.mark.parametrize("name", ["ours", "theirs"])
def test_performance_profile_is_rliables(name):
    found = across_benches.performance_profile(scores(name), ORACLE["taus"])
    assert found == pytest.approx(ORACLE["profile"][name])


@pytest.mark.parametrize("name", ["ours", "theirs"])
def test_the_band_of_a_profile_agrees_with_rliable(name):
    low, high = across_benches.profile_band(scores(name), ORACLE["taus"], draws=3000)
    theirs_low, theirs_high = ORACLE["profile_interval"][name]
    # shares of 40 or 48 values: one value more or less is 0.025
    assert low == pytest.approx(theirs_low, abs=0.026)
    assert high == pytest.approx(theirs_high, abs=0.026)
    assert max(np.array(theirs_high) - theirs_low) > 0.2


def test_a_profile_of_two_units_has_no_band():
    assert across_benches.profile_band([np.array([0.1, 0.2])], [0.5]) is None


@pytest.mark.parametrize("name", ["ours", "theirs"])
def test_stratified_bootstrap_of_the_iqm_agrees_with_rliable(name):
    found = across_benches.bootstrap(
        [scores(name)], across_benches.interquartile_mean, paired=False, draws=4000
    )
    low, high = ORACLE["iqm_interval"][name]
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.06 * (high - low))


def test_stratified_bootstrap_of_the_improvement_agrees_with_rliable():
    both = [scores("ours"), scores("theirs")]
    found = across_benches.bootstrap(
        both, across_benches.probability_of_improvement, paired=False, draws=1500
    )
    low, high = ORACLE["improvement_interval"]
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * (high - low))


def test_pairing_keeps_what_both_methods_share_out_of_the_interval():
    common = [np.linspace(0, 1, 8)]  # the orders differ a lot, the methods always by 0.01
    ahead = [common[0] + 0.01]

    def gap(a, b):
        return float(np.mean(a[0]) - np.mean(b[0]))

    paired = across_benches.bootstrap([ahead, common], gap, paired=True, draws=300)
    loose = across_benches.bootstrap([ahead, common], gap, paired=False, draws=300)
    assert paired.high - paired.low < 1e-12
    assert loose.high - loose.low > 0.3


def test_too_few_units_have_no_interval():
    few = [[np.array([0.1, 0.2])]]
    assert across_benches.bootstrap(few, across_benches.interquartile_mean, paired=False) is None
