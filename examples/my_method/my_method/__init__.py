"""AnchoredLoRA: SeqLoRA with a penalty on how far a task moves the network's weights. An example.

Try it with `--include examples/my_method/my_method`, or install it: `pip install ./my_method`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from janus.data.stream import Batch
from janus.methods.base.lora_method import LoraMethod
from janus.plugins import register_method


@register_method("anchored_lora.yaml")
class AnchoredLora(LoraMethod):
    """One adapter for all tasks, pulled towards what it was when the current task began."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of SeqLoRA, and pull * (mean over blocks of |W - W_before|_F^2)."""
        return super().loss(batch) | {"anchor": self.context.settings["pull"] * self.drift()}

    def drift(self) -> Tensor:
        """Squared Frobenius norm of the current task's update, mean over the adapted blocks."""
        moved = [
            layer.scale * (layer.b @ layer.a - b @ a)
            for layer, (a, b) in zip(self.layers, self.before, strict=True)
        ]
        return torch.stack([update.square().sum() for update in moved]).mean()
