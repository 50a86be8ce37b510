"""Adapters on the fused qkv: exact merge, right slices, PEFT as oracle."""

from __future__ import annotations

import pytest
import torch

from janus.errors import ConfigError
from janus.nn.lora import add_products, attach_lora, start_a
from tests.janus.nn.small_vit import IMAGES, vit


def filled(model, targets="kv", rank=4, scale=1.0):
    layers = attach_lora(model, targets, rank, scale)
    for layer in layers:
        start_a(layer, ("test",))
        with torch.no_grad():
            layer.b.normal_(generator=torch.Generator().manual_seed(layer.block))
    return layers


@pytest.mark.parametrize("targets", ["kv", "q", "qv", "qkv"])
def test_merge_is_exact(targets):
    model = vit()
    layers = filled(model, targets, scale=0.5)
    before = model(IMAGES)
    for layer in layers:
        layer.merge()
    assert (model(IMAGES) - before).norm() <= 1e-6 * before.norm()
    assert all(float(layer.b.detach().abs().max()) == 0 for layer in layers)


def test_zero_b_changes_nothing():
    plain = vit()(IMAGES)
    model = vit()
    for layer in attach_lora(model, "kv", 4, 1.0):
        start_a(layer, ("test",))
    assert torch.equal(model(IMAGES), plain)


def test_only_the_targets_thirds_move():
    model = vit()
    layer = filled(model, "kv")[0]
    x = torch.randn(2, 5, 32)
    moved = layer(x) - layer.linear(x)
    assert float(moved[..., :32].detach().abs().max()) == 0
    for target, rows in ((0, slice(32, 64)), (1, slice(64, 96))):
        want = x @ (layer.b[target] @ layer.a[target]).T
        assert torch.allclose(moved[..., rows], want, atol=1e-5)


def test_products_are_added_with_their_gradients():
    draw = torch.Generator().manual_seed(0)
    out, hidden, up = (
        torch.randn(shape, generator=draw, dtype=torch.float64).requires_grad_()
        for shape in ((5, 12), (5, 6), (2, 4, 3))
    )
    found = add_products(out.clone(), hidden, up, [0, 8])
    want = out.detach().clone()
    want[:, :4] += hidden[:, :3] @ up[0].mT
    want[:, 8:] += hidden[:, 3:] @ up[1].mT
    assert torch.allclose(found, want)
    assert torch.autograd.gradcheck(
        lambda o, h, u: add_products(o.clone(), h, u, [0, 8]), (out, hidden, up)
    )


@pytest.mark.slow
def test_equals_peft_where_peft_can_express_it():
    """PEFT adapts the whole fused Linear: give it the q, k and v adapters as one block matrix."""
    peft = pytest.importorskip("peft")
    ours, theirs = vit(), vit()
    layers = filled(ours, "qkv", rank=4)
    config = peft.LoraConfig(r=12, lora_alpha=12, target_modules=["qkv"])
    wrapped = peft.get_peft_model(theirs, config)
    modules = [m for n, m in wrapped.named_modules() if n.endswith("attn.qkv")]
    for layer, module in zip(layers, modules, strict=True):
        with torch.no_grad():
            module.lora_A["default"].weight.copy_(layer.a.flatten(0, 1))
            module.lora_B["default"].weight.copy_(torch.block_diag(*layer.b))
    assert torch.allclose(ours(IMAGES), wrapped(IMAGES), atol=1e-5)


def test_probe_gives_the_weight_gradient_along_a_basis():
    model = vit()
    layer = filled(model)[0]
    v = torch.linalg.qr(torch.randn(32, 5))[0]
    x = torch.randn(4, 7, 32)
    layer.tap_gradient(v)
    layer(x).square().sum().backward()
    probed = layer.gradient_tap[1].grad
    layer.linear.weight.requires_grad_(True)
    layer.gradient_tap = None
    layer(x).square().sum().backward()
    full = layer.linear.weight.grad
    for target in (0, 1):
        want = full[layer.rows(target)] @ v
        assert torch.allclose(probed[target], want, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("rank", [0, 33])
def test_rank_must_fit_the_width(rank):
    with pytest.raises(ConfigError, match="between 1 and the width 32"):
        attach_lora(vit(), "kv", rank, 1.0)


def test_a_model_without_fused_qkv_is_refused():
    with pytest.raises(ConfigError, match="no blocks"):
        attach_lora(torch.nn.Linear(3, 3), "kv", 1, 1.0)
