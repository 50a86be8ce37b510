"""A method on the tiny model, and its training step by step, without the loop."""

from __future__ import annotations

from typing import Any

import torch

from janus.data import load_bench as benches
from janus.data.stream import cut
from janus.methods import make_method
from janus.methods.base.method import Context
from janus.nn.vit import build_backbone
from tests.conftest import toy_cell

CPU = torch.device("cpu")


def started(method: str, **overrides: Any):
    """A method and its stream, nothing trained yet."""
    cell = toy_cell(method, **overrides)
    stream = cut(benches.load_images(cell.bench), cell, CPU)
    context = Context(cell, build_backbone(cell.backbone, CPU), CPU)
    return make_method(context), stream


def train(method, task, steps: int | None = None):
    """One task by hand, through the contract alone."""
    method.begin_task(task)
    for epoch in range(method.epochs(task)):
        for batch in task.train_batches(epoch):
            if steps == 0:
                return
            sum(method.loss(batch).values()).backward()
            method.update()
            steps = None if steps is None else steps - 1
    method.end_task(task)


def leak(method) -> float:
    """Largest |dW V| / |dW| over blocks and targets, V as the task found it."""
    spans = method.diagnose([])["violation_span"]
    return max(max(values) for values in spans.values())
