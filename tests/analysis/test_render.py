"""The printed forms: percentages, n in sight, `--` for what is missing, text fit for LaTeX."""

from __future__ import annotations

import csv
import io
import json

import pytest

from analysis import export, latex, load, protocol, render, tables


@pytest.fixture
def small(fake) -> tables.Table:
    """Janus ahead of seqlora on six orders of one bench, absent from the other bench."""
    for order in range(6):
        fake.add("janus", 0.65, order=order)
        fake.add("seqlora", 0.6 - order / 100, order=order)
    fake.add("seqlora", order=0, bench="glyphs_styles")
    runs = load.load([fake.root]).runs
    labels = load.labels(runs)
    groups = protocol.split_by_protocol(runs, labels)
    return tables.build(groups, labels, ["acc", "bwt"], "janus")


def test_text_is_aligned_with_n_and_dashes(small):
    assert render.to_text(small).splitlines()[:9] == [
        "         glyphs                            glyphs_styles",
        "method   n            ACC             BWT   n         ACC          BWT",
        "----------------------------------------------------------------------",
        "seqlora  6   57.50 ± 1.87   -32.50 ± 1.87   1  60.00 ± --  -30.00 ± --",
        "janus    6  65.00 ± 0.00*  -25.00 ± 0.00*  --          --           --",
        "",
        "Paired differences to janus, in points of ACC",
        "bench   method      difference   95 % interval  n      g       p  p (Holm)   min p  wins",
        "----------------------------------------------------------------------------------------",
    ]
    assert "seqlora  -7.50 ± 1.87*  [-8.83, -6.17]  6  -3.38  0.0312    0.0312  0.0312   0/6" in (
        render.to_text(small)
    )


def test_the_caption_says_what_is_starred_only_when_something_is(small, fake):
    assert "*: better than every other row" in render.to_text(small)
    runs = [run for run in load.load([fake.root]).runs if run.bench == "glyphs_styles"]
    labels = load.labels(runs)
    one = tables.build(protocol.split_by_protocol(runs, labels), labels, ["acc"])
    assert "every other row" not in render.to_text(one)
    assert "one single order" in render.to_text(one)


def test_markdown_rows_have_as_many_cells_as_the_header(small):
    text = render.to_markdown(small)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    first = [line.count("|") for line in rows]
    assert first == [8] * 4 + [11] * 3
    assert "| janus | 6 | **65.00 ± 0.00** | **-25.00 ± 0.00** | -- | -- | -- |" in rows


def test_latex_is_balanced_and_escaped(small):
    text = latex.to_latex(small)
    for name in ("table", "tabular"):
        assert text.count(f"\\begin{{{name}}}") == text.count(f"\\end{{{name}}}")
    assert text.count("{") - text.count("\\{") == text.count("}") - text.count("\\}")
    assert r"\multicolumn{3}{c}{glyphs\_styles}" in text
    assert (
        r"janus & \num{6} & \textbf{\num{65.00}${}\pm{}$\num{0.00}} & "
        r"\textbf{\num{-25.00}${}\pm{}$\num{0.00}} & --" in text
    )
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\") and "multicol" not in line]
    assert {row.count("&") for row in rows} == {6}


@pytest.mark.parametrize(
    ("plain", "tex"),
    [
        ("janus[margin_weight=-1]", r"janus[margin\_weight=$-$1]"),
        ("50 % & more #1", r"50 \% \& more \#1"),
        ("--", "--"),
        ("a-1", "a-1"),
        ("[-1.20, +3]", "[$-$1.20, +3]"),
    ],
)
def test_latex_text(plain, tex):
    assert latex.tex(plain) == tex


def test_csv_holds_fractions_and_leaves_missing_values_empty(small):
    rows = list(csv.DictReader(io.StringIO(export.to_csv(small))))
    by_place = {(r["bench"], r["method"], r["metric"]): r for r in rows}
    assert len(rows) == len(by_place) == 2 * 2 * 2
    acc = by_place["glyphs", "seqlora", "acc"]
    assert float(acc["mean"]) == pytest.approx(0.575)
    assert float(acc["difference"]) == pytest.approx(-0.075)
    assert (acc["n"], acc["n_paired"], acc["wins"], acc["losses"]) == ("6", "6", "0", "6")
    assert float(acc["p"]) == float(acc["wilcoxon_p"]) == 2 / 64
    none = by_place["glyphs_styles", "janus", "acc"]
    assert (none["mean"], none["std"], none["n"], none["difference"]) == ("", "", "0", "")
    assert by_place["glyphs", "seqlora", "bwt"]["difference"] == ""


def test_json_holds_the_same_numbers(small):
    record = json.loads(export.to_json(small))
    means = {(m["bench"], m["method"], m["metric"]): m for m in record["means"]}
    assert means["glyphs", "seqlora", "acc"]["mean"] == pytest.approx(0.575)
    assert means["glyphs_styles", "janus", "acc"]["mean"] is None
    (difference,) = record["differences"]
    assert difference["difference"] == pytest.approx(-0.075)
    assert difference["p_smallest"] == 2 / 64
    assert record["notes"] == render.notes(small)


