"""The last block for the CLS row alone: timm's features and gradients, or timm's forward."""

from __future__ import annotations

from types import MethodType

import pytest
import timm
import torch

from janus.nn.bottleneck import attach_bottlenecks as attach_adapters
from janus.nn.bottleneck import new_adapter, use
from janus.nn.cls_only_block import ClsOnlyBlock, compute_cls_only
from janus.nn.fourier_update import DenseQKV
from janus.nn.lora import attach_lora, start_a, tapped, wrap
from janus.nn.prompts import PromptedViT

BUNDLED = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 6, "num_heads": 4}
TINY = {"img_size": 224, "depth": 12}
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 2}


def pair(shape, **kwargs):
    """The same model twice: timm's own forward, and the lean one."""
    models = []
    for lean in (False, True):
        torch.manual_seed(0)
        model = timm.create_model("vit_tiny_patch16_224", num_classes=0, **shape, **kwargs)
        model.eval().requires_grad_(False)
        models.append(compute_cls_only(model) if lean else model)
    return models


def images(shape, count=2):
    size = shape["img_size"]
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def adapted(model, targets="kv"):
    layers = attach_lora(model, targets, 4, 1.0)
    for layer in layers:
        start_a(layer, ("test",))
        with torch.no_grad():
            layer.b.normal_(0, 0.02, generator=torch.Generator().manual_seed(layer.block))
    return layers


def near(found, wanted, share):
    return bool((found - wanted).norm() <= share * wanted.norm())


@pytest.mark.parametrize("shape", [BUNDLED, TINY], ids=["bundled", "tiny"])
@pytest.mark.parametrize("targets", ["kv", "qv"])
def test_features_and_gradients_are_those_of_timm(shape, targets):
    found = []
    for model in pair(shape):
        layers = adapted(model, targets)
        features = model(images(shape))
        # no norm: that of a LayerNorm's output is constant, and its gradient rounding alone
        readout = torch.randn(features.shape, generator=torch.Generator().manual_seed(2))
        (features * readout).sum().backward()
        found.append((features.detach(), [p.grad for x in layers for p in (x.a, x.b)]))
    (plain, plain_grads), (lean, lean_grads) = found
    assert near(lean, plain, 1e-6)
    for ours, theirs in zip(lean_grads, plain_grads, strict=True):
        assert near(ours, theirs, 1e-5)


def test_the_last_mlp_sees_one_token():
    model = pair(SMALL)[1]
    seen = []
    for block in model.blocks:
        block.mlp.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    model(images(SMALL))
    assert seen == [17, 17, 1]


def test_whoever_asks_for_all_tokens_gets_them():
    plain, lean = pair(SMALL)
    lean(images(SMALL))
    assert torch.equal(lean.forward_features(images(SMALL)), plain.forward_features(images(SMALL)))


def test_a_pass_that_fails_leaves_no_trace():
    lean = pair(SMALL)[1]
    with pytest.raises(AssertionError):
        lean(torch.zeros(1, 3, 16, 16))
    assert lean.forward_features(images(SMALL)).shape[1] == 17


@pytest.mark.parametrize(
    "layout",
    [{"global_pool": "avg"}, {"class_token": False, "global_pool": "avg"}, {"global_pool": "map"}],
)
def test_other_poolings_are_left_alone(layout):
    model = pair(SMALL, **layout)[1]
    assert not isinstance(model.blocks[-1], ClsOnlyBlock) and "forward" not in vars(model)


@pytest.mark.parametrize(
    "layout", [{"qk_norm": True}, {"attn_drop_rate": 0.1}, {"scale_attn_norm": True}]
)
def test_other_attentions_are_computed_in_full(layout):
    plain, lean = pair(SMALL, **layout)
    seen = []
    lean.blocks[-1].mlp.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    assert torch.equal(lean(images(SMALL)), plain(images(SMALL)))
    assert seen == [17]


@pytest.mark.parametrize("layout", [{"init_values": 0.1}, {"qkv_bias": False}, {"reg_tokens": 2}])
def test_variants_that_stay_plain_are_lean_too(layout):
    plain, lean = pair(SMALL, **layout)
    assert near(lean(images(SMALL)), plain(images(SMALL)), 1e-6)


def test_prefixes_are_attended_to():
    found = []
    draw = torch.Generator().manual_seed(2)
    prefixes = [torch.randn(1, 2, 3, 32, generator=draw) for _ in range(3)]
    for model in pair(SMALL):
        found.append(PromptedViT(model, range(3)).prefixed(images(SMALL), prefixes))
    assert torch.equal(*found)


def test_tokens_beside_the_image_are_read_out():
    tokens = torch.randn(1, 3, 32, generator=torch.Generator().manual_seed(2))
    found = [PromptedViT(m, []).beside_tokens(images(SMALL), tokens) for m in pair(SMALL)]
    assert torch.equal(*found)


def test_adapters_beside_the_mlp_read_the_same_row():
    found = []
    for model in pair(SMALL):
        layers = attach_adapters(model)
        adapter = new_adapter(layers, 4, 0.5, ("test",), torch.device("cpu"))
        for part in adapter:
            torch.nn.init.normal_(part.up.weight, generator=torch.Generator().manual_seed(3))
        use(layers, adapter)
        found.append(model(images(SMALL)))
    assert near(found[1], found[0], 1e-6)


def test_full_weight_updates_reach_every_third():
    found = []
    for model in pair(SMALL):
        layers = wrap(model, lambda linear, block: DenseQKV(linear, block, "qkv"))
        for layer in layers:
            draw = torch.Generator().manual_seed(layer.block)
            layer.delta = 0.1 * torch.randn(3, 32, 32, generator=draw)
        found.append(model(images(SMALL)))
    assert near(found[1], found[0], 1e-6)


def test_taps_see_every_token_once():
    seen = []
    for model in pair(SMALL):
        rows = []
        with tapped(adapted(model), lambda block, x, rows=rows: rows.append((block, x.clone()))):
            model(images(SMALL))
        seen.append(rows)
    for (block, ours), (other, theirs) in zip(*seen, strict=True):
        assert block == other and torch.equal(ours, theirs)


def test_a_lean_model_has_the_names_and_values_of_timm():
    plain, lean = (model.state_dict() for model in pair(SMALL))
    assert list(plain) == list(lean)
    assert isinstance(compute_cls_only(pair(SMALL)[0]).forward, MethodType)
