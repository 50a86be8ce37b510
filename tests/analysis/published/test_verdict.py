"""Every verdict on InfLoRA's published per-seed logs, and Welch's interval against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from analysis.published import read_csv, verdict
from analysis.published.verdict import Sample
from analysis.stats import significance


def logs(bench: str, shuffled: bool = False) -> list[read_csv.LoggedRun]:
    return [
        run
        for run in read_csv.inflora_logs()
        if (run.commit, run.bench, run.shuffled) == ("e08b00e", bench, shuffled)
    ]


def ours(bench: str) -> Sample:
    """The authors' per-seed ACC as if it were ours."""
    mean, std = significance.mean_std([run.totals[-1] for run in logs(bench)])
    split, epochs = {
        "imagenet_r": ("random 80/20 by the code", "50"),
        "cifar100": ("official", "20"),
    }[bench]
    known = {"tasks": "10", "weights": "augreg_in21k", "order": "natural", "weighting": "image"}
    known |= {"split": split, "epochs": epochs, "normalisation": "none"}
    return Sample(mean, std, 5, known)


def figure(source: str, bench: str, tasks: str = "10", **fields) -> read_csv.Published:
    wanted = {"method": "inflora", "metric": "acc", "variant": ""} | fields
    (found,) = [
        f
        for f in read_csv.summaries([bench], int(tasks))
        if f.source == source
        and f.protocol.get("weighting") != "task"
        and f.kind in ("table", "log")
        and all(getattr(f, name) == value for name, value in wanted.items())
        and f.protocol.get("order") != "shuffled, seed 1993"
    ]
    return found


def test_the_logs_reproduce_their_own_summary():
    found = verdict.judge_difference(
        ours("imagenet_r"), verdict.sample_of(figure("inflora-logs", "imagenet_r"))
    )
    assert found.word == verdict.REPRODUCED
    assert found.low == pytest.approx(-found.high, abs=0.01)
    assert found.high < 0.4


def test_a_figure_without_a_stated_number_of_runs_gets_no_verdict():
    row = figure("janus-lora", "imagenet_r")
    assert (row.n, row.std) == (None, 0.69)
    found = verdict.judge_difference(ours("imagenet_r"), verdict.sample_of(row), verdict.PROTOCOL)
    assert found.word == verdict.NOT_COMPARABLE
    assert "how many runs" in found.why
    assert found.difference == pytest.approx(75.34 - 73.90, abs=0.01)


UNSTATED = ("weights", "split", "epochs", "normalisation", "weighting")
"""What SD-LoRA's tables leave open."""


def test_unstated_fields_make_the_protocol_unknown_whatever_the_interval_says():
    row = verdict.sample_of(figure("sd-lora", "imagenet_r"))  # InfLoRA 74.75 ± 0.64
    for shift, word in ((0.0, verdict.REPRODUCED), (5.0, verdict.DIFFERENT)):
        own = ours("imagenet_r")
        mine = Sample(row.mean + shift, own.std, own.n, own.protocol)
        found = verdict.judge_difference(mine, row, ["order"])
        assert (found.word, found.unstated) == (verdict.PROTOCOL_UNKNOWN, UNSTATED)
        assert (found.low > 0) == (word == verdict.DIFFERENT)  # the interval is shown all the same
        assert (
            verdict.judge_difference(mine, row, ["order", *UNSTATED[:-1]]).word
            == verdict.PROTOCOL_UNKNOWN
        )
        assert verdict.judge_difference(mine, row, ["order", *UNSTATED]).word == word


def test_a_close_figure_is_not_reproduced_where_the_protocol_is_unknown():
    known = {"tasks": "10", "weights": "augreg_in21k"}
    a, b = Sample(75.5, 0.1, 5, known), Sample(75.4, 0.1, 5, {"tasks": "10"})
    assert verdict.judge_difference(a, b).word == verdict.PROTOCOL_UNKNOWN
    assert verdict.judge_difference(b, a).word == verdict.PROTOCOL_UNKNOWN
    assert verdict.judge_difference(a, b, ["weights"]).word == verdict.REPRODUCED


def test_every_word_is_explained():
    words = {verdict.REPRODUCED, verdict.DIFFERENT, verdict.INCONCLUSIVE}
    assert set(verdict.MEANINGS) == words | {verdict.PROTOCOL_UNKNOWN, verdict.NOT_COMPARABLE}
    page = (read_csv.FOLDER.parents[1] / "docs/compare.md").read_text()
    assert all(f"**{word}**" in page for word in verdict.MEANINGS)


def test_other_weights_are_not_comparable():
    log = read_csv.summaries(["imagenet_r"], 10)
    (row,) = [f for f in log if f.source == "sd-lora-logs" and f.metric == "acc"]
    found = verdict.judge_difference(ours("imagenet_r"), verdict.sample_of(row))
    assert found.word == verdict.NOT_COMPARABLE
    assert "weights augreg_in21k / augreg2_in21k_ft_in1k" in found.why
    found = verdict.judge_difference(ours("imagenet_r"), verdict.sample_of(row), verdict.PROTOCOL)
    assert found.why == "the published figure is a single run"


def test_five_spread_out_seeds_are_inconclusive():
    other = Sample(85.5, 0.8, 5, ours("cifar100").protocol)
    found = verdict.judge_difference(ours("cifar100"), other)
    assert found.word == verdict.INCONCLUSIVE
    assert found.low < 0 < 1 < found.high


def test_a_single_run_is_not_comparable():
    (run,) = logs("imagenet_r", shuffled=True)
    single = Sample(run.totals[-1], None, 1, {"tasks": "10"})
    found = verdict.judge_difference(ours("imagenet_r"), single)
    assert (found.word, found.low) == (verdict.NOT_COMPARABLE, None)
    assert "single run" in found.why
    assert verdict.judge_difference(single, ours("imagenet_r")).why.startswith("ours")


def test_another_weighting_is_not_comparable():
    found = verdict.judge_difference(
        ours("imagenet_r"), Sample(74.81, 0.39, 5, {"tasks": "10", "weighting": "task"})
    )
    assert "weighting image / task" in found.why


def test_the_interval_is_welchs():
    rng = np.random.default_rng(0)
    a, b = rng.normal(75, 0.4, 5), rng.normal(74, 1.2, 8)
    theirs = scipy.stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    sides = [Sample(x.mean(), x.std(ddof=1), len(x), {}) for x in (a, b)]
    assert verdict.welch_interval(*sides) == pytest.approx((theirs.low, theirs.high))


def test_an_unknown_divisor_only_widens():
    row = figure("sd-lora", "imagenet_r")
    assert row.std_ddof is None
    assert verdict.sample_of(row).std == pytest.approx(row.std * (5 / 4) ** 0.5)
    log = figure("inflora-logs", "imagenet_r")
    assert verdict.sample_of(log).std == log.std


def test_a_narrow_interval_away_from_zero_may_still_be_reproduced():
    a, b = Sample(75.5, 0.1, 5, {}), Sample(75.0, 0.1, 5, {})
    assert verdict.judge_difference(a, b).word == verdict.REPRODUCED
    assert verdict.judge_difference(Sample(76.5, 0.1, 5, {}), b).word == verdict.DIFFERENT
