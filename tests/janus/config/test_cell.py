"""Composition, validation, identity."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from janus.config.cell import (
    BackboneConfig,
    BenchConfig,
    Cell,
    MethodConfig,
    TrainConfig,
    canonical,
    cell_from_dict,
)
from janus.config.compose import compose
from janus.config.method_spec import method_spec, read_spec, spec_names
from janus.errors import ConfigError
from tests.conftest import toy_cell


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"method": "jnus"}, "Did you mean 'janus'"),
        ({"bench": "glyph"}, "Did you mean 'glyphs'"),
        ({"backbone": "glyph_vitt"}, "Did you mean 'glyph_vit'"),
        ({"method.rnk": 4}, "Did you mean 'rank'"),
        ({"train.epoch": 4}, "Did you mean 'train.epochs'"),
        ({"method.estimator": "covv"}, "Did you mean 'cov'"),
        ({"method.rank": 0}, "at least 1"),
        ({"method.rank": 2.5}, "an integer"),
        ({"method.rank": True}, "an integer"),
        ({"method.lr": "fast"}, "a number"),
        ({"method.subspace_energy": 0}, "above 0"),
        ({"method.subspace_energy": 1.01}, "at most 1"),
        ({"bench.tasks": 101}, "more than the 100 classes"),
        ({"method.milestones": "4,6"}, r"rising order, joined by \+"),
        ({"method.milestones": "6+4"}, "rising order"),
        ({"method.milestones": "0+4"}, "rising order"),
        ({"method.milestones": "4+"}, "rising order"),
        ({"method.drop_factor": 1}, "below 1"),
        ({"train.epochs": 0}, "at least 1"),
        ({"train.precision": "fp8"}, "fp32"),
        ({"order": "-1"}, "natural"),
        ({"seed": -1}, ">= 0"),
        ({"eval": "train"}, "validation"),
        ({"backbone.weights": "/nowhere/x.safetensors"}, "no file"),
    ],
)
def test_bad_input_names_the_place_and_the_way_out(overrides, message):
    with pytest.raises(ConfigError, match=message):
        compose(overrides)


def test_rank_above_the_width_is_refused_before_training(tmp_path):
    from janus.store.store import Store
    from janus.training.loop import run_cell

    with pytest.raises(ConfigError, match="width 32"):
        run_cell(toy_cell(method__rank=33), Store(tmp_path), threads=1)


def test_precedence():
    assert compose({}).method.values["lr"] == 3e-4  # the method's section for the bench
    assert compose({"method.lr": 0.5}).method.values["lr"] == 0.5
    assert compose({}).train.batch_size == 32  # the bench's training section


def test_identity_ignores_where_things_lie_and_sees_everything_else(tmp_path):
    base = toy_cell()
    weights = tmp_path / "a.safetensors"
    save_file({"same": np.zeros(3)}, weights)
    copy = tmp_path / "sub" / "b.safetensors"
    copy.parent.mkdir()
    shutil.copy(weights, copy)
    one, two = (toy_cell(backbone__weights=str(p)) for p in (weights, copy))
    assert one.id == two.id != base.id
    changes = ["method__lr", "method__rank", "train__epochs", "bench__tasks", "seed"]
    assert len({toy_cell(**{c: 3}).id for c in changes} | {base.id}) == len(changes) + 1
    assert toy_cell(eval="validation").id != base.id != toy_cell(order="0").id
    assert toy_cell(bench__root=str(tmp_path)).id == base.id


def test_late_setting_keeps_old_identities():
    cell = toy_cell()
    assert "later" not in cell.identity()["method"]["values"]
    grown = dataclasses.replace(
        cell.method,
        values={**cell.method.values, "later": 0},
        neutral={**cell.method.neutral, "later": 0},
    )
    assert dataclasses.replace(cell, method=grown).id == cell.id
    used = dataclasses.replace(grown, values={**grown.values, "later": 1})
    assert dataclasses.replace(cell, method=used).id != cell.id


def test_identities_of_earlier_releases_stay(monkeypatch):
    """Fields added since then are hashed only where they are used; the core's revision always."""
    monkeypatch.setattr("janus.config.cell.CORE_REVISION", 1)
    settings = {"bench": "glyphs", "method": "ncm", "order": "1", "seed": 2}
    assert compose(settings).id == "fa035964d9cdc2b0"
    assert compose({**settings, "bench.test_per_class": 5}).id != compose(settings).id


STEPPED = {"bench": "glyphs", "bench.split_sha256": "any"}
STEPPED |= {"method": "seqlora", "order": "1", "seed": 2}
BEFORE = {
    "cosine": "900f09b5b606d1ef",
    "cosine_step": "3d4f7404abe0d3e9",
    "drop": "09c5044d1a6219d9",
    "constant": "f008305a3f0d019f",
}
"""Ids by schedule, as the code gave them whose `cosine` began one epoch too early."""


