"""A batch passed in parts: the step of the whole batch, of every method, in float64."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from janus.config.compose import compose
from janus.config.method_spec import spec_names
from janus.data.stream import Batch, cut, plain_batches, tasks_of
from janus.methods import make_method
from janus.methods.base.method import Context
from janus.methods.base.precomputable import predict_batch
from janus.nn.vit import build_backbone
from janus.training.checkpoint import flatten
from janus.training.step import split, take_step
from tests.helpers.bed import Bed
from tests.janus.methods import zoo
from tests.janus.methods.by_hand import started
from tests.janus.methods.zoo import Row
from tests.parity.frame import CPU, SHORT, error, fill, in_float64, patterns

BOUND, ZERO = 1e-8, 1e-13
TINY: dict[str, Any] = {
    "train.epochs": 2,
    "train.batch_size": 10,  # a task of 32 images: 10, 10, 10 and 2
}

E2_COLUMNS = re.compile(r"adapters/\d+/(b|finished/\d+/1)$")
E2_ROWS = re.compile(r"(adapters/\d+/(a|finished/\d+/0)|momentum_buffer)$")
"""E2-LoRA's B and A, with A's momentum: known up to a turn among directions of equal energy."""

BATCHWISE = [
    Row("janus", {"method__estimator": "fd", "method__sketch_size": 8}),
    Row("janus", {"method__estimate_tokens": 50}),
    Row("janus", {"method__estimate_memory": 2}),
    Row("lora_gpm", {"method__variant": "both", "method__lifetime": "carried"}),
    Row("l2p", {"bench__augment": "none"}),
    Row("lora_drs", {"method__triplet_weight": 1.0}),
    Row("seqlora", {"train__clip": 0.01, "train__warmup": 0.5}),
    Row("janus", {"train__clip": 0.01, "train__warmup": 0.5, "method__precondition": "weight"}),
]
"""Variants, beside the zoo's, in which something depends on the batch as a whole."""
QUICK = {("janus", 3), ("l2p", 4), ("lora_drs", 3)}

ROWS = [r for r in [*zoo.ROWS, *BATCHWISE] if r.options.get("train__precision") != "bf16"]
each_row_in_parts = pytest.mark.parametrize(
    ("row", "parts"),
    [
        pytest.param(
            *(row, parts),
            id=f"{row.name}-{parts}",
            marks=[] if (row.name, parts) in QUICK else [pytest.mark.slow],
        )
        for row in {r.name: r for r in ROWS}.values()
        for parts in (3, 4)
    ],
)


def trained(row: Row, parts: int) -> tuple[dict[str, Tensor], list[list[int]]]:
    """All that a method holds during and after two tasks, and its matrix of correct counts."""
    options = {key.replace("__", "."): value for key, value in row.options.items()}
    named = {"bench": "cifar100", "method": row.method, **SHORT, **TINY, **options}
    cell = compose(named | {"train.accumulate": parts})
    held: dict[str, Tensor] = {}
    correct = []
    with in_float64():
        stream = cut(patterns(), cell, CPU)
        backbone = build_backbone(cell.backbone, CPU)
        fill(backbone)
        method = make_method(Context(cell, backbone, CPU))
        for task in tasks_of(stream, method.joint)[:2]:
            method.begin_task(task)
            for epoch in range(method.epochs(task)):
                losses = [take_step(method, b) for b in task.train_batches(epoch)]
                held[f"{task.index} {epoch} losses"] = torch.stack(losses)
            held |= state(f"{task.index} trained", row, method.state_dict())
            method.end_task(task)
            held |= state(f"{task.index} ended", row, method.state_dict())
            with torch.no_grad():
                tests = stream.tests if method.joint else stream.tests[: task.index + 1]
                correct.append([hits(method, cell, part) for part in tests])
    return held, correct


def state(where: str, row: Row, tree: Mapping[str, Any]) -> dict[str, Tensor]:
    """Every tensor; of singular vectors, whose signs rounding decides, their second moment."""
    tensors, _ = flatten(dict(tree))
    found = {}
    for name, value in tensors.items():
        value = value.detach().clone()
        if name.endswith("/sketch"):
            value = value.mT @ value
        elif name.endswith("/directions") or "bases" in name or E2_COLUMNS.search(name):
            value = value @ value.mT
        elif row.method == "e2_lora" and value.dim() == 2 and E2_ROWS.search(name):
            value = value.mT @ value
        found[f"{where} {name}"] = value
    return found


