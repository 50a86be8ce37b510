"""`compare.py --format long`: every run's own values, for other tools."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from analysis.tables import comparison
from tests.analysis.conftest import add_methods


def frame(call, *arguments: str) -> pd.DataFrame:
    code, out, _ = call("--format", "long", *arguments)
    assert code == 0
    return pd.read_csv(io.StringIO(out), dtype={"order": str})


def test_each_cell_and_metric_is_a_line(fake, call):
    cells = add_methods(fake)
    found = frame(call, "--columns", "acc,forgetting_pilot,seconds")
    assert len(found) == len(cells) * 3
    line = found[(found.id == cells[1].id) & (found.metric == "acc")].iloc[0]
    assert (line.bench, line.method, line.label, line.order, line.seed, line["eval"]) == (
        *("glyphs", "seqlora", "seqlora", "0", 0, "test"),
    )
    assert line.value == pytest.approx(0.7)
    assert set(found[found.metric == "seconds"].value) == {12.5}


def test_means_of_the_lines_are_the_tables(fake, call):
    add_methods(fake, orders=4)
    wide = frame(call).pivot_table("value", ["bench", "order", "seed"], ["metric", "label"])
    found = wide.mean()
    assert found["acc", "janus"] == pytest.approx(0.615)
    assert found["acc", "seqlora"] == pytest.approx(0.715)


def test_all_columns_are_there_and_what_was_not_measured_is_nan(fake, call):
    fake.score_at_the_end_only(fake.add("joint"))
    found = frame(call, "--columns", "all").set_index("metric").value
    assert list(found.index) == list(comparison.COLUMNS)
    assert found["acc"] == pytest.approx(0.6) and pd.isna(found["bwt"])
    assert pd.isna(found["forward_transfer"])


def test_configurations_and_protocols_are_told_apart(fake, call):
    fake.add("janus", train__epochs=5, method__rank=4)
    fake.add("janus", train__epochs=8, method__rank=8)
    found = frame(call, "--allow", "epochs", "--columns", "acc")
    assert list(found.label) == ["janus[rank=4]", "janus[rank=8]"]
    assert found.protocol.str.contains("epochs").all() and found.protocol.nunique() == 2


def test_rows_stand_in_the_order_asked_for_and_a_missing_cell_is_told(fake, call):
    cells = add_methods(fake)
    fake.plan("first", [*cells, fake.cell("seqlora", order=9)])
    code, out, err = call("--format", "long", "--sweep", "first", "--methods", "seqlora,janus")
    assert code == 3 and "1 of 7 planned cells" in err
    labels = pd.read_csv(io.StringIO(out)).label
    assert list(dict.fromkeys(labels)) == ["seqlora", "janus"]


def test_blocks_that_lines_cannot_hold_are_said(fake, call):
    add_methods(fake)
    _, _, err = call("--format", "long", "--images", "--details", "--published")
    for option in ("--images", "--details", "--published"):
        assert f"{option}: not in the long format" in err


def test_an_endpoint_that_no_run_measured_is_said(fake, call):
    add_methods(fake)
    _, out, err = call("--endpoint", "acc,forward_transfer")
    assert "--endpoint: forward_transfer was not measured" in err and "points of ACC" in out
