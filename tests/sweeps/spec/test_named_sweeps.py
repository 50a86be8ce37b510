"""The sweeps that ship: fair pairs, one protocol unless said otherwise, and all of them run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from janus.errors import ConfigError
from sweeps.spec.plan import plan
from sweeps.spec.sweep import Sweep
from sweeps.spec.sweep_file import load_sweep, sweep_names

NAMED = (
    "smoke",
    "paper",
    "as_published",
    "ablation",
    "gr_plugin",
    "single_epoch",
    "sensitivity",
    "orders",
)
NATURAL_AND_TEN = {("natural", seed) for seed in range(5)} | {(str(o), 0) for o in range(10)}


def pairs_of_rows(sweep: Sweep) -> dict[tuple[str, str], Counter[tuple[str, int]]]:
    """(order, seed) of every cell by bench and row."""
    found: dict[tuple[str, str], Counter[tuple[str, int]]] = defaultdict(Counter)
    for planned in plan(sweep).entries:
        cell = planned.cell
        found[cell.bench.name, planned.row][cell.order, cell.seed] += 1
    return found


QUICK = ("smoke", "ablation", "gr_plugin", "precision")
"""One of each way to write rows and pairs: methods, variants, blocks, a grid."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in sweep_names()],
)
def test_every_method_of_a_sweep_that_ships_gets_the_same_orders_and_seeds(name: str) -> None:
    sweep = load_sweep(name, []).sweep
    found = pairs_of_rows(sweep)
    assert {key[0] for key in found} == set(sweep.benches)
    assert all(pairs == Counter(sweep.pairs()) for pairs in found.values())
    assert {cell.method.name for cell in plan(sweep).cells} == set(sweep.methods)


orders = st.one_of(
    st.integers(1, 3),
    st.lists(st.sampled_from(["natural", "pilot1993", "coda1", 0, 5]), min_size=1, max_size=3),
)
seeds = st.one_of(st.integers(1, 3), st.lists(st.integers(0, 9), min_size=1, max_size=3))
crossed = st.fixed_dictionaries({"orders": orders, "seeds": seeds})
files = st.builds(
    lambda methods, axes, protocol, epochs: {
        "bench": "cifar100",
        "methods": methods,
        "protocol": protocol,
        "grid": {"train.batch_size": epochs},
        **axes,
    },
    st.lists(st.sampled_from(["seqlora", "bilora", "l2p", "janus"]), min_size=1, unique=True),
    st.one_of(crossed, st.lists(crossed, min_size=1, max_size=3).map(lambda b: {"blocks": b})),
    st.sampled_from(["unified", "as_published"]),
    st.sampled_from([[8], [8, 16]]),
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(files, st.sampled_from([[], ["seeds=2"], ["orders=[natural,3]"], ["scale=tiny"]]))
def test_any_sweep_file_gives_every_row_the_same_pairs(
    tmp_path_factory: pytest.TempPathFactory, record: dict[str, object], words: list[str]
) -> None:
    path = tmp_path_factory.mktemp("drawn") / "drawn.yaml"
    path.write_text(yaml.safe_dump(record))
    sweep = load_sweep(str(path), words).sweep
    found = pairs_of_rows(sweep)
    assert len(set(map(frozenset, found.values()))) == 1
    assert all(pairs == Counter(sweep.pairs()) for pairs in found.values())


def test_paper_runs_the_natural_order_five_times_and_ten_orders_once() -> None:
    sweep = load_sweep("paper", ["bench=cifar100"]).sweep
    assert set(sweep.pairs()) == NATURAL_AND_TEN
    cells = plan(sweep).cells
    assert len(cells) == len(sweep.methods) * len(NATURAL_AND_TEN)
    assert {cell.backbone.model for cell in cells} == {"vit_base_patch16_224.augreg_in21k"}


@pytest.mark.parametrize(("bench", "epochs"), [("cifar100", 20), ("imagenet_r", 50)])
def test_unified_rows_share_the_training_of_the_bench(bench: str, epochs: int) -> None:
    cells = plan(load_sweep("paper", [f"bench={bench}"]).sweep).cells
    shared = {(c.train.epochs, c.train.first_epochs, c.train.batch_size) for c in cells}
    assert shared == {(epochs, None, 128)}
    assert len({str(cell.identity()["bench"]) for cell in cells}) == 1


def test_as_published_rows_keep_their_own_training_and_weights() -> None:
    planned = plan(load_sweep("as_published", ["bench=cifar100"]).sweep).entries
    train = {p.cell.method.name: p.cell.train for p in planned}
    weights = {p.cell.method.name: p.cell.backbone.model for p in planned}
    assert (train["bilora"].first_epochs, train["bilora"].epochs) == (40, 20)
    assert (train["l2p"].epochs, train["l2p"].batch_size) == (5, 16)
    assert weights["inflora"] == "vit_base_patch16_224.augreg_in21k"
    assert weights["coda_prompt"] == "vit_base_patch16_224.augreg_in21k_ft_in1k"
    assert weights["sd_lora"] == "vit_base_patch16_224.augreg2_in21k_ft_in1k"
    pilot = {p.cell.method.name for p in planned if p.cell.bench.crop_scale == 0.05}
    assert pilot == {"sd_lora", "l2p", "ranpac", "ease", "ncm"}
    assert {p.protocol for p in planned} == {"as_published"}


def test_a_word_replaces_its_axis_in_every_block() -> None:
    pairs = load_sweep("paper", ["seeds=2"]).sweep.pairs()
    assert set(pairs) == {(o, s) for o in ["natural", *map(str, range(10))] for s in (0, 1)}
    assert load_sweep("paper", ["orders=[7]", "seeds=[3]"]).sweep.pairs() == [("7", 3)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("orders: 2\nblocks: [{orders: 1, seeds: 1}]", "both blocks and orders"),
        ("blocks: [{orders: 1}]", "a block is"),
        ("blocks: [{orders: 1, seeds: 0}]", "at least 1"),
        ("protocol: unifed", "'unified'"),
        ("scale: tny", "'tiny'"),
    ],
)
def test_a_mistake_in_pairs_protocol_or_scale_is_explained(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"methods: [janus]\n{text}\n")
    with pytest.raises(ConfigError, match=said):
        load_sweep(str(path), [])


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in NAMED]
)
def test_the_tiny_scale_keeps_every_row_and_leaves_the_real_list_alone(name: str) -> None:
    real, tiny = load_sweep(name, []).sweep, load_sweep(name, ["scale=tiny"]).sweep
    assert tiny.name == f"{name}-tiny"
    assert tiny.benches == ("glyphs",)
    assert tiny.methods == real.methods
    assert {m: set(found) for m, found in tiny.variants.items()} == {
        m: set(found) for m, found in real.variants.items()
    }
    assert len(tiny.pairs()) == 2
    assert {cell.backbone.name for cell in plan(tiny).cells} == {"toy"}


