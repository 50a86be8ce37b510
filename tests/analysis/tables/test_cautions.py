"""What is said under the table of rows that differ in more than the method."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.blocks import grid
from analysis.formats import csv_json, latex, plain_text
from analysis.pages import html
from analysis.runs import load, protocol
from analysis.tables import comparison


def made(
    device: str = "cpu A", torch: str = "2.9", commit: str = "a" * 40, janus: str = "0.1"
) -> dict[str, Any]:
    return {
        "numerics": [{"device": device, "torch": torch, "timm": "1.0", "threads": 1}],
        "packages": {"janus-lora": janus},
        "git": {"sha": commit, "dirty": False},
    }


def table(fake) -> comparison.Table:
    runs = load.load_runs([fake.root]).runs
    labels = load.labels(runs)
    groups = protocol.split_by_protocol(runs, labels)
    return comparison.build_table(groups, labels, ["acc"], "janus")


def test_rows_of_other_devices_versions_and_commits_are_named(fake):
    for order in range(2):
        fake.add("janus", order=order, provenance=made())
        other = made("gpu B", "2.1", "b" * 40, "0.2")
        fake.add("seqlora", 0.5 + order / 100, order=order, provenance=other)
    assert table(fake).cautions == (
        "Rows differ in their devices (runs of each): cpu A (janus: 2); gpu B (seqlora: 2).",
        "Rows differ in their versions of torch (runs of each): 2.1 (seqlora: 2); 2.9 (janus: 2).",
        "Rows differ in their versions of janus (runs of each): 0.1 (janus: 2); 0.2 (seqlora: 2).",
        "Rows differ in their commits (runs of each): aaaaaaaa (janus: 2); bbbbbbbb (seqlora: 2).",
    )


def test_orders_of_other_devices_are_no_difference_between_rows(fake):
    """Each order was run on a device of its own, for all rows: pairs are like for like."""
    for order, device in enumerate(("cpu A", "gpu B")):
        fake.add("janus", order=order, provenance=made(device))
        fake.add("seqlora", 0.5 + order / 100, order=order, provenance=made(device))
    assert table(fake).cautions == ()


def test_what_was_not_recorded_is_no_difference(fake):
    fake.add("janus", provenance=made())
    fake.add("seqlora", provenance={"seconds": 3.0})
    assert table(fake).cautions == ()


def test_a_run_that_went_on_elsewhere_names_both_devices(fake):
    moved = made()
    moved["numerics"].append(moved["numerics"][0] | {"device": "gpu B"})
    fake.add("janus", provenance=moved | {"resumed_under_other_numerics": True})
    fake.add("seqlora", provenance=made())
    assert table(fake).cautions == (
        "Rows differ in their devices (runs of each): cpu A (seqlora: 1); cpu A then gpu B "
        "(janus: 1).",
        "1 of 2 runs: resumed under other hardware or versions.",
    )


def test_unbalanced_seeds_are_said_where_they_move_the_means(fake):
    """Janus' second seed is 4 points better: the means differ by 2, the pairs by 4."""
    for order in range(3):
        fake.add("janus", 0.60 + order / 100, order=order, seed=0)
        fake.add("janus", 0.64 + order / 50, order=order, seed=1)
        fake.add("seqlora", 0.62 + order / 100, order=order, seed=1)
    (said,) = table(fake).cautions
    assert said == (
        "glyphs: rows have other seeds in the same order (seeds an order: janus 2, seqlora 1), so "
        "their means are not like for like; the paired differences are."
    )


def test_equally_many_but_other_seeds_are_said(fake):
    for order in range(2):
        for seed in (0, 1):
            fake.add("janus", 0.6 + order / 100, order=order, seed=seed)
            fake.add("seqlora", 0.5 + order / 50, order=order, seed=seed + 1)
    assert any("rows have other seeds" in note for note in table(fake).cautions)


def test_balanced_seeds_and_missing_orders_are_no_matter_of_seeds(fake):
    for order in range(3):
        for seed in (0, 1):
            fake.add("janus", 0.6 + order / 100, order=order, seed=seed)
            if order:
                fake.add("seqlora", 0.5 + order / 50, order=order, seed=seed)
    assert table(fake).cautions == ()


@pytest.mark.parametrize("form", ["text", "markdown", "latex", "json", "report"])
def test_intervals_without_width_and_all_else_stand_in_every_format(fake, form):
    for order in range(3):
        fake.add("janus", 0.6 + order / 100, order=order, provenance=made())
        fake.add("seqlora", 0.58 + order / 100, order=order, provenance=made("gpu B"))
    found = table(fake)
    (difference,) = found.differences
    assert difference.interval.low == difference.interval.high
    assert found.cautions[-1] == (
        "Intervals without width: all differences are equal (seqlora on glyphs), so the data say "
        "nothing about how they vary."
    )
    shown = {
        "text": plain_text.to_text,
        "markdown": plain_text.to_markdown,
        "latex": latex.to_latex,
        "json": csv_json.table_json,
        "report": lambda found: html.block_html(grid.per_bench(found)),
    }[form](found)
    for caution in found.cautions:
        assert caution in shown


def test_many_rows_are_counted_and_not_listed(fake):
    for index, method in enumerate(("inflora", "l2p", "ncm", "olora", "ranpac", "seqlora")):
        fake.add(method, provenance=made("cpu A" if index else "gpu B"))
    (said,) = [note for note in table(fake).cautions if "devices" in note]
    assert said.count(":") == 1 + 1 + 4  # the sentence's, the one on gpu B, four on cpu A
    assert "and 1 more" in said


def test_equally_many_but_other_orders_are_said(fake):
    for order in range(3):
        fake.add("janus", 0.60 + order / 100, order=order)
        fake.add("seqlora", 0.62 + order / 90, order=order + 1)
    assert table(fake).cautions == (
        "glyphs: rows have equally many, but other orders (janus, seqlora), so their means are not "
        "like for like; the paired differences are.",
    )