@pytest.mark.parametrize("schedule", BEFORE)
def test_only_cells_that_use_a_value_of_changed_meaning_change_their_id(schedule, monkeypatch):
    monkeypatch.setattr("janus.config.cell.CORE_REVISION", 1)
    cell = compose({**STEPPED, "method.schedule": schedule})
    assert (cell.id == BEFORE[schedule]) == (schedule != "cosine")
    # read from an old result, the cell keeps its id
    record = dataclasses.asdict(cell)
    del record["method"]["revised"]
    assert cell_from_dict(record).id == BEFORE[schedule]


def test_a_changed_meaning_is_written_in_the_identity_and_nowhere_else():
    cell = compose({**STEPPED, "method.schedule": "cosine"})
    assert cell.identity()["method"]["values"]["schedule"] == "cosine@2"
    assert cell.method.values["schedule"] == "cosine"
    assert cell_from_dict(json.loads(json.dumps(dataclasses.asdict(cell)))).id == cell.id
    with pytest.raises(ConfigError, match=r"must be one of .*cosine.* got 'cosine@2'"):
        compose({**STEPPED, "method.schedule": "cosine@2"})


def test_only_a_value_that_exists_can_be_revised(monkeypatch):
    def with_marks(marks):
        def read(group, name):
            record = read_spec(group, name)
            if name == "_head":
                record["settings"]["schedule"]["revised"] = marks
            return record

        return read

    for marks in ({"cosin": 2}, {"cosine": 1}):
        monkeypatch.setattr("janus.config.method_spec.read_spec", with_marks(marks))
        with pytest.raises(ConfigError, match="schedule: revised"):
            method_spec.__wrapped__("seqlora")


def test_cell_survives_json():
    cell = toy_cell()
    assert cell_from_dict(json.loads(json.dumps(dataclasses.asdict(cell)))).id == cell.id


@given(
    st.dictionaries(
        st.text(max_size=5), st.one_of(st.integers(), st.floats(allow_nan=False), st.text())
    )
)
def test_canonical_json_ignores_insertion_order(tree):
    infinite = (float("inf"), float("-inf"))
    finite = {k: v for k, v in tree.items() if v not in infinite}
    backwards = dict(reversed(list(finite.items())))
    assert canonical(finite) == canonical(backwards)
    assert json.loads(canonical(finite)) == finite


def test_numbers_json_cannot_hold_are_refused():
    with pytest.raises(ConfigError, match="cannot be stored"):
        canonical({"a": [float("nan")]})


@pytest.mark.parametrize("name", spec_names("method"))
def test_every_method_file_is_complete(name):
    spec = method_spec(name)
    assert spec.title and spec.paper and spec.summary
    for bench, values in spec.benches.items():
        assert bench in spec_names("bench")
        for key, value in values.items():
            if "." not in key:
                spec.check(key, value)
    compose({"method": name})


def test_exponents_in_yaml_are_numbers():
    assert method_spec("janus").settings["damping"].default == 0.01


def test_identities_of_results_made_before_transforms_were_protocol_stay_valid(monkeypatch):
    """The literal is the id that the code without crop, test_crop and stored_side gave."""
    monkeypatch.setattr("janus.config.cell.CORE_REVISION", 1)
    cell = Cell(
        bench=BenchConfig(
            name="glyphs",
            source="glyphs",
            classes=100,
            tasks=10,
            split="bundled",
            split_sha256="0a" * 32,
        ),
        backbone=BackboneConfig(
            name="toy", model="vit_tiny_patch16_224", weights="random", image_size=32, channels=1
        ),
        method=MethodConfig(name="seqlora", values={"rank": 4}),
        train=TrainConfig(epochs=5, batch_size=32),
        order="3",
        seed=1,
    )
    assert cell.id == "4ea6ce5610249803"
    for field, value in (
        ("crop_scale", 0.05),
        ("crop_ratio", 1.5),
        ("test_crop", 0.875),
        ("test_interpolation", "bicubic"),
        ("stored_side", 256),
    ):
        changed = dataclasses.replace(cell.bench, **{field: value})
        assert dataclasses.replace(cell, bench=changed).id != cell.id
    elsewhere = dataclasses.replace(cell.bench, root="/data", cache="/scratch")
    assert dataclasses.replace(cell, bench=elsewhere).id == cell.id


def test_the_id_is_the_hash_of_the_canonical_identity():
    cell = compose({"bench": "glyphs", "method": "janus", "order": "pilot1993", "seed": 3})
    whole = hashlib.sha256(canonical(cell.identity()).encode()).hexdigest()
    assert cell.id == whole[:16]
    moved = dataclasses.replace(cell, order="2")
    assert moved.id == hashlib.sha256(canonical(moved.identity()).encode()).hexdigest()[:16]


def test_a_source_that_no_bench_has_is_refused_when_the_cell_is_composed():
    with pytest.raises(ConfigError, match=r"unknown bench.source 'glyph'.*'glyphs'"):
        compose({"bench": "glyphs", "bench.source": "glyph"})
