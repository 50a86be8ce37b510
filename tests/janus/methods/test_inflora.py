"""InfLoRA's variants."""

from __future__ import annotations

import pytest
import torch

from janus.nn.lora import LoraQKV
from tests.janus.methods.by_hand import started, train

SIX_BLOCKS = {
    "backbone__model_kwargs": {"patch_size": 8, "embed_dim": 32, "depth": 6, "num_heads": 2}
}


@pytest.mark.slow
def test_b5_adapts_only_the_first_five_blocks():
    method, stream = started("inflora_b5", **SIX_BLOCKS, method__lr=1e-2, train__epochs=1)
    wrapped = [isinstance(b.attn.qkv, LoraQKV) for b in method.backbone.blocks]
    assert wrapped == [True] * 5 + [False]
    last = method.backbone.blocks[5].attn.qkv.weight.detach().clone()
    for task in stream.tasks[:2]:
        train(method, task)
    assert torch.equal(method.backbone.blocks[5].attn.qkv.weight, last)
    assert len(method.bases) == 5 and all(b.size for b in method.bases)
    assert float(method.task_update().norm(dim=(-2, -1)).min()) > 0


def test_a_fresh_final_norm_has_no_pretrained_weights_and_is_never_trained():
    method, stream = started("inflora_ca", method__final_norm="fresh", method__align_samples=4)
    plain, _ = started("inflora_ca", method__align_samples=4)
    plain.backbone.norm.weight.mul_(3.0)  # as pretrained ones may be
    images = next(stream.tasks[0].plain_batches()).images
    tokens = plain.backbone.forward_features(images)[:, 0]
    assert not torch.allclose(method.features(images), tokens, atol=1e-3)
    for task in stream.tasks[:2]:
        train(method, task)
    norm = method.backbone.norm
    assert torch.equal(norm.weight, torch.ones(32)) and torch.equal(norm.bias, torch.zeros(32))
    assert norm.eps == 1e-5 and not any(p.requires_grad for p in norm.parameters())
    features = method.features(images)
    assert torch.allclose(features.mean(1), torch.zeros(len(features)), atol=1e-5)


def test_b5_adapts_all_blocks_of_a_shallow_backbone():
    method, _ = started("inflora_b5")
    assert len(method.layers) == 2
