"""LoRA methods that keep an orthonormal basis of past inputs per block and train around it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from janus.algorithms.rectification import without
from janus.algorithms.subspace import Basis, Collector, energy_at, stacked_bases
from janus.data.stream import Task
from janus.methods.base.lora_method import LoraMethod
from janus.methods.base.method import Context
from janus.nn.lora import LoraQKV, start_a


class SubspaceLora(LoraMethod):
    """Adds to LoraMethod the bases V, their growth at task ends, and projections against them."""

    state = "bases captured sizes_before"
    keeps = f"{LoraMethod.keeps} bases"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        device = context.device
        self.bases = [Basis(x.width) for x in self.layers]
        for basis in self.bases:
            basis.v = basis.v.to(device)
        self.captured: list[float] = []
        """Share of each block's inputs captured by V when it last grew."""
        self.all_bases = stacked_bases(self.bases).unsqueeze(1)
        """V of the current task, within which it does not change: (blocks, 1, D, q_max),
        zero-padded; broadcasts over targets."""
        self.sizes_before = [0] * len(self.layers)
        """Basis sizes when the current task began: the first columns of V, which only grows."""

    @property
    def a_in_null_space(self) -> bool:
        """Whether a fresh A has no part along V, so that A V = 0 from the start."""
        return False

    @property
    def protects(self) -> bool:
        """Whether any direction is protected yet."""
        return any(b.size for b in self.bases)

    def _start_training(self, task: Task) -> None:
        self.all_bases = stacked_bases(self.bases).unsqueeze(1)
        super()._start_training(task)

    def begin_task(self, task: Task) -> None:
        """As LoraMethod, with the bases as they are now noted for the diagnostics."""
        self.sizes_before = [b.size for b in self.bases]
        super().begin_task(task)

    def start_adapter(self, layer: LoraQKV, task: Task) -> None:
        """Random A, its rows made blind to V where the method says so (`a_in_null_space`)."""
        start_a(layer, (*self.context.key, task.index))
        if self.a_in_null_space:
            with torch.no_grad():
                basis = self.bases[layer.block].v
                # twice: one float32 projection leaves 1e-7 of what it removes
                layer.a.copy_(without(without(layer.a, basis), basis))

    @torch.no_grad()
    def project_step(self, before: Tensor) -> None:
        """Remove from the finished step of every A what V reads. Exact after any optimiser.

        `before`: A (blocks, targets, r, D) before the step.
        """
        bases = self.all_bases
        safe = before + without(torch.stack([x.a for x in self.layers]) - before, bases)
        if self.a_in_null_space and not self.keeps_adapter:
            # A V = 0 holds by construction; keep rounding from adding up
            safe = without(safe, bases)
        for layer, value in zip(self.layers, safe, strict=True):
            layer.a.copy_(value)

    @torch.no_grad()
    def second_pass(self, task: Task, augmented: bool) -> list[Collector]:
        """Collect the inputs of one extra pass over the task's images."""
        batches = task.train_batches("pass") if augmented else task.plain_batches()
        with self.context.autocast():
            return list(self.input_moments(batch.images for batch in batches))

    def grow_bases(self, collectors: list[Collector], task: Task, one_sided: bool = False) -> None:
        """Extend every block's basis by what the task added, up to the energy threshold."""
        s = self.context.settings
        wanted = energy_at(task.index, task.count, s["subspace_energy"], s["energy_rises"])
        self.captured = [
            basis.extend(c.moment(), wanted, s["spectrum"], one_sided, c.energy())
            for basis, c in zip(self.bases, collectors, strict=True)
        ]

    @torch.no_grad()
    def diagnose(self, past: list[Tensor]) -> dict[str, Any]:
        """Adds q, the captured share, and |dW V|_F / |dW|_F against V as the task found it."""
        facts = super().diagnose(past)
        facts["basis_size"] = [b.size for b in self.bases]
        facts["captured_energy"] = list(self.captured)
        sizes = self.sizes_before
        if any(sizes):
            delta = self.task_update().double()
            leak = torch.stack(
                [
                    (delta[i] @ basis.v[:, : sizes[i]].double()).norm(dim=(-2, -1))
                    for i, basis in enumerate(self.bases)
                ]
            )
            ratio = leak / delta.norm(dim=(-2, -1)).clamp_min(1e-30)
            facts["violation_span"] = self._by_target(ratio)
        return facts
