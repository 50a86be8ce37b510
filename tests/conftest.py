"""Shared fixtures: tiny cells on the untrained toy backbone, and one thread so that bits repeat."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from janus.config.cell import Cell
from janus.config.compose import compose

TOY: dict[str, Any] = {
    "bench": "glyphs",
    "backbone": "toy",
    "bench.tasks": 4,
    "bench.train_per_class": 6,
    "bench.test_per_class": 5,
    "train.epochs": 2,
    "train.batch_size": 16,
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def toy_cell(method: str = "janus", **overrides: Any) -> Cell:
    """A cell that trains in about a second; dots in keys are written as double underscores."""
    named = {key.replace("__", "."): value for key, value in overrides.items()}
    return compose({**TOY, "method": method, **named})