def test_a_metric_with_fewer_units_than_its_row_says_so(fake):
    for order in range(3):
        cell = fake.add("joint", order=order)
        if order:
            fake.score_at_the_end_only(cell)
    runs = load.load([fake.root]).runs
    labels = load.labels(runs)
    groups = protocol.split_by_protocol(runs, labels)
    found = tables.build(groups, labels, ["acc", "bwt"], None)
    assert "-30.00 ± -- (n=1)" in render.to_text(found)


def test_a_narrow_terminal_gets_one_bench_below_the_other_and_loses_nothing(small, monkeypatch):
    shown = {}
    for width in ("60", "200"):
        monkeypatch.setenv("COLUMNS", width)
        stream = io.StringIO()
        render.print_terminal(small, stream)
        shown[width] = stream.getvalue()
    assert shown["60"].count("57.50 ± 1.87") == shown["200"].count("57.50 ± 1.87") == 1
    assert shown["60"].splitlines()[0].strip() == "glyphs"
    assert shown["200"].splitlines()[0].split() == ["glyphs", "glyphs_styles"]
    assert "…" not in shown["60"]


def test_p_values_are_never_printed_as_zero():
    assert render.p_text(1e-7) == "<0.0001"
    assert render.p_text(None) == "--"


def test_rounding_to_zero_leaves_no_sign():
    assert render.number(-1e-6, tables.METRICS["bwt"]) == "0.00"
    assert render.points(-1e-6) == "+0.00"


def many(fake, benches, orders=6):
    for bench in benches:
        for order in range(orders):
            fake.add("janus", 0.6, order=order, bench=bench)
            fake.add("seqlora", 0.5 + order / 100, order=order, bench=bench)
    runs = load.load([fake.root]).runs
    labels = load.labels(runs)
    columns = ["acc", "maa", "bwt", "learning_acc", "seconds", "memory", "kept"]
    return tables.build(protocol.split_by_protocol(runs, labels), labels, columns, "janus")


def test_benches_that_are_too_wide_together_stand_below_each_other(fake):
    table = many(fake, ("glyphs", "glyphs_styles"))
    for text in (render.to_text(table), render.to_markdown(table)):
        assert max(len(line) for line in text.splitlines() if "seqlora" in line) < 160
    assert render.to_markdown(table).count("| janus |") == 2
    assert latex.to_latex(table).count("cmidrule") == 2


def test_a_family_too_large_for_its_orders_is_said(fake):
    text = render.to_text(many(fake, ("glyphs", "glyphs_styles")))
    assert "With 2 tests and 6 units no p (Holm) can fall below 0.05" in text
    assert "the first needs 7 units" in text
    assert "Holm over the table's 2 tests; " in text


def test_latex_shows_what_differences_are_taken_to(small):
    shown = [line for line in latex.to_latex(small).splitlines() if not line.startswith("%")]
    assert any("Paired differences to janus" in line for line in shown)


def long_grid(rows: int, title: str = "") -> render.Grid:
    body = tuple((render.Text(f"row {i:03}"), render.Text(f"{i} ± 0.50")) for i in range(rows))
    return render.Grid(title, (("", 1), ("bench", 1)), ("method", "ACC"), body, words=1)


def test_long_tables_go_on_in_further_floats_of_one_number():
    block = render.Block((long_grid(84), long_grid(30, "Differences")), ("A note.",))
    text = latex.table_of(block, "Ours.", "tab:ours")
    floats = text.split(r"\end{table}")[:-1]
    assert [r"\ContinuedFloat" in part for part in floats] == [False, True, True, True]
    assert all(part.count(r" \\") <= latex.PAGE for part in floats)
    assert all("method & ACC" in part for part in floats)
    assert [text.count(f"row {i:03}") for i in (0, 29, 30, 83)] == [2, 2, 1, 1]
    assert (text.count(r"\label{tab:ours}"), text.count("A note."), text.count("Ours.")) == (
        1,
        1,
        1,
    )


def test_a_grid_does_not_begin_with_two_rows_at_the_foot_of_a_page():
    pages = latex._pages((long_grid(30), long_grid(20, "next")), latex.PAGE - 1)
    assert [[len(grid.rows) for grid in page] for page in pages] == [[30], [20]]


def test_notes_that_would_fill_a_page_become_text():
    notes = tuple(f"note {i} of something published and not stated here" for i in range(90))
    text = latex.table_of(render.Block((long_grid(3),), notes), label="tab:x")
    inside, after = text.split(r"\end{table}")
    assert "note 0" not in inside and "Notes: in the text" in inside
    assert r"Notes on Table~\ref{tab:x}" in after and "note 89" in after
