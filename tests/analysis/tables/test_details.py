"""The further tables of --details, as numbers."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.blocks import details
from analysis.runs import load, protocol
from analysis.stats import across_benches, variance
from analysis.tables import comparison


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(across_benches, "DRAWS", 20)  # the intervals are tested elsewhere


def build(fake, **options) -> tuple[details.Details, comparison.Table]:
    runs = load.load_runs([fake.root]).runs
    labels = load.labels(runs)
    groups = protocol.split_by_protocol(runs, labels)
    table = comparison.build_table(groups, labels, ["acc"], "janus", **options)
    return details.build_details(groups, labels, table), table


def add_close_rows(fake) -> None:
    rng = np.random.default_rng(1)
    for order in range(6):
        fake.add("janus", 0.6, order=order)
        for method, gap in (("inflora", 0.009), ("seqlora", 0.007), ("l2p", -0.2)):
            fake.add(method, 0.6 + gap + rng.normal(0, 0.01), order=order)


def test_further_orders_under_max_t_lie_between_no_correction_and_the_number_of_tests(fake):
    add_close_rows(fake)
    found = {c: build(fake, correction=c) for c in ("maxt", "none", "holm")}
    rows = {c: {row.method: row for row in d.further} for c, (d, _) in found.items()}
    differences = {d.method: d for d in found["maxt"][1].differences}
    gaps = differences["inflora"].differences
    alone, divided = (variance.units_to_decide(gaps, 0.05 / tests) for tests in (1, 3))
    assert alone < divided
    shown = {c: (row["inflora"].least, row["inflora"].most) for c, row in rows.items()}
    assert shown == {
        "maxt": (alone, divided),
        "none": (alone, alone),
        "holm": (divided, divided),
    }
    assert (rows["maxt"]["l2p"].least, rows["maxt"]["l2p"].most) == (0, 0)
    assert rows["holm"]["l2p"].least > 0  # six orders cannot decide three tests


def test_one_bench_has_no_score_over_benches(fake):
    add_close_rows(fake)
    found, table = build(fake)
    assert {row.iqm for row in found.across} == {None}
    grid = details.details_block(found, table).grids[0]
    assert grid.header == ("method", "P over janus (%)", "95 % interval")
    assert not any("IQM" in note for note in details.details_block(found, table).notes)


def test_the_interquartile_mean_is_of_scores_inside_the_bench(fake):
    """A bench where all is 20 points lower tells the same as the other one."""
    for bench, level in (("glyphs", 0.7), ("glyphs_styles", 0.5)):
        for order in range(4):
            fake.add("janus", level + order / 100, order=order, bench=bench)
            fake.add("seqlora", level - 0.1 + order / 100, order=order, bench=bench)
    found, table = build(fake)
    # scores of janus: 0.05 + (-0.015, -0.005, 0.005, 0.015) over the std of all eight, twice
    std = np.std([level + order / 100 for level in (0.7, 0.6) for order in range(4)], ddof=1)
    iqm = {row.method: row.iqm for row in found.across}
    assert iqm == pytest.approx({"janus": 0.05 / std, "seqlora": -0.05 / std})
    assert any(note.startswith("IQM") for note in details.details_block(found, table).notes)


def test_where_less_is_better_less_is_an_improvement(fake):
    for order in range(3):
        fake.add("janus", [[0.9], [0.8, 0.9], [0.5, 0.8, 0.9]], order=order)
        fake.add("seqlora", [[0.9], [0.8, 0.9], [0.7 + order / 50, 0.8, 0.9]], order=order)
    found, _ = build(fake, endpoints=("forgetting",))
    assert found.metric == "forgetting"
    assert {row.method: row.improvement for row in found.across}["seqlora"] == 1.0
    assert (
        "Across 1 bench, Forgetting"
        in details.details_block(*build(fake, endpoints=("forgetting",))).grids[0].title
    )


def test_a_cost_has_no_details_of_its_own(fake):
    add_close_rows(fake)
    assert build(fake, endpoints=("seconds",))[0].metric == "acc"
    assert build(fake, endpoints=("seconds", "bwt"))[0].metric == "bwt"
