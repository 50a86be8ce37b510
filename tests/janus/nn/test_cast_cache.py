"""Casts of frozen weights: autocast's own numbers, and never those of an older weight."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from janus.nn.cast_cache import FrozenLinear, hook_attention_kernel, keep_casts
from janus.nn.lora import LoraQKV, attach_lora, start_a
from tests.janus.nn.small_vit import IMAGES, vit


def autocast():
    return torch.autocast("cpu", dtype=torch.bfloat16)


def linear():
    torch.manual_seed(0)
    return nn.Linear(8, 8).requires_grad_(False)


def same_as_autocast(layer, x):
    """Whether `layer` gives what a plain Linear with its present values gives."""
    plain = nn.Linear(8, 8)
    plain.load_state_dict(layer.state_dict())
    with autocast(), torch.no_grad():
        return torch.equal(layer(x), plain(x))


X = torch.randn(4, 8, generator=torch.Generator().manual_seed(1))


def test_a_network_computes_what_autocast_computes():
    plain, kept = vit(), keep_casts(vit())
    for model in (plain, kept):
        for layer in attach_lora(model, "kv", 4, 1.0):
            start_a(layer, ("test",))
            with torch.no_grad():
                layer.b.normal_(generator=torch.Generator().manual_seed(layer.block))
    for _ in range(2):  # the second pass meets kept casts
        with autocast():
            found = [model(IMAGES) for model in (plain, kept)]
        assert torch.equal(*found)
    grads = [
        torch.autograd.grad(f.float().sum(), m.blocks[0].attn.qkv.a)
        for f, m in zip(found, (plain, kept), strict=True)
    ]
    assert torch.equal(grads[0][0], grads[1][0])


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.weight.add_(1),
        lambda x: x.bias.add_(1),
        lambda x: x.weight[2:4].mul_(3),
        lambda x: x.weight.detach()[2:4].copy_(torch.ones(2, 8)),
        lambda x: x.load_state_dict(nn.Linear(8, 8).state_dict()),
        lambda x: setattr(x, "weight", nn.Parameter(torch.ones(8, 8), requires_grad=False)),
    ],
)
def test_a_changed_weight_is_cast_again(change):
    layer = keep_casts(nn.Sequential(linear()))[0]
    assert same_as_autocast(layer, X)
    change(layer)
    assert same_as_autocast(layer, X)


@pytest.mark.parametrize("change", ["merge", "slices"])
def test_what_adapters_do_to_the_frozen_weight_is_seen(change):
    model = keep_casts(nn.ModuleList([nn.Linear(8, 24)])).requires_grad_(False)
    layer = LoraQKV(model[0], 0, "kv", 2, 1.0)
    with autocast(), torch.no_grad():
        before = layer(X)
        layer.a.fill_(1)
        layer.b.fill_(1)
        if change == "merge":
            layer.merge()
        else:
            layer.b.zero_()
            for own in layer.slices():
                own.add_(2)
        moved = layer(X) - before
    assert bool((moved[:, 8:].abs().amax(0) > 0.1).all())
    assert float(moved[:, :8].abs().max()) == 0


def test_trained_and_float32_weights_are_used_as_they_are():
    layer = keep_casts(nn.Sequential(linear()))[0]
    assert layer.operands()[0] is layer.weight
    layer.requires_grad_(True)
    with autocast():
        assert layer.operands()[0] is layer.weight
        layer(X).float().sum().backward()
    assert layer.weight.grad is not None


def test_state_and_types_stay_those_of_a_linear():
    layer = keep_casts(nn.Sequential(linear()))[0]
    with autocast():
        layer(X)
    assert list(layer.state_dict()) == ["weight", "bias"]
    assert isinstance(layer, nn.Linear) and type(layer) is FrozenLinear


def test_attention_is_fused_in_float32_alone():
    model = hook_attention_kernel(vit())
    calls = []
    original = torch.nn.functional.scaled_dot_product_attention

    def counted(*arguments, **more):
        calls.append(torch.is_autocast_enabled("cpu"))
        return original(*arguments, **more)

    torch.nn.functional.scaled_dot_product_attention = counted
    try:
        with autocast():
            half = model(IMAGES)
        whole = model(IMAGES)
    finally:
        torch.nn.functional.scaled_dot_product_attention = original
    assert calls == [False] * len(model.blocks)
    assert (half - whole).norm() < 0.02 * whole.norm()


def test_a_prediction_in_inference_mode_leaves_casts_that_training_can_use():
    layer = keep_casts(nn.Sequential(linear()))[0]
    with autocast(), torch.inference_mode():
        layer(X)
    x = X.clone().requires_grad_()
    with autocast():
        layer(x).float().sum().backward()
    assert x.grad is not None
