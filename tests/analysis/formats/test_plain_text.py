"""The printed forms: percentages, n in sight, `--` for what is missing, text fit for LaTeX."""

from __future__ import annotations

import csv
import io
import json

import pytest

from analysis.blocks import grid
from analysis.formats import csv_json, latex, plain_text
from analysis.pages import html
from analysis.runs import load, protocol
from analysis.tables import comparison, notes


@pytest.fixture
def small(fake) -> comparison.Table:
    """Janus ahead of seqlora on six orders of one bench, absent from the other bench."""
    for order in range(6):
        fake.add("janus", 0.65, order=order)
        fake.add("seqlora", 0.6 - order / 100, order=order)
    fake.add("seqlora", order=0, bench="glyphs_styles")
    runs = load.load_runs([fake.root]).runs
    labels = load.labels(runs)
    groups = protocol.split_by_protocol(runs, labels)
    return comparison.build_table(groups, labels, ["acc", "bwt"], "janus")


def test_text_is_aligned_with_n_and_dashes(small):
    assert plain_text.to_text(small).splitlines()[:9] == [
        "         glyphs                            glyphs_styles                average of 2",
        "method   n            ACC             BWT   n         ACC          BWT    ACC     BWT",
        "-------------------------------------------------------------------------------------",
        "seqlora  6   57.50 ± 1.87   -32.50 ± 1.87   1  60.00 ± --  -30.00 ± --  58.75  -31.25",
        "janus    6  65.00 ± 0.00*  -25.00 ± 0.00*  --          --           --     --      --",
        "",
        "Paired differences to janus, in points of ACC",
        "bench   method      difference   95 % interval  n    d_z       p  p (max-T)  wins",
        "---------------------------------------------------------------------------------",
    ]
    # 2.571 * 1.871 / root 6 on either side
    assert "seqlora  -7.50 ± 1.87*  [-9.46, -5.54]  6  -3.38  0.0312     0.0312   0/6" in (
        plain_text.to_text(small)
    )


def test_the_caption_says_what_is_starred_only_when_something_is(small, fake):
    assert "* behind a mean: better than every other row" in plain_text.to_text(small)
    runs = [run for run in load.load_runs([fake.root]).runs if run.bench == "glyphs_styles"]
    labels = load.labels(runs)
    one = comparison.build_table(protocol.split_by_protocol(runs, labels), labels, ["acc"])
    assert "every other row" not in plain_text.to_text(one)
    assert "one single order" in plain_text.to_text(one)


def test_markdown_rows_have_as_many_cells_as_the_header(small):
    text = plain_text.to_markdown(small)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    first = [line.count("|") for line in rows]
    assert first == [10] * 4 + [10] * 3
    assert "| janus | 6 | **65.00 ± 0.00** | **-25.00 ± 0.00** | -- | -- | -- | -- | -- |" in rows


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
    assert {row.count("&") for row in rows} == {8}


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
    rows = list(csv.DictReader(io.StringIO(csv_json.to_csv(small))))
    by_place = {(r["bench"], r["method"], r["metric"]): r for r in rows}
    assert len(rows) == len(by_place) == (2 + 1) * 2 * 2  # two benches and their average
    acc = by_place["glyphs", "seqlora", "acc"]
    assert float(acc["mean"]) == pytest.approx(0.575)
    assert float(acc["difference"]) == pytest.approx(-0.075)
    assert (acc["n"], acc["n_paired"], acc["wins"], acc["losses"]) == ("6", "6", "0", "6")
    assert float(acc["p"]) == float(acc["wilcoxon_p"]) == 2 / 64
    assert float(acc["p_maxt"]) == float(acc["p_holm"]) == 2 / 64
    assert (acc["family"], acc["interval_method"]) == ("1", "t")
    assert float(by_place["average", "seqlora", "acc"]["mean"]) == pytest.approx(0.5875)
    none = by_place["glyphs_styles", "janus", "acc"]
    assert (none["mean"], none["std"], none["n"], none["difference"]) == ("", "", "0", "")
    assert by_place["glyphs", "seqlora", "bwt"]["difference"] == ""


