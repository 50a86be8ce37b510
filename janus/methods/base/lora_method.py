"""What all LoRA methods here share: adapters on a frozen ViT, under linear heads.

Used as it is by SeqLoRA.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from janus.algorithms.subspace import Covariance
from janus.data.stream import Task
from janus.methods.base.heads_method import HeadsMethod
from janus.methods.base.method import Context
from janus.nn.lora import LoraQKV, attach_lora, start_a, tapped


class LoraMethod(HeadsMethod):
    """One low-rank pair per target projection and block, trained with a local loss."""

    state = "weights adapters before"
    keeps = f"{HeadsMethod.keeps} weights"
    trains_a = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.layers: list[LoraQKV] = self.make_layers(context)
        self.before: list[tuple[Tensor, Tensor]] = []
        """A and B of every layer when the current task began."""

    def make_layers(self, context: Context) -> list[LoraQKV]:
        """Put the adapters into the backbone."""
        s = context.settings
        return attach_lora(context.backbone, s["targets"], s["rank"], s["scale"], s["blocks"])

    @property
    def keeps_adapter(self) -> bool:
        """Whether one adapter lives through all tasks instead of a fresh one per task."""
        return bool(self.context.settings["lifetime"] == "carried")

    # ---- tasks ---------------------------------------------------------------------------------
    def begin_task(self, task: Task) -> None:
        """Merge the last task's adapter, start a new one, add a head for new classes."""
        if task.index == 0 or not self.keeps_adapter:
            for layer in self.layers:
                layer.merge()
                self.start_adapter(layer, task)
        self.before = [(x.a.detach().clone(), x.b.detach().clone()) for x in self.layers]
        super().begin_task(task)

    def start_adapter(self, layer: LoraQKV, task: Task) -> None:
        """Draw the new A and set B to zero."""
        start_a(layer, (*self.context.key, task.index))

    def _start_training(self, task: Task) -> None:
        for layer in self.layers:
            layer.a.requires_grad_(self.trains_a)
        super()._start_training(task)

    def own_parameters(self) -> list[nn.Parameter]:
        """The adapters: A, where it is trained, and B."""
        return [p for x in self.layers for p in (x.a, x.b) if p.requires_grad]

    # ---- state ---------------------------------------------------------------------------------
    @property
    def weights(self) -> list[list[Tensor]]:
        """The adapted slices of W with merged adapters, per block and target, bit for bit."""
        return [x.slices() for x in self.layers]

    @weights.setter
    def weights(self, stored: list[list[Tensor]]) -> None:
        with torch.no_grad():
            for layer, slices in zip(self.layers, stored, strict=True):
                for own, value in zip(layer.slices(), slices, strict=True):
                    own.copy_(value)

    @property
    def adapters(self) -> list[dict[str, Tensor]]:
        """A and B of every block, as they are now."""
        return [{"a": x.a, "b": x.b} for x in self.layers]

    @adapters.setter
    def adapters(self, stored: list[dict[str, Tensor]]) -> None:
        self._set_adapters([(pair["a"], pair["b"]) for pair in stored])

    # ---- inputs --------------------------------------------------------------------------------
    @torch.no_grad()
    def input_moments(self, batches: Iterable[Tensor]) -> list[Covariance]:
        """Uncentred second moment of every adapted block's inputs over prepared images."""
        moments = [Covariance(x.width) for x in self.layers]
        nothing = torch.zeros(0, device=self.context.device)

        def collect(block: int, rows: Tensor) -> None:
            moments[block].update(rows, nothing)

        with tapped(self.layers, collect):
            for images in batches:
                self.backbone(images)
        return moments

    # ---- diagnostics ---------------------------------------------------------------------------
    @torch.no_grad()
    def task_update(self) -> Tensor:
        """Full-weight update of the current task: (blocks, targets, D, D)."""
        now = torch.stack([x.update() for x in self.layers])
        start = [x.scale * (b @ a) for x, (a, b) in zip(self.layers, self.before, strict=True)]
        return now - torch.stack(start)

    @contextmanager
    def previous_network(self) -> Iterator[None]:
        """The network as it was when the current task began."""
        now = [(x.a.detach().clone(), x.b.detach().clone()) for x in self.layers]
        try:
            self._set_adapters(self.before)
            yield
        finally:
            self._set_adapters(now)

    @torch.no_grad()
    def _set_adapters(self, pairs: list[tuple[Tensor, Tensor]]) -> None:
        for layer, (a, b) in zip(self.layers, pairs, strict=True):
            layer.a.copy_(a)
            layer.b.copy_(b)

    @torch.no_grad()
    def diagnose(self, past: list[Tensor]) -> dict[str, Any]:
        """Null-space violation of the task's update on inputs of past images, per block.

        violation_past = |dW X|_F / (|dW|_F |X|_F) and its numerator violation_past_raw, where X
        are the block's input tokens of `past` in the network before the task.
        """
        delta = self.task_update().double()
        facts: dict[str, Any] = {"update_norm": self._by_target(delta.norm(dim=(-2, -1)))}
        if not past:
            return facts
        with self.previous_network():
            moments = self.input_moments(past)
        total = torch.stack([m.moment().to(delta.device) for m in moments])[:, None]
        raw = ((delta @ total) * delta).sum((-2, -1)).clamp_min(0).sqrt()
        size = delta.norm(dim=(-2, -1)) * total.diagonal(dim1=-2, dim2=-1).sum(-1).sqrt()
        facts["violation_past"] = self._by_target(raw / size.clamp_min(1e-30))
        facts["violation_past_raw"] = self._by_target(raw)
        return facts

    def _by_target(self, values: Tensor) -> dict[str, list[float]]:
        """(blocks, targets) to {'k': [per block], 'v': [...]}."""
        names = self.context.settings["targets"]
        return {name: [float(v) for v in values[:, i]] for i, name in enumerate(names)}
