"""SLCA: slow learner with classifier alignment (Zhang et al., ICCV 2023).

The whole backbone is fine-tuned, a hundred times slower than the head (lr = head_lr / 100), with
the local cross-entropy; after each task but the first the heads are aligned on Gaussians of all
classes (janus/align.py). Published with SGD, momentum 0.9, weight decay 5e-4, one drop of the rate
late in training [seen: SLCA, PILOT].
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from janus.align import Aligner
from janus.data.tasks import Batch, Task
from janus.heads import LinearHeads
from janus.losses import local_cross_entropy
from janus.methods.base import Context, Method
from janus.methods.optim import TaskOptimizer


class Slca(Method):
    """Slow backbone, fast head; then heads aligned on N(shrunk mean, covariance)."""

    passes_beside_training = 1.0

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.heads = LinearHeads(context.width)
        self.aligner = Aligner(context.width, context.settings, context.key)
        self.optimizer: TaskOptimizer | None = None
        self.first_class = 0
        self.backbone.requires_grad_(True)

    def begin_task(self, task: Task) -> None:
        """Heads as before the last alignment, plus one for new classes."""
        self.aligner.begin_task(self.heads, self.context.device)
        if task.fresh:
            self.heads.grow(task.fresh, self.context.key, self.context.device)
        self._start_training(task)

    def _start_training(self, task: Task) -> None:
        s = self.context.settings
        self.first_class = task.first
        groups = [(self._slow(), s["lr"]), (self._fast(), s["head_lr"])]
        self.optimizer = TaskOptimizer(groups, s, task)

    def _slow(self) -> list[nn.Parameter]:
        return list(self.backbone.parameters())

    def _fast(self) -> list[nn.Parameter]:
        return [p for p in self.heads.parameters() if p.requires_grad]

    def trained_parameters(self) -> int:
        """The whole backbone and the current head."""
        return sum(p.numel() for p in (*self._slow(), *self._fast()))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy over the current task's classes."""
        logits = self.heads.parts[-1](self.features(batch.images))
        return {"ce": local_cross_entropy(logits, batch.labels, self.first_class)}

    def update(self) -> None:
        """One optimiser step."""
        assert self.optimizer is not None
        self.optimizer.step()

    def end_task(self, task: Task) -> None:
        """One pass for the class statistics, then alignment."""
        self.aligner.end_task(self.heads, *self.task_features(task), task)

    def classify(self, features: Tensor) -> Tensor:
        """Concatenated logits of all heads."""
        logits: Tensor = self.heads(features)
        return logits

    # ---- state ---------------------------------------------------------------------------------
    def kept(self) -> dict[str, Any]:
        """The whole network, the heads, and a Gaussian per class."""
        return {
            "backbone": self.backbone.state_dict(),
            "heads": self.heads.state(),
            "aligner": self.aligner.state_dict(),
        }

    def state_dict(self) -> dict[str, Any]:
        """What is kept, and the optimiser."""
        return self.kept() | {"optimizer": self.optimizer.state_dict() if self.optimizer else None}

    def load_state_dict(self, state: dict[str, Any], task: Task | None) -> None:
        """Restore the network and heads; the optimiser only inside a task."""
        with torch.no_grad():
            self.backbone.load_state_dict(state["backbone"])
        self.heads.load_state(state["heads"], self.context.device)
        self.aligner.load_state_dict(state["aligner"], self.context.device)
        if task is not None:
            self._start_training(task)
            assert self.optimizer is not None
            self.optimizer.load_state_dict(state["optimizer"])
