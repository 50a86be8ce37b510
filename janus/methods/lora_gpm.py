"""LoRA-GPM: Gradient Projection Memory (Saha et al., ICLR 2021) on LoRA factors.

After each task a second pass collects the inputs of every block; V keeps their leading
directions. The Janus paper's exact variant is unknown [absent]; three are offered [derived]:
naive  g_A <- g_A (I - V V^T), then the optimiser; A starts random, B is free. B A leaks on V.
both   also g_B from the projected full gradient, D A^T with D = G (I - V V^T).
exact  A starts blind to V and its finished step is projected: s B A V = 0 whatever B does.
       Nothing else would be exact, so this variant has no choice of A's start. An A that lives
       through all tasks reads V; there only rectification, through A's blind rows, is exact.
With `rectify`, Gradient Rectification replaces both factor gradients (the paper's Figure 6 [seen]):
in `exact` it keeps the exact safety, in `naive` it is the plain closed form, which leaks through A.
"""

from __future__ import annotations

import torch
from torch import Tensor

from janus.algorithms.rectification import without
from janus.data.stream import Batch, Task
from janus.errors import ConfigError
from janus.methods.base.method import Context
from janus.methods.base.rectified_lora import RectifiedLora, Rectifier
from janus.methods.base.subspace_lora import SubspaceLora


class LoraGpm(RectifiedLora, SubspaceLora):
    """SeqLoRA with fresh adapters and projected gradients; one extra pass per task."""

    passes_beside_training = 1.0

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        s = context.settings
        if s["rectify"] and s["variant"] == "both":
            raise ConfigError(
                "method.rectify=true already forms B's step from the projected gradient; with it "
                "choose method.variant=exact (safe) or naive (the plain closed form, leaks)"
            )

        if s["variant"] == "exact" and s["lifetime"] == "carried" and not s["rectify"]:
            raise ConfigError(
                "method.variant=exact needs an A that is blind to past inputs; one carried through "
                "all tasks is not: choose method.lifetime=task, or method.rectify=true"
            )

    @property
    def a_in_null_space(self) -> bool:
        """In the exact variant."""
        return bool(self.context.settings["variant"] == "exact")

    def make_rectifier(self, start: Tensor) -> Rectifier:
        """Constrained to A's blind rows in the exact variant only."""
        s = self.context.settings
        exact = s["variant"] == "exact"
        return Rectifier(self.layers, s, self.all_bases, start, constrained=exact)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy; `both` needs G V beside the factor gradients."""
        if self.protects and self.context.settings["variant"] == "both":
            for layer in self.layers:
                layer.tap_gradient(self.bases[layer.block].v)
        return super().loss(batch)

    @torch.no_grad()
    def update(self) -> None:
        """Project or rectify, step, and in the exact variant project the finished step."""
        before_a, before_b = self.step()
        if self.protects and self.context.settings["variant"] == "exact":
            self.project_step(before_a)
        if self.rectifier is not None:
            self.rectifier.filter_step(before_b)

    def project_gradients(self) -> None:
        """g_A loses its part along V; in `both`, g_B becomes that of the projected gradient."""
        for layer, basis in zip(self.layers, self.bases, strict=True):
            if not basis.size or layer.a.grad is None:
                continue
            if layer.gradient_tap is not None and layer.b.grad is not None:
                v, zero = layer.gradient_tap
                if zero.grad is not None:
                    layer.b.grad -= layer.scale * zero.grad @ (layer.a @ v).mT
            layer.a.grad = without(layer.a.grad, basis.v)

    def end_task(self, task: Task) -> None:
        """A second pass over the task's images, then grow V."""
        self.grow_bases(self.second_pass(task, augmented=False), task)
        super().end_task(task)
