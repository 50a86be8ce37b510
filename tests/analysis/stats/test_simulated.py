"""The simulated figures in docs/compare.md: kept ones, and still what the code gives."""

from __future__ import annotations

import json
import math

import pytest

from tests.analysis import simulate

KEPT = json.loads(simulate.KEPT.read_text())


def kept(part: str, **fields: object) -> dict[str, float]:
    (found,) = [row for row in KEPT[part] if fields.items() <= row.items()]
    return found


def close(found: float, expected: float, draws: int) -> bool:
    """Within four standard errors of a share of so many draws."""
    return abs(found - expected) <= 4 * math.sqrt(max(expected * (1 - expected), 0.01) / draws)


def test_the_page_shows_the_kept_figures():
    assert simulate.shown() == simulate.tables(KEPT)


def test_intervals_cover_as_the_page_says():
    for shape in ("normal", "skewed"):
        found = simulate.coverage(shape, 3, draws=100)
        expected = kept("coverage", shape=shape, n=3)
        assert close(found["t"], expected["t"], 100)
        assert close(found["bca"], expected["bca"], 100)
    found = simulate.average("normal", 5, draws=600)
    assert close(found["t"], kept("average", shape="normal", n=5)["t"], 600)


@pytest.mark.parametrize(("n", "k"), [(6, 10), (10, 3)])
def test_corrections_find_as_much_as_the_page_says(n, k):
    found = simulate.families("normal", n, k, draws=150)
    for name, expected in kept("families", shape="normal", n=n, k=k).items():
        if name not in ("shape", "n", "k"):
            assert close(found[name], expected, 150), name


def test_what_the_page_says_of_its_tables_holds():
    for row in KEPT["coverage"]:
        assert row["bca"] < row["t"]
        assert row["shape"] == "skewed" or abs(row["t"] - 0.95) < 4 * 0.005
    for row in KEPT["families"]:
        found = [row[name] for name in row if "_" in name]
        if row["n"] < 6:
            assert not any(found)  # nothing is ever found below 6 orders
        elif row["shape"] == "normal":
            assert max(row["maxt_null"], row["maxt_wrong"]) < 0.05 + 4 * 0.005
            assert row["maxt_power"] >= row["holm_power"]
        if row["n"] == 6:
            assert row["holm_power"] == 0  # two rows or more
    skewed = [row for row in KEPT["families"] if row["shape"] == "skewed"]
    worst = max(max(row["maxt_null"], row["maxt_wrong"]) for row in skewed)
    assert f"the errors of max-T grow to {worst:.2f}" in simulate.PAGE.read_text()
    gain = {row["spread"]: row["standardised"] - row["mean"] for row in KEPT["statistics"]}
    assert gain["unequal"] > 0.03 and gain["equal"] < 0
