"""The folder for a paper: its files, the origin of each number, and LaTeX that compiles."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from analysis import figures, paper
from analysis.blocks import published_tables
from analysis.blocks.grid import Block, Grid, Text
from analysis.formats import latex
from analysis.pages import reproduce
from analysis.stats import across_benches


@pytest.fixture
def write(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(across_benches, "DRAWS", 20)  # the intervals are tested elsewhere
    monkeypatch.setattr(figures, "ONE_EACH", figures.ONE_EACH[:1])
    monkeypatch.setattr(figures, "draw_published", lambda: [])  # looked at in test_figures

    def call(*arguments: str) -> int:
        return paper.main(["--store", str(fake.root), "--out", str(tmp_path / "p"), *arguments])

    return call


def sweep(fake) -> list:
    cells = [
        fake.add(method, 0.5 + order / 50 + i / 10, order=order)
        for order in range(3)
        for i, method in enumerate(("janus", "seqlora"))
    ]
    fake.plan("first", cells)
    return cells


@pytest.mark.slow
def test_every_number_names_its_cells_and_commits(fake, write, tmp_path):
    cells = sweep(fake)
    assert write("--sweep", "first") == 0
    text = (tmp_path / "p/REPRODUCIBILITY.md").read_text()
    line = next(x for x in text.splitlines() if x.startswith("| glyphs | janus"))
    assert "52.00 ± 2.00" in line and "`abc`" in line and "3 orders" in line
    janus = {cell.id for cell in cells if cell.method.name == "janus"}
    assert set(re.findall(r"`([0-9a-f]{16})`", line)) == janus
    assert "python -m sweeps first" in text
    written = {path.name for path in (tmp_path / "p/tables").glob("*.tex")}
    assert all(
        f"`{name}`" in text or f"tables/{name}" in text or "published_" in name for name in written
    )
    for cell in cells:
        assert f"`{cell.id}` {cell.title}" in text
    assert text.count("python -m janus bench=glyphs") == len(cells) and reproduce.FILL_IN in text


@pytest.mark.slow
def test_ours_and_published_are_separate_files(fake, write, tmp_path):
    sweep(fake)
    write("--sweep", "first")
    names = {path.name for path in (tmp_path / "p/tables").glob("*.tex")}
    assert {"main.tex", "stability.tex", "cost.tex", "details.tex"} <= names
    assert {f"published_{layout.key}.tex" for layout in published_tables.LAYOUTS} <= names
    stability = (tmp_path / "p/tables/stability.tex").read_text()
    assert "mean $\\pm$ std" in stability and "Differences" not in stability
    inputs = re.findall(r"\\input\{tables/(.*?)\}", (tmp_path / "p/tables.tex").read_text())
    assert set(inputs) == names
    assert (tmp_path / "p/figures/glyphs_accuracy_after_task.pdf").exists()


@pytest.mark.slow
def test_a_missing_cell_is_written_down_and_exits_3(fake, write, tmp_path):
    cells = sweep(fake)
    lost = fake.cell("inflora", order=9)
    fake.plan("first", [*cells, lost])
    assert write("--sweep", "first") == 3
    text = (tmp_path / "p/REPRODUCIBILITY.md").read_text()
    assert "Incomplete: 1 planned cells" in text and lost.id in text


def test_published_tables_need_no_store(write, tmp_path):
    assert write("--store", "nowhere", "--published-only") == 0
    assert not (tmp_path / "p/REPRODUCIBILITY.md").exists()


def test_an_empty_store_exits_3(write):
    assert write() == 3


def compile_tex(folder, name: str) -> tuple[str, str]:
    """What pdflatex said and what stands on the pages."""
    assert shutil.which("pdflatex"), "this test needs texlive with booktabs, caption and siunitx"
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    command = ["pdftotext", "-layout", f"{name}.pdf", "-"]
    shown = subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout
    return done.stdout, shown.replace("−", "-")  # the minus that is printed


@pytest.mark.latex
def test_long_tables_break_over_pages_and_lose_no_row(tmp_path):
    rows = tuple((Text(f"row{i:03}"), *[Text("50.00 ± 0.10")] * 12) for i in range(84))
    spans = (("", 1), ("one", 4), ("two", 4), ("three", 4))
    grid = Grid("", spans, ("method", *["ACC"] * 12), rows, words=1)
    notes = tuple(f"Note {i} says what one side does not state." for i in range(20))
    body = latex.table_of(Block((grid, grid), notes), "Long.", "tab:long")
    (tmp_path / "long.tex").write_text(f"{latex.PREAMBLE}{body}\\end{{document}}")
    said, shown = compile_tex(tmp_path, "long")
    assert "Overfull" not in said and "Float too large" not in said
    assert all(shown.count(f"row{i:03}") == 2 for i in range(84))
    assert shown.count("Table 1: continued") >= 4 and "Table 2" not in shown


@pytest.mark.latex
def test_the_tables_compile_and_keep_every_digit(fake, write, tmp_path):
    sweep(fake)
    write("--sweep", "first")
    said, text = compile_tex(tmp_path / "p", "tables")
    assert "Overfull" not in said and "Float too large" not in said
    shown = re.sub(r" *± *", " ± ", text)
    assert "52.00 ± 2.00" in shown
    assert "12.5 ± 0.0" in shown  # seconds that never vary keep their zero
    for _, block in published_tables.all_tables():
        for row in block.grids[0].rows:
            name = next(line for line in shown.splitlines() if row[0].value in line)
            assert name
            for cell in row[1:]:
                assert cell.value in shown
    janus = next(x for x in shown.splitlines() if "Janus-LoRA" in x and "77.19" in x)
    digits = (
        "77.19 0.39 82.52 0.35 -6.71 0.50 75.78 0.16 81.64 0.27 -6.05 0.66 71.57 0.45 77.11 0.35 "
        "-5.77 0.46"
    )
    assert re.findall(r"-?[0-9]+[.][0-9]+", janus) == digits.split()
