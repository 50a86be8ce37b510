"""LoRA-GPM: Gradient Projection Memory (Saha et al., ICLR 2021) on LoRA factors.

After each task a second pass collects the inputs of every block; V keeps their leading
directions. The Janus paper's exact variant is unknown [absent]; three are offered [derived]:
naive  g_A <- g_A (I - V V^T), then the optimiser; A starts random, B is free. B A leaks on V.
both   also g_B from the projected full gradient, D A^T with D = G (I - V V^T).
exact  A starts blind to V and its finished step is projected: s B A V = 0 whatever B does.
With `rectify`, Gradient Rectification replaces both factor gradients (the paper's Figure 6 [seen]):
in `exact` it keeps the exact safety, in `naive` it is the plain closed form, which leaks through A.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from janus.data.tasks import Batch, Task
from janus.errors import ConfigError
from janus.lora import LoraQKV, start_a
from janus.methods.base import Context
from janus.methods.protected import ProtectedLora
from janus.methods.rectified import Rectifier, in_weight_space
from janus.rectify import without


class LoraGpm(ProtectedLora):
    """SeqLoRA with fresh adapters and projected gradients; one extra pass per task."""

    passes_beside_training = 1.0

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        s = context.settings
        self.rectifier: Rectifier | None = None
        self.in_weight_space = in_weight_space(s)
        if s["rectify"] and s["variant"] == "both":
            raise ConfigError(
                "method.rectify=true already forms B's step from the projected gradient; with it "
                "choose method.variant=exact (safe) or naive (the plain closed form, leaks)"
            )

    def start_adapter(self, layer: LoraQKV, task: Task) -> None:
        """Only the exact variant starts blind to V."""
        if self.context.settings["variant"] == "exact":
            super().start_adapter(layer, task)
        else:
            start_a(layer, (*self.context.key, task.index))

    def _start_training(self, task: Task) -> None:
        super()._start_training(task)
        s = self.context.settings
        if s["rectify"]:
            start = torch.stack([a for a, _ in self.before])
            exact = s["variant"] == "exact"
            self.rectifier = Rectifier(self.layers, s, self.all_bases(), start, constrained=exact)

    def adapter_parameters(self) -> list[nn.Parameter]:
        """None when rectification steps the factors itself, in full-weight space."""
        return [] if self.in_weight_space else super().adapter_parameters()

    def loss(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Cross-entropy; some variants need G V beside the factor gradients."""
        if self.rectifier is not None:
            self.rectifier.watch()
        elif self.protects and self.context.settings["variant"] == "both":
            for layer in self.layers:
                layer.start_probe(self.bases[layer.block].v)
        return super().loss(batch)

    @torch.no_grad()
    def update(self) -> None:
        """Project or rectify, step, and in the exact variant project the finished step."""
        assert self.optimizer is not None
        before = [(x.a.detach().clone(), x.b.detach().clone()) for x in self.layers]
        if self.rectifier is not None:
            self.rectifier.replace_gradients(self.optimizer)
        else:
            self._project_gradients()
        self.optimizer.step()
        if self.protects and self.context.settings["variant"] == "exact":
            self.project_step([a for a, _ in before], self.all_bases())
        if self.rectifier is not None:
            self.rectifier.filter_step([b for _, b in before])

    def _project_gradients(self) -> None:
        for layer, basis in zip(self.layers, self.bases, strict=True):
            if not basis.size or layer.a.grad is None:
                continue
            if layer.probe is not None and layer.b.grad is not None:
                v, zero = layer.probe
                if zero.grad is not None:
                    layer.b.grad -= layer.scale * zero.grad @ (layer.a @ v).mT
                layer.probe = None
            layer.a.grad = without(layer.a.grad, basis.v)

    def end_task(self, task: Task) -> None:
        """A second pass over the task's images, then grow V."""
        self.grow_bases(self.second_pass(task, augmented=False), task)

    def state_dict(self) -> dict[str, Any]:
        """Adds the rectifier's moments."""
        return super().state_dict() | {
            "rectifier": self.rectifier.state_dict() if self.rectifier else None
        }

    def load_state_dict(self, state: dict[str, Any], task: Task | None) -> None:
        """See LoraMethod."""
        super().load_state_dict(state, task)
        if task is not None and self.rectifier is not None:
            self.rectifier.load_state_dict(state["rectifier"])
