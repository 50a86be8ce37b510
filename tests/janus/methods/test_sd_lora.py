"""SD-LoRA's defining properties: directions stay, magnitudes move, KD absorbs, RR shrinks."""

from __future__ import annotations

import pytest
import torch

from janus.methods.sd_lora import rank_at
from tests.janus.methods.by_hand import started, train

FAST = {"method__lr": 3e-3, "method__head_lr": 1e-2}


def two_tasks(name="sd_lora", **options):
    method, stream = started(name, **FAST, **options)
    for task in stream.tasks[:2]:
        train(method, task)
    return method, stream


def test_old_directions_never_move_while_magnitudes_do():
    method, stream = two_tasks()
    method.begin_task(stream.tasks[2])
    directions = [[t.clone() for t in x.frozen] for x in method.layers]
    weights = [x.linear.weight.clone() for x in method.layers]
    for batch in stream.tasks[2].train_batches(0):
        sum(method.loss(batch).values()).backward()
        method.update()
    for layer, frozen, weight in zip(method.layers, directions, weights, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(layer.frozen, frozen, strict=True))
        assert torch.equal(layer.linear.weight, weight)
    moved = (method.magnitudes - method.started_at).detach().abs()
    assert len(moved) == 3 and bool((moved > 1e-4).all())


@pytest.mark.slow
def test_forward_equals_the_formula():
    method, stream = two_tasks()
    train(method, stream.tasks[2], steps=3)
    images = next(stream.tasks[2].plain_batches()).images
    with torch.no_grad():
        found = method.features(images)
        m = method.magnitudes
        for block, layer in enumerate(method.layers):
            for target, weight in enumerate(layer.slices()):
                weight += m[2] * layer.b[target] @ layer.a[target]
                for i, entry in enumerate(method.bank.entries):
                    a, b = entry[block][0][target], entry[block][1][target]
                    weight += m[i] * b @ a / (b.norm() * a.norm())
            layer.enabled = False
        assert torch.allclose(found, method.backbone(images), atol=1e-4)


@pytest.mark.slow
def test_magnitudes_start_every_task_at_the_published_value():
    method, stream = two_tasks()
    method.begin_task(stream.tasks[2])
    assert torch.allclose(method.magnitudes.detach(), torch.full((3,), 0.8))


def test_a_direction_that_old_ones_span_is_absorbed():
    """Task 3 learns the direction of task 1, five times as long: nothing new is stored."""
    method, stream = two_tasks("sd_lora_kd")
    method.begin_task(stream.tasks[2])
    assert len(method.bank) == 2
    with torch.no_grad():
        for layer, (a, b) in zip(method.layers, method.bank.pairs(0), strict=True):
            layer.a.copy_(a)
            layer.b.copy_(5 * b)
    method.end_task(stream.tasks[2])
    method.begin_task(stream.tasks[3])
    assert len(method.bank) == 2
    start = method.magnitudes.detach()
    assert torch.allclose(start, torch.tensor([1.6, 0.8, 0.8]), atol=1e-3)


@pytest.mark.slow
def test_a_new_direction_is_kept_under_distillation():
    method, stream = two_tasks("sd_lora_kd")
    method.begin_task(stream.tasks[2])
    assert len(method.bank) == 2


@pytest.mark.slow
def test_rank_falls_with_the_tasks():
    assert [rank_at(10, t, 4) for t in range(10)] == [10] * 4 + [8] * 4 + [6] * 2
    assert rank_at(1, 9, 4) == 1
    method, stream = started("sd_lora_rr", **FAST, method__reduce_every=1, train__epochs=1)
    for task in stream.tasks[:3]:
        train(method, task)
    assert [entry[0][0].shape[1] for entry in method.bank.entries] == [10, 8]
    assert method.layers[0].a.shape[1] == 6


def test_heads_start_as_the_sources_do():
    """Uniform in +-sqrt(3 / D) without a bias, where other methods start in +-1 / sqrt(D)."""
    method, stream = started("sd_lora")
    method.begin_task(stream.tasks[0])
    head, bound = method.heads.parts[0], (3 / 32) ** 0.5
    assert 0.9 * bound < float(head.weight.abs().max()) <= bound
    assert torch.equal(head.bias, torch.zeros_like(head.bias))
    plain, _ = started("seqlora")
    plain.begin_task(stream.tasks[0])
    other = plain.heads.parts[0]
    assert torch.allclose(head.weight, other.weight * 3**0.5)
    assert float(other.bias.abs().max()) > 0
