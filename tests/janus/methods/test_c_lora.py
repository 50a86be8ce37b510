"""C-LoRA's defining properties: the old routing is frozen and merged without a change."""

from __future__ import annotations

import pytest
import torch

from janus.methods.c_lora import carrying
from tests.janus.methods.by_hand import started, train

FAST = {"method__lr": 3e-3, "method__head_lr": 1e-2}


def first_gradients(**options):
    """Gradients of the first step of the second task, where R_new is still zero."""
    method, stream = started("c_lora", **FAST, **options)
    train(method, stream.tasks[0])
    method.begin_task(stream.tasks[1])
    sum(method.loss(next(stream.tasks[1].train_batches(0))).values()).backward()
    return method


def test_the_part_through_old_routing_carries_no_gradient():
    """With R_new = 0 the pair only acts through R_old: its gradient must be exactly zero."""
    method = first_gradients()
    assert not method.old.requires_grad and float(method.old.norm()) > 0
    assert float(method.new.grad.abs().max()) > 0
    for layer in method.layers:
        assert not bool(layer.a.grad.any()) and not bool(layer.b.grad.any())
    opened = first_gradients(method__old_gradients="open")
    assert all(bool(x.a.grad.any()) and bool(x.b.grad.any()) for x in opened.layers)


@pytest.mark.slow
def test_both_readings_compute_the_same_function():
    closed, opened = (first_gradients(method__old_gradients=g) for g in ("stopped", "open"))
    with torch.no_grad():
        for mine, other in zip(closed.layers, opened.layers, strict=True):
            other.a.copy_(mine.a)
            other.b.copy_(mine.b)
        opened.old = closed.old
        opened.new.copy_(closed.new.normal_(generator=torch.Generator().manual_seed(0)))
        images = torch.randn(4, 1, 32, 32, generator=torch.Generator().manual_seed(1))
        assert torch.allclose(closed.features(images), opened.features(images), atol=1e-4)


def test_merging_the_routing_leaves_the_network_as_it_is():
    method, stream = started("c_lora", **FAST)
    train(method, stream.tasks[0])
    images = next(stream.tasks[0].plain_batches()).images
    with torch.no_grad():
        before, learnt = method.features(images), method.new.detach().clone()
        method.begin_task(stream.tasks[1])
        assert torch.equal(method.old, learnt) and not bool(method.new.any())
        assert torch.allclose(method.features(images), before, atol=1e-5)


def test_starts_as_the_pretrained_network():
    method, stream = started("c_lora")
    images = next(stream.tasks[0].plain_batches()).images
    with torch.no_grad():
        before = method.backbone(images)
        method.begin_task(stream.tasks[0])
        assert torch.allclose(method.features(images), before, atol=1e-6)
        assert float(method.layers[0].b.norm()) > 0


def test_penalty_sees_only_what_old_routing_uses():
    g = torch.Generator().manual_seed(0)
    u, v = (torch.linalg.qr(torch.randn(6, 6, generator=g))[0] for _ in range(2))
    old = u[:, :2] @ torch.diag(torch.tensor([3.0, 1.0])) @ v[:, :2].mT
    left, right = carrying(old, 0.99)
    assert torch.allclose(left, u[:, :2] @ u[:, :2].mT, atol=1e-5)
    free = u[:, 2:] @ torch.randn(4, 4, generator=g) @ v[:, 2:].mT
    assert float((left @ free).norm() + (free @ right).norm()) < 1e-5
    # 9 of 10 parts of the energy lie in the first direction: the weak one is left free
    assert int(carrying(old, 0.85)[0].trace().round()) == 1
    assert not bool(carrying(torch.zeros(6, 6), 0.99)[0].any())


@pytest.mark.slow
def test_task_update_is_what_the_network_gained():
    method, stream = started("c_lora", **FAST)
    for task in stream.tasks[:2]:
        train(method, task)
    images = next(stream.tasks[0].plain_batches()).images
    with torch.no_grad():
        after, update = method.features(images), method.task_update()
        with method.previous_network():
            for layer, delta in zip(method.layers, update, strict=True):
                for weight, part in zip(layer.slices(), delta, strict=True):
                    weight += part
            assert torch.allclose(method.backbone(images), after, atol=1e-4)
