"""Gradient Rectification as a plug-in: safe where the host is, and the closed form itself."""

from __future__ import annotations

import pytest
import torch

from janus.algorithms.rectification import rectify, relative_damping, without
from janus.errors import ConfigError
from tests.janus.methods.by_hand import leak, started, train

FAST = {"method__lr": 3e-3, "method__head_lr": 1e-2}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"method__precondition": "weight", "method__lr": 1e-4},
        {"method__lifetime": "carried"},
    ],
    ids=["factors", "weight", "carried"],
)
def test_gpm_with_rectification_is_exactly_safe(options):
    method, stream = started("lora_gpm_gr", **FAST | options)
    for task in stream.tasks[:2]:
        train(method, task)
    assert method.bases[0].size > 0 and leak(method) < 1e-5
    assert float(method.task_update().norm()) > 1e-3


@pytest.mark.slow
def test_gpm_with_rectification_on_a_random_a_leaks():
    """The closed form alone is not safe, as the residual in the paper's figure shows."""
    method, stream = started("lora_gpm_gr", **FAST, method__variant="naive")
    for task in stream.tasks[:2]:
        train(method, task)
    assert leak(method) > 1e-3


def test_drs_with_rectification_is_blind_to_the_complement():
    method, stream = started("lora_drs_gr", **FAST, train__epochs=1)
    for task in stream.tasks[:2]:
        train(method, task)
    assert method.protected().shape[-1] > 0 and leak(method) < 1e-5
    assert float(method.task_update().norm()) > 1e-3


@pytest.mark.parametrize("precondition", ["factors", "weight", "composite"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("janus", {"method__a_init": "random", "method__constrained": False}),
        ("lora_gpm_gr", {"method__variant": "naive"}),
        ("lora_drs_gr", {"method__a_init": "random"}),
    ],
)
def test_an_a_that_reads_what_is_protected_is_stepped_with_in_every_space(
    name, options, precondition
):
    small = {"method__lr": 1e-4, "method__precondition": precondition, "train__epochs": 1}
    method, stream = started(name, **options, **small)
    train(method, stream.tasks[0])
    train(method, stream.tasks[1], steps=2)
    assert method.rectifier.leaks
    change = float(method.task_update().norm())
    assert 0 < change < float("inf")


@pytest.mark.slow
def test_drs_without_rectification_reads_the_complement_through_its_random_a():
    method, stream = started("lora_drs_clean", **FAST, train__epochs=1)
    for task in stream.tasks[:2]:
        train(method, task)
    assert leak(method) > 1e-3


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lora_gpm_gr", {}),
        ("lora_gpm_gr", {"method__variant": "naive"}),
        ("lora_drs_gr", {}),
        ("lora_drs_gr", {"method__a_init": "random"}),
    ],
)
def test_plugged_in_gradients_equal_the_closed_form(name, options):
    """What the optimiser is handed solves the damped problem of the explicit D = G (I - V V^T)."""
    method, stream = started(name, **FAST, **options, train__epochs=1)
    train(method, stream.tasks[0])
    train(method, stream.tasks[1], steps=2)
    rectifier = method.rectifier
    for layer in method.layers:
        layer.linear.weight.requires_grad_(True)
        layer.a.grad = layer.b.grad = layer.linear.weight.grad = None
    sum(method.loss(next(iter(stream.tasks[1].train_batches(0)))).values()).backward()
    a = torch.stack([x.a.detach() for x in method.layers])
    b = torch.stack([x.b.detach() for x in method.layers])
    assert rectifier.bases.shape[-1] > 0
    d = without(rectifier.weight_gradient(), rectifier.bases)
    damping = relative_damping(a, method.context.settings["damping"])
    wanted_a, wanted_b = rectify(a, b, b.mT @ d, d @ a.mT, 1.0, damping)
    rectifier.replace_gradients(method.optimizer)
    got_a = torch.stack([x.a.grad for x in method.layers])
    got_b = torch.stack([x.b.grad for x in method.layers])
    for got, wanted in ((got_a, wanted_a), (got_b, wanted_b)):
        assert float((got - wanted).norm()) < 1e-3 * float(wanted.norm())


def test_without_anything_protected_rectification_still_acts():
    """The first task: P = I, and the factor gradients are the closed form, not autograd's."""
    method, stream = started("lora_gpm_gr", **FAST)
    train(method, stream.tasks[0], steps=2)
    sum(method.loss(next(iter(stream.tasks[0].train_batches(1)))).values()).backward()
    raw = method.layers[0].b.grad.clone()
    method.rectifier.replace_gradients(method.optimizer)
    assert not torch.allclose(method.layers[0].b.grad, raw)


def test_projecting_both_factors_by_hand_and_rectifying_exclude_each_other():
    with pytest.raises(ConfigError, match="variant=exact"):
        started("lora_gpm", method__rectify=True, method__variant="both")
