"""SLCA: slow learner with classifier alignment (Zhang et al., ICCV 2023).

The whole backbone is fine-tuned, a hundred times slower than the head (lr = head_lr / 100), with
the local cross-entropy; after each task but the first the heads are aligned on Gaussians of all
classes (janus/methods/base/classifier_alignment.py). Heads start normal with deviation 0.02, biases
at 0. Published with SGD, momentum 0.9, weight decay 5e-4, one drop of the rate late in training
[seen: SLCA, PILOT].
"""

from __future__ import annotations

from torch import nn

from janus.data.stream import Task
from janus.methods.base.classifier_alignment import Aligner
from janus.methods.base.heads_method import HeadsMethod
from janus.methods.base.method import Context
from janus.nn.heads import LinearHeads


class Slca(HeadsMethod):
    """Slow backbone, fast head; then heads aligned on N(shrunk mean, covariance)."""

    state = "backbone aligner"
    keeps = f"{HeadsMethod.keeps} backbone aligner"
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
        self.aligner.begin_task(self.heads)
        super().begin_task(task)

    def own_parameters(self) -> list[nn.Parameter]:
        """The whole backbone."""
        return list(self.backbone.parameters())

    def end_task(self, task: Task) -> None:
        """One pass for the class statistics, then alignment."""
        self.aligner.end_task(self.heads, *self.task_features(task), task)
