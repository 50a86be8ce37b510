"""SLCA: slow learner with classifier alignment (Zhang et al., ICCV 2023).

The whole backbone is fine-tuned, a hundred times slower than the head (lr = head_lr / 100), with
the local cross-entropy; after each task but the first the heads are aligned on Gaussians of all
classes (janus/methods/base/classifier_alignment.py). Heads start normal with deviation 0.02, biases
at 0. Published with SGD, momentum 0.9, weight decay 5e-4, one drop of the rate late in training
[seen: SLCA, PILOT].
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from janus.data.stream import Task
from janus.methods.base.classifier_alignment import Aligner
from janus.methods.base.heads_method import HeadsMethod
from janus.methods.base.method import Context
from janus.nn.heads import LinearHeads


class Slca(HeadsMethod):
    """Slow backbone, fast head; then heads aligned on N(shrunk mean, covariance)."""

    passes_beside_training = 1.0

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.aligner = Aligner(context.width, context.settings, context.key)
        self.backbone.requires_grad_(True)

    def make_heads(self, width: int) -> LinearHeads:
        """N(0, 0.02^2), without a bias [seen]; the source cuts off at 2, a hundred deviations."""
        return LinearHeads(width, deviation=0.02, zero_bias=True)

    def begin_task(self, task: Task) -> None:
        """Heads as before the last alignment, plus one for new classes."""
        self.aligner.begin_task(self.heads, self.context.device)
        super().begin_task(task)

    def own_parameters(self) -> list[nn.Parameter]:
        """The whole backbone."""
        return list(self.backbone.parameters())

    def end_task(self, task: Task) -> None:
        """One pass for the class statistics, then alignment."""
        self.aligner.end_task(self.heads, *self.task_features(task), task)

    # ---- state ---------------------------------------------------------------------------------
    def kept(self) -> dict[str, Any]:
        """The whole network, the heads, and a Gaussian per class."""
        return super().kept() | {
            "backbone": self.backbone.state_dict(),
            "aligner": self.aligner.state_dict(),
        }

    def state_dict(self) -> dict[str, Any]:
        """What is kept, and the optimiser."""
        return self.kept() | super().state_dict()

    def load_state_dict(self, state: dict[str, Any], task: Task | None) -> None:
        """Restore the network and heads; the optimiser only inside a task."""
        with torch.no_grad():
            self.backbone.load_state_dict(state["backbone"])
        self.aligner.load_state_dict(state["aligner"], self.context.device)
        super().load_state_dict(state, task)
