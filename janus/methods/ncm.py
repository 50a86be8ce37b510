"""Nearest class mean on frozen features (SimpleCIL): no training, independent of class order."""

from __future__ import annotations

import torch
from torch import Tensor

from janus.data.stream import Task
from janus.methods.base.method import Context
from janus.methods.base.precomputable import FixedFeatures
from janus.nn.heads import Prototypes


class NearestClassMean(FixedFeatures):
    """Cosine to the unit mean feature of each class (Zhou et al., SimpleCIL) [seen: PILOT]."""

    state = "prototypes classes"
    keeps = "prototypes"
    passes_beside_training = 1.0

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.prototypes = Prototypes(context.width, context.device)
        self.classes = 0

    def epochs(self, task: Task) -> int:
        """Nothing is trained."""
        return 0

    def begin_task(self, task: Task) -> None:
        """Only count the classes."""
        self.classes = task.seen

    @torch.no_grad()
    def end_task(self, task: Task) -> None:
        """One pass: the mean feature of every class of the task."""
        self.prototypes.add(*self.task_features(task))

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """(cosine similarities (B, classes seen), features)."""
        features = self.features(images)
        return self.prototypes.logits(features, self.classes), features
