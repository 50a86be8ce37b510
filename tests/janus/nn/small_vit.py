"""A small random vision transformer, and images for it."""

from __future__ import annotations

import torch

from janus.machine.import_timm import timm

IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def vit(**kwargs):
    torch.manual_seed(0)
    shape = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0, **shape, **kwargs)
    return model.eval().requires_grad_(False)