def test_json_holds_the_same_numbers(small):
    record = json.loads(csv_json.table_json(small))
    means = {(m["bench"], m["method"], m["metric"]): m for m in record["means"]}
    assert means["glyphs", "seqlora", "acc"]["mean"] == pytest.approx(0.575)
    assert means["glyphs_styles", "janus", "acc"]["mean"] is None
    (difference,) = record["differences"]
    assert difference["difference"] == pytest.approx(-0.075)
    assert difference["p_smallest"] == 2 / 64
    assert record["notes"] == notes.notes(small)
    assert (record["endpoints"], record["correction"]) == (["acc"], "maxt")


def test_json_holds_every_order_both_corrections_and_the_bootstrap_by_its_name(small):
    (difference,) = json.loads(csv_json.table_json(small))["differences"]
    expected = {str(order): -0.05 - order / 100 for order in range(6)}
    assert difference["by_unit"] == pytest.approx(expected)
    assert (difference["metric"], difference["p_maxt"], difference["p_holm"]) == ("acc",) + (
        2 / 64,
    ) * 2
    low, high = difference["interval_low"], difference["interval_high"]
    assert low < difference["bca_low"] < difference["bca_high"] < high
    assert "bca_low" not in csv_json.to_csv(small)


def test_an_endpoint_that_no_column_shows_has_its_line_in_the_exports(fake):
    for order in range(3):
        fake.add("janus", 0.6, order=order)
        fake.add("seqlora", 0.5 + order / 100, order=order)
    runs = load.load_runs([fake.root]).runs
    labels = load.labels(runs)
    groups = protocol.split_by_protocol(runs, labels)
    found = comparison.build_table(groups, labels, ["acc"], "janus", endpoints=["bwt"])
    rows = list(csv.DictReader(io.StringIO(csv_json.to_csv(found))))
    by_place = {(r["method"], r["metric"]): r for r in rows}
    assert by_place["seqlora", "acc"]["difference"] == ""
    assert float(by_place["seqlora", "bwt"]["difference"]) == pytest.approx(-0.09)
    assert float(by_place["seqlora", "bwt"]["mean"]) == pytest.approx(-0.39)
    (difference,) = json.loads(csv_json.table_json(found))["differences"]
    assert difference["metric"] == "bwt"
    assert "Paired differences to janus on glyphs, in points of BWT" in plain_text.to_text(found)


def test_a_metric_with_fewer_units_than_its_row_says_so(fake):
    for order in range(3):
        cell = fake.add("joint", order=order)
        if order:
            fake.score_at_the_end_only(cell)
    runs = load.load_runs([fake.root]).runs
    labels = load.labels(runs)
    groups = protocol.split_by_protocol(runs, labels)
    found = comparison.build_table(groups, labels, ["acc", "bwt"], None)
    assert "-30.00 ± -- (n=1)" in plain_text.to_text(found)


def test_a_narrow_terminal_gets_one_bench_below_the_other_and_loses_nothing(small, monkeypatch):
    shown = {}
    for width in ("60", "200"):
        monkeypatch.setenv("COLUMNS", width)
        stream = io.StringIO()
        plain_text.print_terminal(small, stream)
        shown[width] = stream.getvalue()
    assert shown["60"].count("57.50 ± 1.87") == shown["200"].count("57.50 ± 1.87") == 1
    assert shown["60"].splitlines()[0].strip() == "glyphs"
    assert shown["200"].splitlines()[0].split() == ["glyphs", "glyphs_styles", "average", "of", "2"]
    assert "…" not in shown["60"]


def test_p_values_are_never_printed_as_zero():
    assert notes.p_text(1e-7) == "<0.0001"
    assert notes.p_text(None) == "--"


def test_rounding_to_zero_leaves_no_sign():
    assert grid.number_text(-1e-6, comparison.COLUMNS["bwt"]) == "0.00"
    assert grid.signed(-1e-6, comparison.COLUMNS["bwt"]) == "+0.00"


def many(fake, benches, orders=6, correction="maxt"):
    for bench in benches:
        for order in range(orders):
            fake.add("janus", 0.6, order=order, bench=bench)
            fake.add("seqlora", 0.5 + order / 100, order=order, bench=bench)
    runs = load.load_runs([fake.root]).runs
    labels = load.labels(runs)
    columns = ["acc", "maa", "bwt", "learning_acc", "seconds", "memory", "kept"]
    groups = protocol.split_by_protocol(runs, labels)
    return comparison.build_table(groups, labels, columns, "janus", correction=correction)


