"""The learning rates that a `TaskOptimizer` steps with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from janus.data import load_bench as benches
from janus.data.stream import Task, cut
from janus.methods.base.optimizer import TaskOptimizer
from tests.conftest import toy_cell


def task(epochs: int, index: int = 0, **fields: Any) -> Task:
    """A task of three steps an epoch."""
    cell = toy_cell("seqlora", train__batch_size=50, **fields)
    found = cut(benches.load_images(cell.bench), cell, torch.device("cpu")).tasks[index]
    return replace(found, epochs=epochs)


def rates(epochs: int, index: int = 0, **fields: Any) -> list[list[float]]:
    """The rates that steps are taken with, by epoch, for a base rate of 1."""
    where = task(epochs, index, **fields)
    weight = nn.Parameter(torch.zeros(1))
    optimizer = TaskOptimizer([([weight], 1.0)], where.cell.method.values, where)
    found = []
    for _ in range(epochs):
        found.append([])
        for _ in range(where.steps_per_epoch):
            optimizer.step()
            found[-1].append(optimizer.inner.param_groups[0]["lr"])
    return found
