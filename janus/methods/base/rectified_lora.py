"""The life of a `Rectifier` inside a LoRA method: made per task, stepped with, checkpointed.

Mixed into the methods whose gradients can be rectified (setting `rectify`): Janus-LoRA, and as the
paper's plug-in (Figure 6) LoRA-GPM and LoRA-DRS. Each says what is protected (`make_rectifier`)
and what it does to gradients otherwise (`project_gradients`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from janus.data.stream import Batch, Task
from janus.methods.base.lora_method import LoraMethod
from janus.methods.base.method import Context
from janus.methods.base.rectifier import Rectifier, in_weight_space


class Rectifiable(LoraMethod):
    """A LoRA method that can step along rectified gradients."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.rectifier: Rectifier | None = None
        """The Gradient Rectification of the current task."""
        self.in_weight_space = in_weight_space(context.settings)

    @abstractmethod
    def make_rectifier(self, start: Tensor) -> Rectifier:
        """The rectifier of a task that begins with A = `start` (blocks, targets, r, D)."""

    def project_gradients(self) -> None:
        """What is done to the factor gradients without rectification; by default nothing."""

    def _start_training(self, task: Task) -> None:
        super()._start_training(task)
        if self.context.settings["rectify"]:
            self.rectifier = self.make_rectifier(torch.stack([a for a, _ in self.before]))

    def optimized_parameters(self) -> Sequence[nn.Parameter]:
        """None when the rectifier steps the factors itself, in full-weight space."""
        return [] if self.in_weight_space else super().optimized_parameters()

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The method's loss, its backward asked for what rectification needs."""
        if self.rectifier is not None:
            self.rectifier.watch()
        return super().loss(batch)

    @torch.no_grad()
    def step(self) -> tuple[Tensor, Tensor]:
        """Rectify or project the gradients, then one optimiser step.

        Returns A (blocks, targets, r, D) and B (blocks, targets, D, r) from before the step, for
        what is done to finished steps.
        """
        assert self.optimizer is not None
        before_a = torch.stack([x.a for x in self.layers])
        before_b = torch.stack([x.b for x in self.layers])
        if self.rectifier is not None:
            self.rectifier.replace_gradients(self.optimizer)
        else:
            self.project_gradients()
        for layer in self.layers:
            layer.gradient_tap = None
        self.optimizer.step()
        return before_a, before_b

    def state_dict(self) -> dict[str, Any]:
        """Adds the rectifier's moments."""
        rectifier = self.rectifier.state_dict() if self.rectifier else None
        return super().state_dict() | {"rectifier": rectifier}

    def load_state_dict(self, state: dict[str, Any], task: Task | None) -> None:
        """See LoraMethod."""
        super().load_state_dict(state, task)
        if task is not None and self.rectifier is not None:
            self.rectifier.load_state_dict(state["rectifier"])