def test_what_is_typed_wins_over_the_tiny_scale() -> None:
    words = ["scale=tiny", "bench=cifar100", "train.epochs=3", "orders=[4]"]
    cells = plan(load_sweep("paper", words).sweep).cells
    assert {(c.bench.name, c.train.epochs, c.order) for c in cells} == {("cifar100", 3, "4")}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED)
def test_every_named_sweep_runs_from_end_to_end_at_the_tiny_scale(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = tmp_path_factory.getbasetemp() / "tiny"  # shared: sweeps reuse each other's cells
    words = [name, "scale=tiny", f"store={store}", "workers=2", "device=cpu"]
    done = subprocess.run(
        [sys.executable, "-m", "sweeps", "run", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"cells of {name}-tiny are done" in done.stdout
    table = subprocess.run(
        [sys.executable, "analysis/compare.py", "--store", store, "--sweep", f"{name}-tiny"],
        capture_output=True,
        text=True,
    )
    assert table.returncode == 0, table.stderr
    assert ("Paired differences" in table.stdout) == (name in ("smoke", "paper", "orders"))


TUNED = {
    "smoke": ("renditions_tuning",),
    "renditions_references": ("renditions_tuning",),
    "claims_methods": ("renditions_tuning",),
    "claims_one_epoch": ("renditions_tuning",),
    "ablation": ("ablation_tuning", "renditions_tuning"),
    "ablation_seeds": ("ablation_tuning", "renditions_tuning"),
    "orders": ("renditions_tuning",),
    "sensitivity": ("renditions_tuning",),
    "precision": ("renditions_tuning",),
    "zoo_glyphs": ("zoo_tuning",),
}
"""Sweeps on the bundled bench, and the tuning behind the values that they report."""


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n == "smoke" else [pytest.mark.slow]) for n in TUNED]
)
def test_no_sweep_reports_on_an_order_or_a_seed_that_chose_its_values(name: str) -> None:
    for tuning in TUNED[name]:
        tuned = load_sweep(tuning, []).sweep
        for order in tuned.orders:
            with pytest.raises(ConfigError, match=f"order {order} is used for tuning"):
                load_sweep(name, [f"orders=[{order}]", "seeds=[1]"])
        for seed in tuned.seeds:
            with pytest.raises(ConfigError, match=f"seed {seed} is used for tuning"):
                load_sweep(name, ["orders=[1]", f"seeds=[{seed}]"])


@pytest.mark.slow
def test_what_sweep_files_say_of_tuning_holds() -> None:
    """`zoo_fast` is above every rate that won; validation streams are tuned on; epochs differ."""
    fast, zoo = load_sweep("zoo_fast", []).sweep, load_sweep("zoo_glyphs", []).sweep
    rate = fast.fixed["method.lr"]
    won = [row["lr"] for method in fast.methods for row in zoo.variants[method].values()]
    assert won and all(value < rate for value in won)
    for name in ("renditions_tuning", "ablation_tuning", "zoo_tuning"):
        assert {cell.bench.eval for cell in plan(load_sweep(name, []).sweep).cells} == {
            "validation"
        }
    epochs = [
        {cell.train.epochs for cell in plan(load_sweep(name, []).sweep).cells}
        for name in ("smoke", "renditions_tuning", "ablation_tuning", "ablation")
    ]
    assert epochs == [{3}, {5}, {5}, {5}]
