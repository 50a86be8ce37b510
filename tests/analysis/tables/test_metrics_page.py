"""docs/metrics.md: every column is defined, and what it says of other frameworks holds."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from analysis.tables import comparison
from janus import metrics

PAGE = Path(__file__).resolve().parents[3] / "docs" / "metrics.md"


def test_every_column_is_defined():
    names = "".join(re.findall(r"^\| (`.*?) \|", PAGE.read_text(), re.M))
    assert set(comparison.COLUMNS) <= set(re.findall(r"`(\w+)`", names))


@pytest.mark.parametrize("seed", range(3))
def test_what_other_frameworks_print_relates_to_ours_as_the_page_says(seed):
    """Six tasks of unequal size, the last row above all others for one of them."""
    rng = np.random.default_rng(seed)
    total = rng.integers(50, 100, 6).tolist()
    correct = [[int(rng.integers(0, n)) for n in total[: t + 1]] for t in range(6)]
    correct[-1][1] = total[1]
    ours = metrics.summarise(correct, total)
    rate = np.full((6, 6), np.nan)
    for t, row in enumerate(correct):
        rate[t, : t + 1] = np.array(row) / total[: t + 1]
    old, last = range(5), rate[-1]
    avalanche = np.mean([rate[j, j] - last[j] for j in old])
    assert avalanche == pytest.approx(-ours["bwt"])
    pilot = np.mean([np.nanmax(rate[:, j]) - last[j] for j in old])
    each = [np.nanmax(rate[:-1, j]) - last[j] for j in old]
    assert np.mean(each) == pytest.approx(ours["forgetting"])
    assert np.mean(np.maximum(each, 0)) == pytest.approx(pilot)
    assert pilot > ours["forgetting"] + 0.01
    seen = [sum(row) / sum(total[: len(row)]) for row in correct]
    assert np.mean(seen) == pytest.approx(ours["maa"])
