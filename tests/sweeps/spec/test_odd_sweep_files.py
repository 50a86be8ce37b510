"""Sweep files and words that people get wrong: one line says what, and nothing is dropped."""

from __future__ import annotations

from pathlib import Path

import pytest

from janus.errors import ConfigError
from sweeps.spec.plan import plan
from sweeps.spec.sweep import MOST_CELLS
from sweeps.spec.sweep_file import load_sweep

HEAD = "bench: glyphs\nmethods: [janus]\norders: 2\n"
BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)


def written(folder: Path, text: str | bytes, name: str = "mine.yaml") -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEAD + "variants: {jnaus: {a: {rank: 4}}}\n", "Did you mean 'janus'"),
        (HEAD + "variants: {janus: {}}\n", "names no row"),
        (HEAD + "fixed: {seed: 3}\n", "`seeds: ...`"),
        (HEAD + "fixed: {bench: nope}\n", "`bench: ...`"),
        (HEAD + "grid: {seed: [1, 2, 3]}\n", "`seeds: ...`"),
        (HEAD + "grid: {order: [1, 2, 3]}\n", "`orders: ...`"),
        (HEAD + "grid: {rank: [1, 2, 3]}\n", "method.rank"),
        (HEAD + "grid: {1: [2]}\n", "line 4"),
        (HEAD + "fixed: {5: 3}\n", "line 4"),
        (HEAD + "grid: {method.rank: []}\n", "no values"),
        (HEAD.encode() + "# für\n".encode("latin-1"), "not UTF-8"),
        (HEAD.encode("utf-16"), "not UTF-8"),
        ("methods: " + "[" * 3000 + "]" * 3000, "too deeply"),
        (HEAD + f"fixed: {{method.lr: {'9' * 5000}}}\n", "digits"),
        (BOMB, "aliases"),
        ("x: &a [*a]\n", "inside of what it names"),
        ("- a\n", "must hold a mapping"),
    ],
)
def test_a_wrong_sweep_file_is_refused_by_name(text, says, tmp_path):
    with pytest.raises(ConfigError, match=r".") as refused:
        load_sweep(written(tmp_path, text), [])
    assert says in str(refused.value)


def test_a_file_may_be_called_yml_and_use_another_beside_it(tmp_path):
    written(tmp_path, "fixed: {method.rank: 3}\n", "base.yml")
    name = written(tmp_path, "defaults: [base, _self_]\n" + HEAD, "mine.yml")
    assert [cell.method.values["rank"] for cell in plan(load_sweep(name, []).sweep).cells] == [3, 3]


def test_a_yml_file_is_read_although_a_yaml_file_of_its_name_stands_beside_it(tmp_path):
    written(tmp_path, HEAD.replace("janus", "ncm"), "mine.yaml")
    name = written(tmp_path, HEAD, "mine.yml")
    assert load_sweep(name, []).sweep.methods == ("janus",)


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path):
    assert load_sweep(written(tmp_path, b"\xef\xbb\xbf" + HEAD.encode()), []).sweep.methods == (
        "janus",
    )


@pytest.mark.parametrize("word", ["seeds=1000000000", "orders=1000000", "seeds=0-999999999"])
def test_an_absurd_number_is_refused_without_counting_to_it(word):
    with pytest.raises(ConfigError):
        load_sweep("smoke", [word])


def test_a_sweep_of_too_many_cells_is_refused_before_any_is_made():
    with pytest.raises(ConfigError, match=str(MOST_CELLS)):
        load_sweep("smoke", ["orders=100000", "seeds=100000"])


def test_spans_of_orders_and_seeds_are_written_out():
    sweep = load_sweep("smoke", ["orders=1-3", "seeds=[0,5-6]"]).sweep
    assert sweep.orders == ("1", "2", "3")
    assert sweep.seeds == (0, 5, 6)


def test_a_list_of_values_is_a_grid():
    listed = load_sweep("smoke", ["methods=[seqlora]", "method.rank=[4,8]"]).sweep
    assert listed.grid == {"method.rank": (4, 8)}


@pytest.mark.parametrize("word", ["method.lr=interval(0,1)", "method.rank=glob(*)"])
def test_words_of_hydra_that_name_no_values_are_refused(word):
    with pytest.raises(ConfigError, match="cannot read"):
        load_sweep("smoke", [word])


def test_an_order_with_a_class_too_many_is_refused_by_the_plan():
    given = load_sweep("smoke", ["orders=[[99,100]]"]).sweep
    with pytest.raises(ConfigError, match="order names class 100, but there are 100"):
        plan(given)