def test_benches_that_are_too_wide_together_stand_below_each_other(fake):
    table = many(fake, ("glyphs", "glyphs_styles"))
    for text in (plain_text.to_text(table), plain_text.to_markdown(table)):
        assert max(len(line) for line in text.splitlines() if "seqlora" in line) < 160
    assert plain_text.to_markdown(table).count("| janus |") == 3  # the last: the average
    assert latex.to_latex(table).count("cmidrule") == 3
    titles = [grid.title for grid in grid.per_bench(table).grids]
    assert titles[:3] == ["glyphs", "glyphs_styles", "average"]
    assert titles[3].startswith("Paired differences")


def three_rows(fake, correction: str) -> comparison.Table:
    for order in range(6):
        for method, acc in (("janus", 0.7), ("inflora", 0.6), ("seqlora", 0.5)):
            fake.add(method, acc - order * acc / 100, order=order)
    runs = load.load_runs([fake.root]).runs
    labels = load.labels(runs)
    groups = protocol.split_by_protocol(runs, labels)
    return comparison.build_table(groups, labels, ["acc"], "janus", correction=correction)


@pytest.mark.parametrize(
    ("correction", "header", "p", "claim"),
    [
        ("maxt", "p (max-T)", "0.0312", "step-down max-T, which flips whole orders"),
        ("holm", "p (Holm)", "0.0625", "adjusted by Holm's method; the 2 tests of a bench"),
        ("none", "", "0.0312", "p is not corrected for their number (the 2 tests of a bench"),
    ],
)
def test_the_correction_is_named_and_decides_what_is_marked(fake, correction, header, p, claim):
    table = three_rows(fake, correction)
    (found,) = [g for g in grid.grids(table) if g.title]
    assert [h for h in found.header if h.startswith("p (")] == [header] * bool(header)
    assert [row[-2].value for row in found.rows] == [p, p]
    assert [row[1].strong for row in found.rows] == [p == "0.0312"] * 2
    text = plain_text.to_text(table)
    assert claim in text
    assert f"* behind a difference: {header or 'p'} < 0.05" in text
    assert ("no p (Holm) can fall below 0.05" in text) == (correction == "holm")


def test_every_format_says_what_each_mark_claims_and_how_it_was_tested(fake):
    table = three_rows(fake, "maxt")
    shown = {
        "text": plain_text.to_text(table),
        "markdown": plain_text.to_markdown(table),
        "latex": latex.to_latex(table).replace("$", "").replace("\\%", "%"),
        "json": csv_json.table_json(table),
        "report": html.block_html(grid.per_bench(table)),
    }
    for name, text in shown.items():
        for said in (
            "better than every other row of its column. Hypothesis: it is not better than at",
            "an intersection-union test",
            "Underlined, where the format can: the same test against every row but the",
            "two-sided sign-flip test. Hypothesis: in each order the difference is as likely",
            "the 2 tests of a bench, all rows in ACC, are one family",
            "95 % t interval of the mean",
        ):
            assert said in text, (name, said)
        assert ("behind a mean:" if name == "text" else "Bold mean:") in text


def test_latex_shows_what_differences_are_taken_to(small):
    shown = [line for line in latex.to_latex(small).splitlines() if not line.startswith("%")]
    assert any("Paired differences to janus" in line for line in shown)


def long_grid(rows: int, title: str = "") -> grid.Grid:
    body = tuple((grid.Text(f"row {i:03}"), grid.Text(f"{i} ± 0.50")) for i in range(rows))
    return grid.Grid(title, (("", 1), ("bench", 1)), ("method", "ACC"), body, words=1)


def test_long_tables_go_on_in_further_floats_of_one_number():
    block = grid.Block((long_grid(84), long_grid(30, "Differences")), ("A note.",))
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
    text = latex.table_of(grid.Block((long_grid(3),), notes), label="tab:x")
    inside, after = text.split(r"\end{table}")
    assert "note 0" not in inside and "Notes: in the text" in inside
    assert r"Notes on Table~\ref{tab:x}" in after and "note 89" in after


@pytest.mark.parametrize(
    ("plain", "shown"),
    [
        ("+0.12 ± 0.38", r"\num[print-implicit-plus]{+0.12 +- 0.38}"),
        ("+0.12 ± 0.00", r"\num[print-implicit-plus]{+0.12}${}\pm{}$\num{0.00}"),
        ("-0.12 ± 0.38", r"\num{-0.12 +- 0.38}"),
    ],
)
def test_latex_keeps_the_plus_of_a_difference(plain, shown):
    assert latex.cell_tex(grid.Text(plain)) == shown
