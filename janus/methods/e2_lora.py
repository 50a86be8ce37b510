"""E2-LoRA (arXiv 2605.27482): adapters whose directions are sorted by the output energy they carry.

Every task has factors of its own on `attn.qkv` and `mlp.fc1`, W = W0 + sum_t B_t A_t
[seen: the authors' repository, kiddo127/E2-LoRA at b4fad49].

1. First task: full rank O, A and B trained. Later tasks: B_t are the directions that old tasks
   released, frozen; A_t starts at 0 and is trained, so that the task begins at the old network.
2. Loss: cross-entropy of the new head + 0.25 * 4 KL of the old heads' logits at temperature 2 to
   those of the network without A_t.
3. After the task: principal directions U of B_t A_t x over one batch; A_t <- U^T B_t A_t, B_t <- U.
4. Before the next one: each old task keeps the directions with 0.99999 of its energy, or less
   where all of them together would take more than (t - 1) / t of the O directions; the rest is
   released.
5. The heads are aligned on class Gaussians (`classifier: aligned`), three epochs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from janus.data.stream import Batch, Task
from janus.keyed_random import generator
from janus.methods.base.heads_method import HeadsMethod
from janus.methods.base.method import Context
from janus.nn.energy_linear import EnergyLinear, attach_energy
from janus.nn.heads import LinearHeads


def distillation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher / T) | softmax(student / T)), mean over images (B, C)."""
    expected = functional.softmax(teacher / temperature, dim=1)
    found = functional.log_softmax(student / temperature, dim=1)
    return temperature**2 * functional.kl_div(found, expected, reduction="batchmean")


class E2Lora(HeadsMethod):
    """Full-rank adapters, of which each task keeps the directions of high energy."""

    state = "adapters"
    keeps = f"{HeadsMethod.keeps} adapters"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        if context.settings["final_norm"] == "fresh":
            norm: Any = context.backbone.norm
            nn.init.ones_(norm.weight)
            nn.init.zeros_(norm.bias)
        self.layers: list[EnergyLinear] = attach_energy(context.backbone)

    def make_heads(self, width: int) -> LinearHeads:
        """N(0, 0.02^2), biases 0 [seen]; the source cuts off at 2, a hundred deviations."""
        return LinearHeads(width, deviation=0.02, zero_bias=True)

    # ---- tasks ---------------------------------------------------------------------------------
    def begin_task(self, task: Task) -> None:
        """Release directions of old tasks, start the new factors, add a head."""
        for index, layer in enumerate(self.layers):
            layer.start(*self._factors(layer, index, task))
        super().begin_task(task)

    @torch.no_grad()
    def _factors(self, layer: EnergyLinear, index: int, task: Task) -> tuple[Tensor, Tensor]:
        """A (r, D) and B (O, r) that the task starts from."""
        out, width = layer.linear.weight.shape
        if task.index:
            most = task.index * out // (task.index + 1)
            free = layer.release(most, self.context.settings["energy"])
            return layer.linear.weight.new_zeros(free.shape[1], width), free
        if self.context.settings["first_start"] == "identity":
            return layer.linear.weight.new_zeros(out, width), torch.eye(out).to(layer.linear.weight)
        draw = torch.rand(out, width, generator=generator("e2-lora-a", *self.context.key, index))
        a = ((2 * draw - 1) * width**-0.5).to(layer.linear.weight)
        return a, layer.linear.weight.new_zeros(out, out)

    def _start_training(self, task: Task) -> None:
        both = task.index == 0 and self.context.settings["first_start"] == "random"
        for layer in self.layers:
            layer.b.requires_grad_(both)
        super()._start_training(task)

    def own_parameters(self) -> list[nn.Parameter]:
        """A of every layer, and B in the first task."""
        return [p for x in self.layers for p in (x.a, x.b) if p.requires_grad]

    def extra_loss(self, features: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Distillation of the old heads' logits from the network before the task."""
        s = self.context.settings
        if not self.layers[0].finished or not s["distill"]:
            return {}
        old = self.heads.parts[:-1] or self.heads.parts[-1:]  # a shared head has no older ones
        with torch.no_grad():
            before = self._features_before(batch.images)
            teacher = torch.cat([head(before) for head in old], dim=1)
        student = torch.cat([head(features) for head in old], dim=1)
        return {"distill": s["distill"] * distillation(student, teacher, s["temperature"])}

    def _features_before(self, images: Tensor) -> Tensor:
        """Features of the network without the current task's factors."""
        for layer in self.layers:
            layer.without_current = True
        try:
            return self.features(images)
        finally:
            for layer in self.layers:
                layer.without_current = False

    @torch.no_grad()
    def end_task(self, task: Task) -> None:
        """Sort the directions by energy over one batch of training images, then align the heads."""
        for layer in self.layers:
            size = layer.linear.in_features + 1
            layer.moment = torch.zeros(size, size, dtype=torch.float64, device=layer.a.device)
        with self.context.autocast():
            self.features(next(task.train_batches("energy")).images)
        for layer in self.layers:
            layer.finish(orthonormal=not layer.b.requires_grad)
        super().end_task(task)

    # ---- state and diagnostics -----------------------------------------------------------------
    @property
    def adapters(self) -> list[dict[str, Any]]:
        """The factors of every layer, qkv and fc1 of each block in turn."""
        return [layer.factors() for layer in self.layers]

    @adapters.setter
    def adapters(self, stored: list[dict[str, Any]]) -> None:
        for layer, factors in zip(self.layers, stored, strict=True):
            layer.set_factors(factors)

    def diagnose(self, past: list[Tensor]) -> dict[str, Any]:
        """Directions that the task had and that all tasks hold, per layer (qkv, fc1, qkv, ...)."""
        held = [[len(pair.a) for pair in layer.finished] for layer in self.layers]
        return {"rank_given": [ranks[-1] for ranks in held], "rank_held": [sum(r) for r in held]}
