"""Bottleneck adapters: identity at the start, where they read and add, who is in use."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from janus.errors import ConfigError
from janus.nn.bottleneck import attach_bottlenecks, new_adapter, use
from janus.nn.vit import build_backbone
from tests.conftest import toy_cell

CPU = torch.device("cpu")


def adapted():
    model = build_backbone(toy_cell("ncm").backbone, CPU)
    images = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    plain = model(images)
    layers = attach_bottlenecks(model)
    return model, layers, images, plain


def test_a_fresh_adapter_changes_nothing():
    model, layers, images, plain = adapted()
    assert torch.equal(model(images), plain)
    use(layers, new_adapter(layers, 8, 0.1, (0,), CPU))
    assert torch.equal(model(images), plain)


def test_a_moved_adapter_changes_the_features_until_it_is_put_down():
    model, layers, images, plain = adapted()
    adapter = new_adapter(layers, 8, 0.1, (0,), CPU)
    for part in adapter:
        part.up.weight.data.copy_(part.down.weight.mT)
    use(layers, adapter)
    assert not torch.allclose(model(images), plain, atol=1e-3)
    use(layers, None)
    assert torch.equal(model(images), plain)


def test_block_adds_the_adapter_of_its_residual_stream_beside_the_mlp():
    model, layers, _, _ = adapted()
    block = model.blocks[1]
    adapter = new_adapter(layers, 4, 0.5, (0,), CPU)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        adapter[1].up.weight.copy_(torch.randn(32, 4, generator=generator))
    x = torch.randn(2, 17, 32, generator=generator)
    h = x + block.attn(block.norm1(x))
    down, up = adapter[1].down, adapter[1].up
    share = 0.5 * functional.linear(
        (h @ down.weight.mT + down.bias).clamp_min(0), up.weight, up.bias
    )
    expected = h + layers[1].mlp(block.norm2(h)) + share
    use(layers, adapter)
    assert torch.allclose(block(x), expected, atol=1e-6)


def test_draws_depend_on_the_key_alone():
    _, layers, _, _ = adapted()
    one, same, other = (new_adapter(layers, 4, 0.1, (key,), CPU) for key in (0, 0, 1))
    assert torch.equal(one[0].down.weight, same[0].down.weight)
    assert not torch.equal(one[0].down.weight, other[0].down.weight)
    assert not torch.equal(one[0].down.weight, one[1].down.weight)


def test_a_model_without_blocks_is_refused():
    with pytest.raises(ConfigError, match="choose a timm ViT"):
        attach_bottlenecks(torch.nn.Linear(2, 2))
