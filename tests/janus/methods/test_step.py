"""A training step: no product more than its gradients need, and the losses of the plain network."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from janus.nn import matmul
from janus.nn.cls_only_block import VisionTransformer
from janus.nn.lora import LoraQKV
from tests.helpers.bed import CLASSES, Bed
from tests.helpers.flops import Shape, needed

IMAGES = 4


@pytest.mark.parametrize("method", ["seqlora", "inflora"])
def test_no_product_is_computed_that_no_gradient_needs(method):
    """Exact: no input gradient in the first block, no frozen weight's, one row in the last."""
    # in bf16 attention is made of products, which the counter sees
    bed = Bed(method, "bundled", IMAGES, "cpu", "bf16")
    bed.finish_tasks(1)
    with FlopCounterMode(display=False) as counter:
        bed.step()
    shape = Shape.of(bed.method.backbone)
    head = 3 * 2 * IMAGES * shape.width * CLASSES
    # the counter knows no addmm_, which adds each layer's B A x
    ranks = sum(x.a.shape[0] * x.a.shape[1] for x in bed.method.layers)
    added = 2 * IMAGES * shape.tokens * shape.width * ranks
    assert counter.get_total_flops() + added == needed(bed.method, IMAGES) + head


def test_blocks_before_the_first_adapter_keep_no_graph():
    bed = Bed("linear_probe", "bundled", IMAGES, "cpu")
    model = bed.method.backbone
    layer = LoraQKV(model.blocks[3].attn.qkv, 3, "kv", 2, 1.0)
    model.blocks[3].attn.qkv = layer
    kept = []
    for block in model.blocks:
        block.register_forward_hook(lambda _, args, out: kept.append(out.requires_grad))
    model(torch.randn(2, model.patch_embed.proj.in_channels, *model.patch_embed.img_size))
    assert kept == [False] * 3 + [True] * 3


@pytest.mark.slow
@pytest.mark.parametrize("method", ["seqlora", "janus"])
def test_fifty_steps_end_with_the_loss_of_the_plain_network(method, monkeypatch):
    losses = []
    for lean in (True, False):
        bed = Bed(method, "bundled", IMAGES, "cpu")
        if not lean:
            # timm's own forward, and every product as torch takes it
            bed.method.backbone.__class__ = VisionTransformer
            monkeypatch.setattr(matmul, "prefers_onednn", lambda: False)
        bed.finish_tasks(1)
        for _ in range(50):
            bed.step()
        losses.append(float(bed.loss().detach()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0] < 0.5 * torch.tensor(float(CLASSES)).log()
