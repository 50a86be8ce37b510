"""Nearest class mean on frozen features (SimpleCIL): no training, independent of class order."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from janus.data.stream import Task
from janus.methods.base.method import Context, Method
from janus.nn.heads import Prototypes


class NearestClassMean(Method):
    """Cosine to the unit mean feature of each class (Zhou et al., SimpleCIL) [seen: PILOT]."""

    trains = False
    passes_beside_training = 1.0

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.prototypes = Prototypes(context.width, context.device)
        self.classes = 0

    @property
    def frozen_features(self) -> Literal["pretrained"]:
        """Always: nothing is trained."""
        return "pretrained"

    def begin_task(self, task: Task) -> None:
        """Only count the classes."""
        self.classes = task.seen

    @torch.no_grad()
    def end_task(self, task: Task) -> None:
        """One pass: the mean feature of every class of the task."""
        self.prototypes.add(*self.task_features(task))

    def classify(self, features: Tensor) -> Tensor:
        """Cosine similarities (B, classes seen)."""
        return self.prototypes.logits(features, self.classes)

    def kept(self) -> dict[str, Any]:
        """One vector per class (and domain)."""
        return self.prototypes.state_dict()

    def state_dict(self) -> dict[str, Any]:
        """Prototypes and the class count."""
        return {"prototypes": self.prototypes.state_dict(), "classes": self.classes}

    def load_state_dict(self, state: dict[str, Any], task: Task | None) -> None:
        """Continue from `state`."""
        self.prototypes.load_state_dict(state["prototypes"], self.context.device)
        self.classes = state["classes"]
