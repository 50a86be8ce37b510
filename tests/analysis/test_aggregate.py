"""Statistics across benches against the rliable package (its figures: data/make_rliable.py)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from analysis import aggregate

ORACLE = json.loads((Path(__file__).parent / "data" / "rliable.json").read_text())


def scores(name: str) -> list[np.ndarray]:
    return list(np.array(ORACLE[name]).T)


@pytest.mark.parametrize("name", ["ours", "theirs"])
def test_interquartile_mean_is_rliables(name):
    assert aggregate.interquartile_mean(scores(name)) == pytest.approx(ORACLE["iqm"][name])


def test_interquartile_mean_by_hand():
    assert aggregate.interquartile_mean([np.array([0.0, 1, 2]), np.array([3.0])]) == 1.5
    assert aggregate.interquartile_mean([np.array([5.0])]) == 5.0


def test_probability_of_improvement_is_rliables():
    found = aggregate.probability_of_improvement(scores("ours"), scores("theirs"))
    assert found == pytest.approx(ORACLE["improvement"])


def test_probability_of_improvement_by_hand():
    ours, theirs = [np.array([1.0, 2.0])], [np.array([0.0, 2.0, 3.0])]
    # wins: 1>0, 2>0; tie: 2=2; of six pairs
    assert aggregate.probability_of_improvement(ours, theirs) == pytest.approx(2.5 / 6)
    assert aggregate.probability_of_improvement(theirs, ours) == pytest.approx(3.5 / 6)


@pytest.mark.parametrize("name", ["ours", "theirs"])
def test_performance_profile_is_rliables(name):
    found = aggregate.performance_profile(scores(name), ORACLE["taus"])
    assert found == pytest.approx(ORACLE["profile"][name])


@pytest.mark.parametrize("name", ["ours", "theirs"])
def test_the_band_of_a_profile_agrees_with_rliable(name):
    low, high = aggregate.profile_band(scores(name), ORACLE["taus"], draws=3000)
    theirs_low, theirs_high = ORACLE["profile_interval"][name]
    # shares of 40 or 48 values: one value more or less is 0.025
    assert low == pytest.approx(theirs_low, abs=0.026)
    assert high == pytest.approx(theirs_high, abs=0.026)
    assert max(np.array(theirs_high) - theirs_low) > 0.2


def test_a_profile_of_two_units_has_no_band():
    assert aggregate.profile_band([np.array([0.1, 0.2])], [0.5]) is None


@pytest.mark.parametrize("name", ["ours", "theirs"])
def test_stratified_bootstrap_of_the_iqm_agrees_with_rliable(name):
    found = aggregate.bootstrap(
        [scores(name)], aggregate.interquartile_mean, paired=False, draws=4000
    )
    low, high = ORACLE["iqm_interval"][name]
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.06 * (high - low))


def test_stratified_bootstrap_of_the_improvement_agrees_with_rliable():
    both = [scores("ours"), scores("theirs")]
    found = aggregate.bootstrap(
        both, aggregate.probability_of_improvement, paired=False, draws=1500
    )
    low, high = ORACLE["improvement_interval"]
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * (high - low))


def test_pairing_keeps_what_both_methods_share_out_of_the_interval():
    common = [np.linspace(0, 1, 8)]  # the orders differ a lot, the methods always by 0.01
    ahead = [common[0] + 0.01]

    def gap(a, b):
        return float(np.mean(a[0]) - np.mean(b[0]))

    paired = aggregate.bootstrap([ahead, common], gap, paired=True, draws=300)
    loose = aggregate.bootstrap([ahead, common], gap, paired=False, draws=300)
    assert paired.high - paired.low < 1e-12
    assert loose.high - loose.low > 0.3


def test_too_few_units_have_no_interval():
    few = [[np.array([0.1, 0.2])]]
    assert aggregate.bootstrap(few, aggregate.interquartile_mean, paired=False) is None
