"""The command beside a run trains that very cell."""

from __future__ import annotations

import json
import shlex

import pytest

from analysis.reproduce import command
from janus.__main__ import parse_overrides
from janus.compose import compose


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"method": "seqlora", "method__rank": 3, "order": 7, "seed": 2},
        {"method": "inflora", "train__epochs": 2, "train__precision": "bf16"},
        {"eval": "validation", "bench__train_per_class": 5, "bench__augment": "shift"},
        {"bench": "glyphs_styles", "order": "natural", "method__margin_loss": False},
        {"backbone__mean": 0.0, "backbone__std": 1.0, "method__lr": 1e-3},
    ],
)
def test_the_command_composes_to_the_same_id(fake, fields):
    cell = fake.add(**fields)
    record = json.loads(fake.path(cell).read_text())
    words = shlex.split(command(record["cell"]))
    assert words[:3] == ["python", "-m", "janus"]
    assert compose(parse_overrides(words[3:])).id == cell.id
