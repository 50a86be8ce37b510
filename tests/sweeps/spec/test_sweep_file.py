"""Sweep files and command lines: what they mean, and what is said when they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from janus.errors import ConfigError
from sweeps.spec.plan import plan
from sweeps.spec.sweep_file import expand_orders, expand_seeds, load_sweep


def test_smoke_compares_three_methods_over_four_orders() -> None:
    cells = plan(load_sweep("smoke", []).sweep).cells
    assert {cell.method.name for cell in cells} == {"seqlora", "inflora", "janus"}
    assert {cell.order for cell in cells} == {"0", "1", "2", "3"}
    assert len(cells) == 12


@pytest.mark.parametrize(("suffix", "lifetime"), [("", "task"), (",carried", "carried")])
def test_the_ablation_has_the_seven_rows_of_the_paper(suffix: str, lifetime: str) -> None:
    names = ("estimate", "rectify", "margin_loss")
    switches = {
        planned.row.removeprefix("janus[").removesuffix(f"{suffix}]"): tuple(
            planned.cell.method.values[name] for name in names
        )
        for planned in plan(load_sweep("ablation", []).sweep).entries
        if planned.cell.method.values["lifetime"] == lifetime
    }
    assert switches == {
        "none": (False, False, False),
        "dml": (False, False, True),
        "oe": (True, False, False),
        "gr": (False, True, False),
        "oe+gr": (True, True, False),
        "oe+dml": (True, False, True),
        "all": (True, True, True),
    }


def test_ablation_seeds_reuses_the_cells_of_the_ablation() -> None:
    ablation = {cell.id for cell in plan(load_sweep("ablation", []).sweep).cells}
    seeds = plan(load_sweep("ablation_seeds", []).sweep).cells
    assert len(seeds) == 2 * 2 * 3
    assert all(cell.id in ablation for cell in seeds if cell.seed == 0)


def test_overrides_reach_the_sweep_and_the_cells() -> None:
    words = "methods=seqlora,janus orders=[natural,1] seeds=2 train.epochs=3 method.rank=4,8"
    request = load_sweep("smoke", [*words.split(), "workers=2", "store=elsewhere"])
    cells = plan(request.sweep).cells
    assert len(cells) == 2 * 2 * 2 * 2
    assert {cell.train.epochs for cell in cells} == {3}
    assert {cell.method.values["rank"] for cell in cells} == {4, 8}
    assert (request.workers, request.store) == (2, Path("elsewhere").resolve())


def test_where_and_how_to_run_changes_no_cell() -> None:
    here = plan(load_sweep("smoke", ["workers=1", "store=a", "device=cpu"]).sweep).cells
    there = plan(load_sweep("smoke", ["workers=7", "store=b", "device=cuda"]).sweep).cells
    assert [cell.id for cell in here] == [cell.id for cell in there]


def test_a_sweep_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "methods: [janus]\norders: [natural]\ngrid: {method.lr: [1e-3, 0.01]}\n"
        "fixed: {train.epochs: 2}\n"
    )
    cells = plan(load_sweep(str(path), ["train.epochs=4"]).sweep).cells
    assert [cell.method.values["lr"] for cell in cells] == [1e-3, 0.01]
    assert {cell.train.epochs for cell in cells} == {4}


def test_a_word_replaces_the_grid_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("methods: [janus]\norders: 1\ngrid: {method.rank: [2, 4]}\n")
    cells = plan(load_sweep(str(path), ["method.rank=5"]).sweep).cells
    assert [cell.method.values["rank"] for cell in cells] == [5]


@pytest.mark.parametrize(
    ("name", "word", "said"),
    [
        ("smok", "orders=1", "'smoke'"),
        ("smoke", "methds=[janus]", "'methods'"),
        ("smoke", "order=1", "'orders'"),
        ("smoke", "methods=[jnus]", "'janus'"),
        ("smoke", "bench=glyph", "'glyphs'"),
        ("smoke", "backbone=toi", "'toy'"),
        ("smoke", "method.rnk=4", "'method.rank'"),
        ("smoke", "method.rank=0", "at least 1"),
        ("smoke", "method.rank=4,0", "at least 1"),
        ("smoke", "train.epoch=4", "'train.epochs'"),
        ("smoke", "train.epochs=many", "an integer"),
        ("smoke", "bench.tasks=101", "100 classes"),
        ("smoke", "eval=tst", "'validation'"),
        ("smoke", "trian.epochs=4", "'train'"),
        ("smoke", "orders=0", "at least 1"),
        ("smoke", "orders=[-1]", "got -1"),
        ("smoke", "orders=some", "'some'"),
        ("smoke", "seeds=[a]", "'a'"),
        ("smoke", "seeds=true", "True"),
        ("smoke", "workers=0", "at least 1"),
        ("smoke", "device=gpu", "cuda"),
        ("smoke", "keep=all", "none or final"),
        ("smoke", "store=/etc/passwd", "is a file"),
        ("smoke", "orders", "KEY=VALUE"),
        ("smoke", "orders=[0", "KEY=VALUE"),
        ("smoke", "~orders", "KEY=VALUE"),
        ("ablation", "rows=[non]", "'none'"),
    ],
)
def test_a_mistake_is_answered_in_one_line_with_what_is_valid(
    name: str, word: str, said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(load_sweep(name, [word]).sweep)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_sweep_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("methods: [janus]\nordrs: 3\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml.*'orders'"):
        load_sweep(str(path), [])
    path.write_text("methods: [janus\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        load_sweep(str(path), [])


def test_numbers_count_and_lists_name() -> None:
    assert expand_orders(3) == ("0", "1", "2")
    assert expand_orders("natural") == ("natural",)
    assert expand_orders(["natural", 5, 5]) == ("natural", "5")
    assert expand_seeds(2) == (0, 1)
    assert expand_seeds([4, 0]) == (4, 0)


def test_a_folder_beside_the_file_may_have_the_name_of_a_key(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("methods: [ncm]\norders: 2\n")
    (tmp_path / "store").mkdir()
    (tmp_path / "orders").mkdir()
    request = load_sweep(str(file), [f"store={tmp_path / 'store'}", "orders=[7]"])
    assert request.store == tmp_path / "store" and request.sweep.orders == ("7",)
