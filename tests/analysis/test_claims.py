"""Claims: each pair of rows is tested as compare.py would, and says what it decides."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis import claims as command
from analysis.tables.paper_claims import FILE, PaperClaim, judge_claim, read_claims, sweeps_of
from janus.errors import ConfigError
from sweeps.spec.rows import rows as rows_of
from sweeps.spec.sweep_file import load_sweep as load_sweep

from .conftest import FakeStore

ROWS = {"oe": "seqlora", "none": "inflora"}
"""Rows of the made-up sweep, each with the method whose cells stand for it."""


def add(fake: FakeStore, shift: float, orders: int = 8) -> None:
    """A sweep `ablation` whose row `oe` is above `none` by `shift` in every order."""
    cells = []
    for order in range(orders):
        base = 0.6 + order / 100
        for row, method in ROWS.items():
            acc = base + (shift if row.startswith("oe") else 0) + order % 2 / 1000
            cells.append((f"janus[{row}]", fake.add(method, acc, order=order)))
    listed = [{"id": c.id, "title": c.title, "row": row} for row, c in cells]
    path = fake.plan("ablation", [])
    path.write_text(json.dumps({"name": "ablation", "command": None, "cells": listed}))


def one(expect: str = "more", metric: str = "acc") -> PaperClaim:
    """A claim with the one pair of the made-up sweep."""
    pair = ("janus[oe]", "janus[none]")
    return PaperClaim("x", "Table 1", "ablation", metric, expect, (pair,))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shift", "expect", "verdict"),
    [
        (0.02, "more", "holds"),
        (-0.02, "more", "contradicted"),
        (-0.02, "less", "holds"),
        (0.0, "more", "undecided"),
    ],
)
def test_a_pair_says_whether_the_claim_holds(
    fake: FakeStore, shift: float, expect: str, verdict: str
) -> None:
    add(fake, shift)
    found = judge_claim(one(expect), command.runs_by_row("ablation", [fake.root]))
    (difference,) = found.differences
    assert difference is not None and difference.n == 8
    assert difference.mean == pytest.approx(shift, abs=1e-9)
    assert found.verdict(difference) == verdict


def test_four_orders_decide_nothing_however_large_the_difference(fake: FakeStore) -> None:
    add(fake, 0.2, orders=4)
    found = judge_claim(one(), command.runs_by_row("ablation", [fake.root]))
    assert found.verdict(found.differences[0]) == "undecided"


def test_p_is_adjusted_over_the_pairs_of_the_claim(fake: FakeStore) -> None:
    add(fake, 0.02)
    rows = command.runs_by_row("ablation", [fake.root])
    pair = one().pairs[0]
    both = PaperClaim("x", "Table 1", "ablation", "acc", "more", (pair, pair[::-1]))
    assert [d.family for d in judge_claim(both, rows).differences if d] == [2, 2]


def test_a_diagnostic_is_averaged_over_tasks_blocks_and_projections(fake: FakeStore) -> None:
    add(fake, 0.0)
    for order in range(8):
        for method, high in (("seqlora", 0.1), ("inflora", 0.4)):
            cell = fake.cell(method, order=order)
            tasks = [
                {"task": 0},
                {"violation_past": [{"k": 0.0, "v": high}, {"k": high, "v": 0.0}]},
            ]
            fake.edit(cell, lambda r, tasks=tasks: r.update(diagnostics=tasks))
    rows = command.runs_by_row("ablation", [fake.root])
    (difference,) = judge_claim(one("less", "violation_past"), rows).differences
    assert difference is not None and difference.mean == pytest.approx(-0.15)


def test_the_page_has_a_sentence_and_a_table_and_says_what_was_not_run(
    fake: FakeStore, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    add(fake, 0.02)
    page = tmp_path / "claims.md"
    assert command.main(["--store", str(fake.root), "--out", str(page)]) == command.MISSING
    out = capsys.readouterr().out
    assert out == page.read_text()
    assert "### Online Estimation (oe) raises accuracy" in out
    assert "Of 1 pairs: holds in 1, contradicted in 0, undecided in 0. Not run: 5." in out
    assert "| `janus[oe]` - `janus[none]` | +2.00 [+2.00, +2.00] | 8 | 8/8 |" in out
    assert "Not run: `python -m sweeps run claims_one_epoch`." in out


def test_runs_on_two_benches_are_refused(
    fake: FakeStore, capsys: pytest.CaptureFixture[str]
) -> None:
    add(fake, 0.0, orders=2)
    path = fake.root / "sweeps" / "ablation.json"
    record = json.loads(path.read_text())
    other = fake.add("seqlora", order=0, bench="glyphs_styles")
    record["cells"].append({"id": other.id, "title": other.title, "row": "janus[oe]"})
    path.write_text(json.dumps(record))
    assert command.main(["--store", str(fake.root)]) == command.WRONG
    assert "several benches (glyphs, glyphs_styles)" in capsys.readouterr().err


def test_every_row_of_a_claim_is_a_row_of_its_sweep() -> None:
    names = {
        sweep: {row.label for row in rows_of(load_sweep(sweep, []).sweep)}
        for sweep in sweeps_of(read_claims())
    }
    for claim in read_claims():
        for pair in claim.pairs:
            assert set(pair) <= names[claim.sweep], claim.claim


def test_an_unknown_metric_is_refused_with_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(FILE.read_text().replace("metric: acc\n", "metric: acx\n"))
    with pytest.raises(ConfigError, match=r"unknown metric 'acx'.*acc"):
        read_claims(path)
