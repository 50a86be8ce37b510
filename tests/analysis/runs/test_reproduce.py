"""The command beside a run trains that very cell."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pytest
from safetensors.numpy import save_file

from analysis.pages.reproduce import cell_command
from janus.config.compose import compose
from janus.config.overrides import parse_overrides
from janus.errors import ConfigError


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"method": "seqlora", "method__rank": 3, "order": 7, "seed": 2},
        {"method": "inflora", "train__epochs": 2, "train__precision": "bf16"},
        {"eval": "validation", "bench__train_per_class": 5, "bench__augment": "shift"},
        {"bench": "glyphs_styles", "order": "natural", "method__margin_loss": False},
        {"backbone__mean": 0.0, "backbone__std": 1.0, "method__lr": 1e-3},
        {"bench": "cifar100", "method": "bilora", "train__first_epochs": None},  # the file says 40
        {"bench": "imagenet_r", "bench__split_sha256": "3" * 64},
        {"method__schedule": "cosine"},
        {"method__schedule": "drop", "method__milestones": "4+6+8"},
        {"bench": "folder", "bench__split_sha256": "3" * 64, "bench__classes": 7},
        {"bench": "vtab", "bench__split_sha256": "3" * 64, "bench__scenario": "domain"},
        {"backbone": "toy", "backbone__model_kwargs": {"patch_size": 8, "qkv_bias": False}},
        {"backbone__model": "vit_small_patch16_224", "backbone__weights": "random"},
    ],
)
def test_the_command_composes_to_the_same_id(fake, fields):
    cell = fake.add(**fields)
    words = words_of(fake, cell)
    assert words[:3] == ["python", "-m", "janus"]
    assert compose(parse_overrides(words[3:])).id == cell.id
    assert ("bench.root=DIR" in words) == (not cell.bench.name.startswith("glyphs"))


def test_the_command_names_a_value_as_it_is_typed_whatever_its_meaning(fake):
    cell = fake.add(method__schedule="cosine")
    assert cell.identity()["method"]["values"]["schedule"] == "cosine@2"
    assert "method.schedule=cosine" in words_of(fake, cell)


def test_a_local_weight_file_is_left_to_be_filled_in_and_its_hash_checked(fake, tmp_path):
    file = tmp_path / "mine.safetensors"
    save_file({"weights": np.zeros(3)}, file)
    cell = fake.add(bench="cifar100", backbone__weights=str(file))
    words = words_of(fake, cell)
    assert "backbone.weights=PATH" in words
    moved = file.rename(tmp_path / "elsewhere.safetensors")
    filled = [w.replace("=PATH", f"={moved}").replace("=DIR", f"={tmp_path}") for w in words[3:]]
    assert compose(parse_overrides(filled)).id == cell.id
    save_file({"others": np.zeros(3)}, moved)
    with pytest.raises(ConfigError, match="not the declared"):
        compose(parse_overrides(filled))


def words_of(fake, cell):
    record = json.loads(fake.path(cell).read_text())
    return shlex.split(cell_command(record["cell"]))
