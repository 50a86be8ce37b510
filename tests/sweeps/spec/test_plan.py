"""Planning: crossed, paired, without duplicates, the same every time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from janus.config.compose import compose
from janus.errors import ConfigError
from janus.store.store import Store
from sweeps.spec.by_status import by_status
from sweeps.spec.cell_list import read_list, write_list
from sweeps.spec.plan import plan
from sweeps.spec.rows import without_effect
from sweeps.spec.sweep import Sweep
from sweeps.spec.sweep_file import load_sweep

METHODS = ("seqlora", "inflora", "lora_gpm", "janus", "ncm")
TOY = {"backbone": "toy"}
Put = Callable[[str], None]

sweeps = st.builds(
    Sweep,
    name=st.just("drawn"),
    methods=st.lists(st.sampled_from(METHODS), min_size=1, unique=True).map(tuple),
    benches=st.sampled_from([("glyphs",), ("glyphs", "glyphs_styles")]),
    orders=st.lists(st.sampled_from(["natural", "0", "1", "2", "7"]), min_size=1, unique=True).map(
        tuple
    ),
    seeds=st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True).map(tuple),
    grid=st.sampled_from([{}, {"train.epochs": (1, 2)}, {"train.epochs": (1, 1)}]),
    fixed=st.just(TOY),
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(sweeps)
def test_every_row_gets_the_same_orders_crossed_with_the_same_seeds(sweep: Sweep) -> None:
    pairs = defaultdict(Counter)
    for planned in plan(sweep).entries:
        cell = planned.cell
        pairs[cell.bench.name, planned.row][cell.order, cell.seed] += 1
    wanted = Counter((order, seed) for order in sweep.orders for seed in sweep.seeds)
    assert {key[0] for key in pairs} == set(sweep.benches)
    assert {cell.method.name for cell in plan(sweep).cells} == set(sweep.methods)
    for found in pairs.values():
        assert found == wanted


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(sweeps)
def test_no_cell_is_planned_twice_and_the_list_is_stable(sweep: Sweep) -> None:
    ids = [cell.id for cell in plan(sweep).cells]
    assert len(ids) == len(set(ids))
    assert ids == [cell.id for cell in plan(sweep).cells]


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(sweeps, st.integers(0, 60))
def test_a_sweep_cut_short_holds_whole_pairs_but_for_the_last(sweep: Sweep, cut: int) -> None:
    cells = plan(sweep).cells
    pairs = Counter((cell.order, cell.seed) for cell in cells[:cut])
    whole = len(cells) // (len(sweep.orders) * len(sweep.seeds))
    assert sum(number != whole for number in pairs.values()) <= 1


def test_a_grid_that_means_nothing_to_a_method_gives_it_one_row() -> None:
    sweep = Sweep(
        name="s", methods=("ncm", "janus"), orders=("0",), grid={"method.rank": (4, 8)}, fixed=TOY
    )
    assert [p.row for p in plan(sweep).entries] == ["ncm", "janus[rank=4]", "janus[rank=8]"]
    assert without_effect(sweep) == {"method.rank": ["ncm"]}


def test_a_row_that_is_another_under_a_new_name_is_told() -> None:
    variants = {"janus": {"a": {"rank": 8}, "b": {"rank": 8}, "c": {"rank": 4}}}
    sweep = Sweep(name="twice", methods=("janus",), orders=("0",), variants=variants, fixed=TOY)
    assert {p.row for p in plan(sweep).entries} == {"janus[a]", "janus[c]"}
    assert list(plan(sweep).notes) == ["janus[b] is the same as janus[a], which stands for both"]


def test_a_plan_composes_each_row_once(monkeypatch) -> None:
    composed: list[str] = []

    def counted(overrides):
        composed.append(overrides["method"])
        return compose(overrides)

    monkeypatch.setattr("sweeps.spec.rows.compose", counted)
    made = plan(load_sweep("smoke", ["orders=100"]).sweep)
    assert composed == ["seqlora", "inflora", "janus"] and len(made.cells) == 300
    assert [row.label for row in made.rows] == composed


def test_a_grid_over_a_setting_that_nothing_reads_trains_each_cell_once() -> None:
    """Sketch sizes mean nothing to the exact estimate."""
    grid = {"method.estimator": ("cov", "fd"), "method.sketch_size": (8, 64)}
    sweep = Sweep(name="s", methods=("janus",), orders=("0",), grid=grid, fixed=TOY)
    first, *others = [p.row for p in plan(sweep).entries]
    assert first == "janus[estimator=cov,sketch_size=8]"
    assert others == [f"janus[estimator=fd,sketch_size={size}]" for size in (8, 64)]
    same = "janus[estimator=cov,sketch_size=64]"
    assert list(plan(sweep).notes) == [
        f"method.sketch_size has no effect with method.estimator=cov, in: {first}, {same}",
        f"{same} is the same as {first}, which stands for both",
    ]


def test_a_row_that_trains_nothing_is_told_before_training() -> None:
    variants = {"janus": {"random": {"a_init": "random"}, "whole": {}}}
    sweep = Sweep(name="s", methods=("janus",), orders=("0",), variants=variants, fixed=TOY)
    (told,) = plan(sweep).notes
    assert told.startswith("a_init=random with constrained=true: ")
    assert told.endswith("in: janus[random]")


def test_equal_cells_of_two_rows_are_planned_once() -> None:
    variants = {"janus": {"a": {}, "b": {"method.rank": 7}, "c": {"rank": 7}}}
    sweep = Sweep(name="s", methods=("janus",), orders=("0",), variants=variants, fixed=TOY)
    assert [p.row for p in plan(sweep).entries] == ["janus[a]", "janus[b]"]


def test_a_key_that_a_row_sets_may_not_be_given_besides() -> None:
    """One of the two would be silently lost, and a grid's labels would be false."""
    variants = {"janus": {"small": {"rank": 2}}}
    for extra in ({"fixed": {"method.rank": 9}}, {"grid": {"method.rank": (4, 9)}}):
        with pytest.raises(ConfigError, match=r"method\.rank is set by the row janus\[small\]"):
            plan(Sweep(name="s", methods=("janus",), variants=variants, **extra))


