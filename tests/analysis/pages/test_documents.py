"""Figures of documents: committed results, and the parts of pages that are made of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from analysis import compare
from analysis.runs import committed
from docs.figures import ablation, rooms, scale, speed, zoo
from docs.figures.__main__ import ROOT, SWEEPS, blocks, filled, pages, take
from docs.figures.fill import PART, fill, outside
from docs.figures.records import opened, read
from docs.figures.tables import blocks_of, protocol, table
from janus.errors import ConfigError
from sweeps.spec.rows import rows
from sweeps.spec.sweep_file import load_sweep as load_sweep
from sweeps.spec.sweep_file import sweep_names

FIGURE = re.compile(r"\d+\.\d+|\d+ ?%|±|\bx\d")
"""What looks measured: decimals, per cent, deviations, ratios."""


@pytest.fixture(scope="module")
def found():
    with opened() as results:
        yield results


def test_every_page_holds_what_the_records_give(found):
    texts = {**filled(blocks(found)), rooms.FILE: rooms.picture()}
    shown = {"zoo.md", "ablation.md", "speed.md", "compare.md", "api.md", "rooms.svg"}
    assert {page.name for page in texts} >= shown
    for page, text in texts.items():
        assert page.read_text() == text, f"{page.name}: run `make docs` and commit what it writes"


def test_a_figure_edited_by_hand_is_noticed(found):
    page = (ROOT / "docs/zoo.md").read_text()
    part = next(p for p in PART.finditer(page) if p["name"] == "zoo_values")
    digit = page.index(" rows were tuned", part.start()) - 1
    edited = page[:digit] + ("1" if page[digit] != "1" else "2") + page[digit + 1 :]
    assert edited != page and fill(edited, blocks(found)) == page


@pytest.mark.parametrize("name", ["zoo.md", "ablation.md", "speed.md", "scale.md"])
def test_no_figure_stands_outside_the_marked_parts(name):
    written_by_hand = outside((ROOT / "docs" / name).read_text())
    lines = [line for line in written_by_hand.splitlines() if FIGURE.search(line)]
    assert not lines, f"{name}: generate these figures, or leave them out"


def test_every_sweep_that_a_page_shows_ships_and_every_block_is_shown(found):
    assert set(SWEEPS) <= set(sweep_names())
    shown = {part["name"] for page in pages() for part in PART.finditer(page.read_text())}
    assert shown == set(blocks(found))


def test_a_mark_without_its_counterpart_and_an_unknown_name_are_refused():
    part = "<!-- begin: a -->\nold\n<!-- end: a -->\n"
    assert fill(part, {"a": lambda: "new"}) == part.replace("old", "new")
    with pytest.raises(ConfigError, match="Did you mean 'table'"):
        fill(part.replace(": a", ": tabel"), {"table": lambda: ""})
    for mark in ("<!-- begin: a -->", "<!-- end: a -->", "<!-- end: b -->"):
        with pytest.raises(ConfigError, match=f"counterpart: {mark}"):
            fill(f"{part}{mark}\n", {"a": lambda: ""})


def test_marks_of_other_commands_are_left_alone():
    text = "<!-- simulated: coverage -->\n| 0.5 |\n<!-- end -->\n"
    assert fill(text, {}) == text


# ---- committed results --------------------------------------------------------------------------
def sweep_of(fake, name, cells):
    """The list of a sweep: {row: cells}."""
    listed = [
        {"id": cell.id, "title": cell.title, "row": row, "protocol": "unified"}
        for row, found in cells.items()
        for cell in found
    ]
    path = fake.plan(name, [])
    path.write_text(json.dumps({"name": name, "command": "/home/me/python", "cells": listed}))


def zoo_like(fake, **means):
    """A sweep `zoo_glyphs` with these rows: {row: accuracies in percent, one an order}."""
    cells = {}
    for row, values in means.items():
        method, _, variant = row.partition("__")
        fields = {"method__variant": variant} if variant else {}
        cells[f"{method}[{variant}]" if variant else method] = [
            fake.add(method, value / 100, order=order, **fields)
            for order, value in enumerate(values)
        ]
    sweep_of(fake, "zoo_glyphs", cells)
    return cells


def test_a_sweep_is_packed_whole_and_gives_the_same_table_again(fake, tmp_path, capsys):
    zoo_like(fake, seqlora=[60, 61, 63], janus=[62, 64, 65])
    words = ["--sweep", "zoo_glyphs", "--format", "json", "--columns", "acc,seconds,kept"]
    assert compare.main(["--store", str(fake.root), *words]) == 0
    before = capsys.readouterr().out
    path = committed.pack(fake.root, "zoo_glyphs", tmp_path)
    packed = path.read_bytes()
    assert committed.pack(fake.root, "zoo_glyphs", tmp_path).read_bytes() == packed
    committed.unpack_results(tmp_path, committed.committed_sweeps(tmp_path), tmp_path / "again")
    assert compare.main(["--store", str(tmp_path / "again"), *words]) == 0
    assert capsys.readouterr().out == before


def test_a_packed_sweep_names_no_machine_and_rounds_diagnostics(fake, tmp_path):
    (cell,) = zoo_like(fake, janus=[60])["janus"]
    fake.edit(cell, lambda r: r.update(diagnostics=[{"danger": 0.123456, "k": [1.5, 7]}, None]))
    run = fake.store.run_dir(cell.id)
    (path,) = run.glob("attempts/*/provenance.json")
    path.write_text(json.dumps({"host": "mine", "platform": "x", "seconds": 1.0}))
    committed.pack(fake.root, "zoo_glyphs", tmp_path)
    head, line = committed._lines(tmp_path / "zoo_glyphs.jsonl.gz")
    assert head["command"] == "python -m sweeps run zoo_glyphs"
    assert line["provenance"] == {"seconds": 1.0}
    assert line["diagnostics"] == [{"danger": 0.1235, "k": [1.5, 7]}, None]


def test_half_a_sweep_is_not_taken_over(fake, tmp_path):
    cells = zoo_like(fake, seqlora=[60, 61], janus=[62, 64])
    fake.path(cells["janus"][1]).unlink()
    with pytest.raises(ConfigError, match=r"1 of 4 cells of zoo_glyphs have no result.*order=1"):
        take([fake.root], tmp_path)
    assert committed.committed_sweeps(tmp_path) == []
    sweep_of(fake, "zoo_glyphs", {"seqlora": cells["seqlora"]})
    assert take([fake.root], tmp_path) == ["zoo_glyphs"]


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "smoke.jsonl.gz").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"smoke\.jsonl\.gz"):
        committed.unpack_results(tmp_path, ["smoke"], tmp_path / "store")


# ---- sentences ----------------------------------------------------------------------------------
def test_a_sweep_without_results_says_so_and_how_to_run_it():
    made = blocks_of({}, "zoo_glyphs", {"protocol": protocol, "table": table()})
    assert "python -m sweeps run zoo_glyphs" in made["zoo_glyphs protocol"]()
    assert made["zoo_glyphs table"]() == "*Not run at this revision.*"


def test_rows_of_another_revision_are_named_below_the_table(fake):
    zoo_like(fake, seqlora=[60, 61, 63], janus=[62, 64, 65])
    results = read(fake.root, "zoo_glyphs")
    assert results.other == ("seqlora", "janus")  # three tasks: no cell that the sweep plans
    assert "inflora" in results.absent
    shown = table()(results)
    assert "| janus | 3 | 63.67 ± 1.53 |" in shown
    assert "Other cells than the sweep plans at this revision: seqlora and janus." in shown


def test_the_zoo_says_what_its_records_say(fake):
    zoo_like(
        fake,
        seqlora=[60.0, 61.0],
        sd_lora=[58.0, 55.0],
        linear_probe=[60.5, 60.5],
        joint=[70.0, 71.0],
        joint_probe=[69.0, 69.0],
        ranpac=[80.0, 10.0],
        slca=[75.0, 76.0],
        sd_lora_kd=[58.0, 55.0],
    )
    results = read(fake.root, "zoo_glyphs")
    text = zoo.findings(results)
    assert "A linear probe on the frozen features has 60.50." in text
    assert "Of the 3 LoRA rows with one linear head a task 0 have a higher mean" in text
    assert "from -4.00 (`sd_lora`) to +0.00 (`seqlora`)" in text
    assert "Joint training has 70.50, a joint linear probe 69.00; above it: `slca`." in text
    assert "`ranpac`: standard deviation 49.50, lowest 10.00, highest 80.00" in text
    assert "The same ACC in every order: `sd_lora` and `sd_lora_kd`." in text
    lines = zoo.groups(results).splitlines()
    assert any("| 3 | 56.50 (`sd_lora`) to 60.50 (`seqlora`) |" in line for line in lines)
    assert any("| 2 | 45.00 (`ranpac`) to 75.50 (`slca`) |" in line for line in lines)


def test_every_row_of_the_zoo_is_in_one_group():
    grouped = [row for members in zoo.GROUPS.values() for row in members]
    planned = [row.label for row in rows(load_sweep("zoo_glyphs", []).sweep)]
    assert sorted(grouped) == sorted(planned)


def test_the_edges_of_a_tuning_grid_are_counted(tmp_path):
    path = tmp_path / "values.yaml"
    path.write_text(
        "# ncm  : 79.50\n"
        "# a  [lr=1e-3,head_lr=0.1]: 50.00, [lr=1e-3,head_lr=0.2]: 60.00, "
        "[lr=2e-3,head_lr=0.1]: 51.00, [lr=2e-3,head_lr=0.2]: 55.00\n"
        "# b  [x,lr=1e-3,head_lr=0.1]: 50.00, [x,lr=2e-3,head_lr=0.1]: 60.00, "
        "[x,lr=3e-3,head_lr=0.1]: 59.00\n"
    )
    text = zoo.tuning(path)
    assert "2 rows were tuned, with 3 or 4 candidates each." in text
    assert "(lr) the lowest value tried won in 1 of 2 rows and the highest in 0" in text
    assert "(head_lr) the lowest value tried won in 0 of 1 rows and the highest in 1" in text
    assert "by +9.00 (`a`) to +9.00 (`a`) points" in text


def ablation_like(fake, **means):
    """A sweep `ablation` with these rows; settings that no row shares make cells of their own."""
    cells = {
        f"janus[{row.replace('_', '+')}]": [
            fake.add("janus", value / 100, order=order, method__margin=0.01 * number)
            for order, value in enumerate(values)
        ]
        for number, (row, values) in enumerate(means.items())
    }
    sweep_of(fake, "ablation", cells)
    return read(fake.root, "ablation")


def test_the_ablation_says_what_its_records_say(fake):
    results = ablation_like(
        fake,
        none=[60.0, 62.0],
        dml=[60.5, 62.5],
        gr=[61.0, 63.0],
        oe=[63.0, 65.0],
        oe_dml=[64.0, 66.0],
        oe_gr=[63.5, 65.5],
        all=[65.0, 61.0],
    )
    text = ablation.findings(results)
    assert "by +0.50 (`janus[dml]`) to +4.00 (`janus[oe+dml]`) points of ACC" in text
    assert "standard deviation of 1.41. `janus[all]` is above it in 1 of 2 orders." in text
    assert "Of their 21 pairs 4 stand the other way round:" in text
    assert "`janus[oe+dml]` and `janus[oe+gr]`" in text  # the paper has 73.61 and 74.39
    assert "`janus[all]`, has place 4 here." in text


def test_the_paper_has_its_own_order_of_rows():
    printed = ablation._published()
    assert printed["janus[oe+dml]"] < printed["janus[oe+gr]"] < printed["janus[all]"]
    assert len(printed) == 7


def test_every_row_of_the_ablation_is_tuned_with_the_same_number_of_configurations():
    text = ablation.budget("ablation_tuning")
    assert re.findall(r"(\d+) for `", text) == ["9"]
    assert "scored on validation images" in text


def test_winners_are_the_best_configurations_and_edges_and_values_in_use_are_named(fake):
    own = {"lr": 3e-4, "head_lr": 5e-3}  # janus/conf/method/janus.yaml, on glyphs
    values = {
        "none,lr=1e-4": (60, {"lr": 1e-4}),
        "none,lr=3e-4": (62, {"lr": 3e-4}),
        "none,lr=1e-3": (61, {"lr": 1e-3}),
        "all,lr=3e-4": (65, {"lr": 3e-4}),
        "all,lr=1e-3": (66, {"lr": 1e-3}),
    }
    cells = {}
    for row, (acc, changes) in values.items():
        part = row.partition(",")[0] == "all"
        fields = {f"method__{k}": v for k, v in (own | changes).items()}
        cells[f"janus[{row}]"] = [fake.add("janus", acc / 100, method__rectify=part, **fields)]
    sweep_of(fake, "ablation_tuning", cells)
    text = ablation.winners(read(fake.root, "ablation_tuning"))
    assert "| `janus[none]` | lr=3e-4 | 62.00 |" in text
    assert "| `janus[all]` | lr=1e-3 | 66.00 |" in text
    assert "are not the winners of `janus[all]` (lr=0.0003 in use)." in text
    assert text.endswith("At an edge of its grid: the highest lr tried won in 1 of 2 rows.")


# ---- counts and timings -------------------------------------------------------------------------
@pytest.mark.slow
def test_the_calls_and_the_simulated_site_are_those_of_the_committed_figures():
    """In a process of its own: counting replaces functions of `os`."""
    command = [sys.executable, "-m", "tests.perf.big_site", "--first"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    committed_figures = json.loads(scale.FIGURES.read_text())
    told = "run: python -m tests.perf.big_site --json && make docs"
    assert found["calls"] == committed_figures["calls"], told
    assert found["row"] == pytest.approx(committed_figures["rows"][0]), told


def test_ratios_of_steps_are_those_of_the_committed_figures():
    rows = json.loads(speed.FIGURES.read_text())["rows"]
    ours, theirs = (rows[f"base/bf16/{name}"]["seconds"] for name in ("janus", "seqlora"))
    first = speed.findings().splitlines()[2]
    assert first.split(" | ")[:3] == ["| Janus-LoRA over SeqLoRA", "x1.05", f"x{ours / theirs:.2f}"]
