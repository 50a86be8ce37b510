"""A frozen timm model as it comes: what a step costs where nothing is done about it.

Forward of all tokens and gradients of all activations under autocast, without adapters, heads or an
optimiser: the work that `flops.Shape.naive` counts, with timm's own attention.
"""

from __future__ import annotations

import torch

from janus.machine.import_timm import timm
from tests.helpers.bed import backbone_config, clock

NAMES = ("timm", "timm-unfused")
"""With torch's fused attention, timm's default, and with timm's own code of products."""


class Plain:
    """The network and one batch for it."""

    def __init__(self, name: str, shape: str, batch: int, device: str, precision: str) -> None:
        self.device, self.half = torch.device(device), precision == "bf16"
        config = backbone_config(shape)
        sizes = {"img_size": config.image_size, "in_chans": config.channels, "num_classes": 0}
        self.model = timm.create_model(config.model, **(config.model_kwargs | sizes))
        self.model.to(self.device).eval().requires_grad_(False)
        for block in self.model.blocks:
            block.attn.fused_attn &= name == "timm"
        # one small trainable weight at the very start lets gradients pass all blocks
        self.model.blocks[0].norm1.weight.requires_grad_(True)
        self.images = torch.randn(
            batch, config.channels, config.image_size, config.image_size, device=self.device
        )

    def step(self) -> float:
        """Seconds of one step."""
        start = clock(self.device)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half):
            loss = self.model(self.images).float().square().mean()
        loss.backward()
        self.model.zero_grad()
        return clock(self.device) - start
