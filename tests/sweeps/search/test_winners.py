"""Tuning sweeps: who wins, and when nobody may."""

from __future__ import annotations

import re

import pytest
import yaml

from janus import atomic_files
from janus.errors import ConfigError
from janus.store.store import Store
from sweeps.search.winners import winners_of
from sweeps.spec.plan import plan
from sweeps.spec.sweep_file import CONF, load_sweep, sweep_names

FILE = """
methods: [ncm, seqlora, lora_gpm]
orders: [100, 101]
seeds: [100]
fixed: {eval: validation}
grid: {method.rank: [2, 4]}
variants:
  seqlora: {"lr=1e-3": {lr: 1e-3}, "lr=1e-4": {lr: 1e-4}}
  lora_gpm:
    "exact,lr=1e-3": {variant: exact, lr: 1e-3}
    "exact,lr=1e-4": {variant: exact, lr: 1e-4}
    "lr=1e-3": {lr: 1e-3}
    "lr=1e-4": {lr: 1e-4}
"""
ACC = {
    "ncm": 0.7,
    "seqlora[lr=1e-3]": 0.5,
    "seqlora[lr=1e-4]": 0.6,
    "lora_gpm[exact,lr=1e-3]": 0.65,
    "lora_gpm[exact,lr=1e-4]": 0.64,
    "lora_gpm[lr=1e-3]": 0.8,
    "lora_gpm[lr=1e-4]": 0.9,
}


@pytest.fixture
def sweep(tmp_path):
    path = tmp_path / "tuning.yaml"
    path.write_text(FILE)
    return load_sweep(str(path), []).sweep


def fill(sweep, store: Store, skip: str = "", fail: str = "") -> None:
    for p in plan(sweep).entries:
        if skip and skip in p.row:
            continue
        if fail and fail in p.row:
            claim = store.claim(p.cell)
            claim.fail({"cause": "nan", "message": "diverged"})
            claim.release()
            continue
        acc = ACC[p.row.replace(",rank=2", "").replace(",rank=4", "")] + ("rank=4" in p.row) / 1e3
        record = {"id": p.cell.id, "metrics": {"acc": acc}}
        atomic_files.create_once(store.result_path(p.cell.id), atomic_files.json_writer(record))


def test_the_best_candidate_of_each_row_wins_and_its_file_can_be_loaded(sweep, store):
    fill(sweep, store)
    chosen = yaml.safe_load(winners_of(plan(sweep), store))
    assert chosen["methods"] == ["ncm", "seqlora", "lora_gpm"]
    assert chosen["variants"]["ncm"] == {"": {}}
    assert chosen["variants"]["seqlora"] == {"": {"lr": 1e-4, "rank": 4}}
    assert chosen["variants"]["lora_gpm"]["exact"] == {
        "variant": "exact",
        "lr": 1e-3,
        "rank": 4,
    }
    path = store.root / "reporting.yaml"
    path.write_text(winners_of(plan(sweep), store))
    tuned_on = yaml.safe_load(path.read_text())["tuned_on"]
    budgets = {"ncm": 1, "seqlora": 4, "lora_gpm": 4, "lora_gpm[exact]": 4}
    assert tuned_on["configurations"] == budgets
    assert tuned_on["edges"]["seqlora"] == ["rank highest", "lr lowest"]
    labels = {p.row for p in plan(load_sweep(str(path), []).sweep).entries}
    assert labels == {"ncm", "seqlora", "lora_gpm", "lora_gpm[exact]"}


def test_candidates_that_are_one_cell_have_one_score(tmp_path, store):
    """Damping means nothing without rectification; nothing failed."""
    path = tmp_path / "tuning.yaml"
    path.write_text(
        "methods: [janus]\norders: [100]\nseeds: [100]\n"
        "fixed: {eval: validation, method.rectify: false}\n"
        "grid: {method.damping: [0.1, 0.2]}\n"
    )
    sweep = load_sweep(str(path), []).sweep
    (planned,) = plan(sweep).entries
    record = {"id": planned.cell.id, "metrics": {"acc": 0.5}}
    atomic_files.create_once(store.result_path(planned.cell.id), atomic_files.json_writer(record))
    assert "[damping=0.1]: 50.00, [damping=0.2]: 50.00" in winners_of(plan(sweep), store)


def test_candidates_may_be_compared_on_an_order_of_ones_own(tmp_path, store):
    own = list(reversed(range(100)))
    path = tmp_path / "tuning.yaml"
    path.write_text(f"methods: [ncm]\norders: [{own}]\nseeds: [100]\nfixed: {{eval: validation}}\n")
    sweep = load_sweep(str(path), []).sweep
    fill(sweep, store)
    assert "# ncm  : 70.00" in winners_of(plan(sweep), store)


def test_a_candidate_that_diverged_loses(sweep, store):
    fill(sweep, store, fail="seqlora[lr=1e-4")
    chosen = yaml.safe_load(winners_of(plan(sweep), store))
    assert chosen["variants"]["seqlora"] == {"": {"lr": 1e-3, "rank": 4}}


def test_nothing_is_chosen_before_every_candidate_ran(sweep, store):
    fill(sweep, store, skip="seqlora[lr=1e-4")
    with pytest.raises(ConfigError, match=r"not finished.*seqlora\[lr=1e-4"):
        winners_of(plan(sweep), store)


def test_nothing_is_tuned_on_the_test_set():
    with pytest.raises(ConfigError, match="test set"):
        winners_of(plan(load_sweep("smoke", []).sweep), Store("nowhere"))


@pytest.mark.slow
def test_the_winners_that_ship_refuse_the_pairs_that_chose_them():
    chosen = {path.stem: _tuning_sweep(path) for path in CONF.glob("*.yaml")}
    chosen = {name: tuning for name, tuning in chosen.items() if tuning}
    assert set(chosen) == {"zoo_values"}
    inherited = {n for n in sweep_names() if "defaults: [zoo_values" in _text(n)}
    assert len(inherited) >= 4
    tuning = load_sweep(chosen["zoo_values"], []).sweep
    for name in {"zoo_values", *inherited}:
        for word in (f"orders=[{tuning.orders[0]}]", f"seeds=[{tuning.seeds[0]}]"):
            with pytest.raises(ConfigError, match="used for tuning"):
                load_sweep(name, [word])


def _text(name):
    return (CONF / f"{name}.yaml").read_text()


def _tuning_sweep(path):
    found = re.search("^# Written by: python -m sweeps choose (.*)$", path.read_text(), re.M)
    return found and found[1]
