"""A base session, counts per task, and orders that a user writes down."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch

from analysis.pages.reproduce import cell_command
from janus.config.cell import cell_from_dict
from janus.config.compose import cautions, compose
from janus.config.overrides import parse_overrides
from janus.config.own_order import resolve
from janus.data import load_bench as benches
from janus.data.stream import cut
from janus.errors import ConfigError
from sweeps.spec.plan import plan
from sweeps.spec.sweep_file import load_sweep

TOY = {"bench": "glyphs", "backbone": "toy", "method": "ncm"}


def toy(*words: str):
    return compose({**TOY, **parse_overrides(list(words))})


def test_three_spellings_of_one_cut_are_one_cell():
    base = toy("bench.first=50", "bench.increment=10")
    assert base.bench.tasks == 6 and base.bench.task_sizes == "50,10,10,10,10,10"
    assert toy("bench.tasks=[50,10,10,10,10,10]").id == base.id
    assert toy("bench.task_sizes='50,10,10,10,10,10'").id == base.id


def test_an_even_cut_keeps_its_id_however_it_is_written():
    plain = toy("bench.tasks=10")
    assert toy("bench.first=10", "bench.increment=10").id == plain.id
    assert toy(f"bench.tasks=[{','.join(['10'] * 10)}]").id == plain.id
    assert "task_sizes" not in plain.bench.identity()


def test_the_last_task_takes_what_is_left():
    assert toy("bench.first=50", "bench.increment=15").bench.task_sizes == "50,15,15,15,5"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["bench.tasks=[50,10]"], "60 in all"),
        (["bench.first=101", "bench.increment=1"], "more than the 100"),
        (["bench.first=50"], "go together"),
        (["bench.first=0", "bench.increment=5"], "at least 1"),
        (["bench.first=50", "bench.increment=10", "bench.tasks=[50,50]"], "one way"),
        (["bench.tasks=[50,0,50]"], "at least 1"),
        (["bench.tasks=[a,b]"], "whole numbers"),
        (["bench.frist=50"], "bench.first"),
    ],
)
def test_sizes_that_cannot_be_are_refused_before_anything_starts(words, says):
    with pytest.raises(ConfigError) as refused:
        toy(*words)
    assert says in str(refused.value)


def test_the_stream_is_cut_as_written():
    cell = toy(
        "bench.first=50", "bench.increment=25", "bench.train_per_class=2", "bench.test_per_class=1"
    )
    stream = cut(benches.load_images(cell.bench), cell, torch.device("cpu"))
    assert [task.classes for task in stream.tasks] == [50, 25, 25]
    assert [task.first for task in stream.tasks] == [0, 50, 75]


def test_a_list_of_classes_is_the_order_they_come_in():
    cell = toy("order=[3,1,2,0]", "bench.train_per_class=2", "bench.test_per_class=1")
    stream = cut(benches.load_images(cell.bench), cell, torch.device("cpu"))
    assert stream.order[:6] == (3, 1, 2, 0, 4, 5)
    assert cell.order.startswith("own-") and "4 of 100" in cautions(cell)[-1]


def test_a_file_and_a_list_are_the_same_order(tmp_path):
    path = tmp_path / "order.txt"
    path.write_text("# iCaRL\n3\n1\n\n2\n")
    assert toy(f"order=@{path}").id == toy("order=[3,1,2]").id == toy(f"order={path}").id


def test_classes_may_be_named():
    assert resolve('["b","a"]', ["a", "b", "c"]) == [1, 0, 2]
    with pytest.raises(ConfigError, match="Did you mean 'cat'"):
        resolve('["cta"]', ["cat", "dog"])
    with pytest.raises(ConfigError, match="numbered from 0"):
        resolve("[9]", ["cat", "dog"])


@pytest.mark.parametrize(
    "order", ["[]", "[1,1]", "[1,a]", "[-1]", "@/no/such/file", "none.txt", "natrual", "[[1]]"]
)
def test_an_order_that_cannot_be_is_refused(order):
    with pytest.raises(ConfigError):
        compose({**TOY, "order": order})


def test_cells_with_an_order_of_ones_own_are_read_back_and_reproduced():
    cell = toy("order=[3,1,2,0]", "bench.first=50", "bench.increment=10")
    assert cell_from_dict(asdict(cell)).id == cell.id
    old = asdict(toy())
    del old["own_order"], old["bench"]["task_sizes"]
    assert cell_from_dict(old).id == toy().id
    import shlex

    words = [w for w in shlex.split(cell_command(asdict(cell)))[3:] if not w.endswith("=DIR")]
    assert compose(parse_overrides(words)).id == cell.id


def test_sweeps_take_lists_and_files_beside_named_orders(tmp_path):
    path = tmp_path / "order.txt"
    path.write_text("5\n6\n")
    words = ["methods=[ncm]", f"orders=[natural,[3,1,2],'@{path}',2]"]
    cells = plan(load_sweep("smoke", words).sweep).cells
    assert [cell.own_order for cell in cells] == [None, "[3,1,2]", "[5,6]", None]
    assert len({cell.id for cell in cells}) == 4