def hits(method, cell, images) -> int:
    answers = [(predict_batch(method, b)[0], b.labels) for b in plain_batches(images, cell, CPU)]
    return sum(int((logits.argmax(1) == labels).sum()) for logits, labels in answers)


def alike(found: Tensor, wanted: Tensor) -> bool:
    """Within BOUND of the largest entry; what is below ZERO is zero but for rounding."""
    far = error(found.double(), wanted.double())
    return far < BOUND or float((found - wanted).abs().max()) < ZERO


WHOLE: dict[str, Any] = {}


@each_row_in_parts
def test_a_batch_in_parts_trains_what_the_whole_batch_trains(row, parts):
    if row.name not in WHOLE:
        WHOLE[row.name] = trained(row, 1)
    (whole, matrix), (found, same) = WHOLE[row.name], trained(row, parts)
    assert found.keys() == whole.keys()
    assert [name for name in whole if not alike(found[name], whole[name])] == []
    assert same == matrix


def test_every_method_is_trained_in_parts_here():
    assert {row.method for row in ROWS} == set(spec_names("method"))


# ---- parts -------------------------------------------------------------------------------------
def batch_of(count: int) -> Batch:
    index = torch.arange(count)
    return Batch(index[:, None] * torch.ones(2), index, index, index[:, None].float())


@pytest.mark.parametrize(
    ("count", "parts", "sizes"), [(10, 3, [4, 3, 3]), (2, 3, [1, 1]), (1, 4, [1]), (8, 1, [8])]
)
def test_parts_are_the_batch_in_its_order(count, parts, sizes):
    whole = batch_of(count)
    found = split(whole, parts)
    assert [len(p.labels) for p in found] == sizes
    assert [p.start for p in found] == [sum(sizes[:k]) for k in range(len(sizes))]
    for name in ("images", "labels", "domains", "queries"):
        assert torch.equal(torch.cat([getattr(p, name) for p in found]), getattr(whole, name))


def test_a_method_updates_once_a_step_from_all_parts():
    method, stream = started("janus", train__accumulate=4)
    method.begin_task(stream.tasks[0])
    calls = []
    for name in ("loss", "update"):
        plain = getattr(method, name)

        def told(*args, name=name, plain=plain):
            calls.append(name)
            return plain(*args)

        setattr(method, name, told)
    take_step(method, next(stream.tasks[0].train_batches(0)))
    assert calls == ["loss"] * 4 + ["update"]
    assert method.optimizer.steps == 1


@pytest.mark.slow
@pytest.mark.parametrize("method", ["seqlora", "janus", "lora_drs", "l2p", "slca"])
def test_in_bf16_parts_change_less_than_bf16_itself(method):
    exact, whole, parts = (gradient(method, *of) for of in (("fp32", 1), ("bf16", 1), ("bf16", 4)))
    assert (parts - whole).norm() < (whole - exact).norm() < 0.2 * exact.norm()


def gradient(name: str, precision: str, parts: int) -> Tensor:
    """Of a first step, summed over its parts, in float32."""
    method, stream = started(name, train__precision=precision, train__accumulate=parts)
    method.begin_task(stream.tasks[0])
    weights = [*method.own_parameters(), *method.head_parameters()]
    method.update = lambda: None
    take_step(method, next(stream.tasks[0].train_batches(0)))
    found = [w.grad for w in weights if w.grad is not None]
    assert all(g.dtype == torch.float32 for g in found)
    return torch.cat([g.flatten() for g in found])


@pytest.mark.slow
def test_a_vit_base_moves_as_by_the_whole_batch():
    """The published shape in float32, rectified, after a task: parameters after a step of SGD."""
    moved = []
    for parts in (1, 4):
        bed = Bed("janus", "base", 8, "cpu", accumulate=parts, optimizer="sgd")
        bed.finish_tasks(1)
        before = adapters(bed.method)
        bed.step()
        moved.append(adapters(bed.method) - before)
    assert float(moved[0].norm()) > 0
    assert float((moved[1] - moved[0]).norm() / moved[0].norm()) < 1e-3


def adapters(method) -> Tensor:
    """All trained parameters, flat."""
    trained = (*method.own_parameters(), *method.head_parameters())
    return torch.cat([p.detach().flatten() for p in trained])
