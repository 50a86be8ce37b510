"""LoRA-GPM: Gradient Projection Memory (Saha et al., ICLR 2021) on LoRA factors.

After each task a second pass collects the inputs of every block; V keeps their leading
directions. The Janus paper's exact variant is unknown [absent]; three are offered [derived]:
naive  g_A <- g_A (I - V V^T), then the optimiser; A starts random, B is free. B A leaks on V.
both   also g_B from the projected full gradient, D A^T with D = G (I - V V^T).
exact  A starts blind to V and its finished step is projected: s B A V = 0 whatever B does.
"""

from __future__ import annotations

import torch

from janus.data.tasks import Batch, Task
from janus.lora import LoraQKV, start_a
from janus.methods.protected import ProtectedLora
from janus.rectify import without


class LoraGpm(ProtectedLora):
    """SeqLoRA with fresh adapters and projected gradients; one extra pass per task."""

    passes_beside_training = 1.0

    def start_adapter(self, layer: LoraQKV, task: Task) -> None:
        """Only the exact variant starts blind to V."""
        if self.context.settings["variant"] == "exact":
            super().start_adapter(layer, task)
        else:
            start_a(layer, (*self.context.key, task.index))

    def loss(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Cross-entropy; the `both` variant needs G V beside the factor gradients."""
        if self.protects and self.context.settings["variant"] == "both":
            for layer in self.layers:
                layer.start_probe(self.bases[layer.block].v)
        return super().loss(batch)

    @torch.no_grad()
    def update(self) -> None:
        """Project, step, and in the exact variant project the finished step."""
        assert self.optimizer is not None
        variant = self.context.settings["variant"]
        before = [x.a.detach().clone() for x in self.layers]
        for layer, basis in zip(self.layers, self.bases, strict=True):
            if not basis.size or layer.a.grad is None:
                continue
            if layer.probe is not None and layer.b.grad is not None:
                v, zero = layer.probe
                if zero.grad is not None:
                    layer.b.grad -= layer.scale * zero.grad @ (layer.a @ v).mT
                layer.probe = None
            layer.a.grad = without(layer.a.grad, basis.v)
        self.optimizer.step()
        if self.protects and variant == "exact":
            self.project_step(before, self.all_bases())

    def end_task(self, task: Task) -> None:
        """A second pass over the task's images, then grow V."""
        self.grow_bases(self.second_pass(task, augmented=False), task)
