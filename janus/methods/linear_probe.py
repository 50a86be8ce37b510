"""Linear probe: linear heads on the frozen backbone's features, trained task after task.

Says how much of a method's accuracy the features give without any adaptation. One head per task,
local cross-entropy, logits of all heads concatenated, as section 0 of the protocol has it for
every LoRA method [seen: InfLoRA]: SeqLoRA without the LoRA.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from janus.data.tasks import Batch, Task
from janus.heads import LinearHeads
from janus.losses import local_cross_entropy
from janus.methods.base import Context, Method
from janus.methods.optim import TaskOptimizer


class LinearProbe(Method):
    """Only the current head is trained."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.heads = LinearHeads(context.width)
        self.optimizer: TaskOptimizer | None = None
        self.first_class = 0

    def begin_task(self, task: Task) -> None:
        """Add a head for new classes."""
        if task.fresh:
            self.heads.grow(task.fresh, self.context.key, self.context.device)
        self._start_training(task)

    def _start_training(self, task: Task) -> None:
        self.first_class = task.first
        s = self.context.settings
        self.optimizer = TaskOptimizer([(self.heads.parts[-1].parameters(), s["head_lr"])], s, task)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy over the current task's classes."""
        with torch.no_grad():
            features = self.features(batch.images)
        logits = self.heads.parts[-1](features)
        return {"ce": local_cross_entropy(logits, batch.labels, self.first_class)}

    def update(self) -> None:
        """One optimiser step."""
        assert self.optimizer is not None
        self.optimizer.step()

    def classify(self, features: Tensor) -> Tensor:
        """Concatenated logits of all heads."""
        logits: Tensor = self.heads(features)
        return logits

    def trained_parameters(self) -> int:
        """The current head."""
        return sum(p.numel() for p in self.heads.parts[-1].parameters())

    def kept(self) -> dict[str, Any]:
        """The heads."""
        return {"heads": self.heads.state()}

    def state_dict(self) -> dict[str, Any]:
        """Heads and optimiser."""
        optimizer = self.optimizer.state_dict() if self.optimizer else None
        return {"heads": self.heads.state(), "optimizer": optimizer}

    def load_state_dict(self, state: dict[str, Any], task: Task | None) -> None:
        """Restore the heads; the optimiser only inside a task."""
        self.heads.load_state(state["heads"], self.context.device)
        if task is not None:
            self._start_training(task)
            assert self.optimizer is not None
            self.optimizer.load_state_dict(state["optimizer"])