def test_a_setting_that_no_method_has_is_answered_with_the_nearest() -> None:
    sweep = Sweep(name="s", methods=("seqlora", "janus"), fixed={"method.rnk": 3})
    with pytest.raises(ConfigError, match=r"method\.rank"):
        plan(sweep)


@pytest.mark.parametrize("axis", ["methods", "benches", "orders", "seeds"])
def test_an_empty_axis_is_refused(axis: str) -> None:
    with pytest.raises(ConfigError, match=axis):
        Sweep(**{"name": "s", "methods": ("janus",), axis: ()})


def test_cells_are_split_by_what_the_store_knows(store: Store, put_result: Put) -> None:
    cells = plan(load_sweep("smoke", ["orders=2", "methods=[seqlora,janus]"]).sweep).cells
    put_result(cells[0].id)
    running = store.claim(cells[1])
    assert running is not None
    failed = store.claim(cells[2])
    assert failed is not None
    failed.fail({"cause": "nan"})
    failed.release()
    split = by_status((cell.id for cell in cells), store)
    assert split.done == [cells[0].id]
    assert split.running == [cells[1].id]
    assert split.failed == [cells[2].id]
    assert split.open == [cells[3].id]


def test_the_list_of_cells_is_kept_for_the_analysis(store: Store) -> None:
    planned = plan(load_sweep("ablation_seeds", []).sweep).entries
    write_list(store, "ablation_seeds", "the command", planned)
    record = json.loads((store.root / "sweeps" / "ablation_seeds.json").read_text())
    assert record["command"] == "the command"
    assert [cell["id"] for cell in record["cells"]] == [p.cell.id for p in planned]
    assert record["cells"][0]["title"] == "renditions janus[none] order=0 seed=0"
    with pytest.raises(ConfigError, match="ablation_seeds"):
        read_list(store, "ablation_seed", "how")


def test_planning_imports_neither_torch_nor_ray() -> None:
    code = (
        "import sys, sweeps.__main__ as m; m.main(['plan', 'smoke'])\n"
        "assert not {'torch', 'ray', 'timm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
