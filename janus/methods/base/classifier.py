"""What predicts from a trained network's features, set by `method.classifier`.

    linear    the heads as training left them
    aligned   the heads, trained again after each task on draws from class Gaussians (SLCA)
    ncm       cosine to the mean feature of each class (SimpleCIL)
    ridge     ridge regression on the features of all images so far, added up task by task (RanPAC)

All four train the network in the same way, through the linear heads; they differ in what is
computed from the features of the task's images when the task ends. No image is kept: the statistics
of a class are those of its own task, under the network of that moment [choice: as SLCA and
InfLoRA+CA]. So a sweep over `classifier` tells how much of a difference between methods lies in the
adapter and how much in the head.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from janus.algorithms.ridge import choose_penalty, solve_ridge
from janus.data.stream import Task
from janus.keyed_random import generator
from janus.methods.base.classifier_alignment import Aligner
from janus.methods.base.method import Context
from janus.nn.heads import LinearHeads, Prototypes


class Classifier(ABC):
    """Predicts from features in place of the trained heads."""

    def begin_task(self, heads: LinearHeads) -> None:  # noqa: B027 (most have nothing to do)
        """Before the heads grow for the classes of a new task."""

    @abstractmethod
    def end_task(self, heads: LinearHeads, features: Tensor, labels: Tensor, task: Task) -> None:
        """Take in the features (N, D) and labels (N,) of the task's training images."""

    @abstractmethod
    def logits(self, heads: LinearHeads, features: Tensor) -> Tensor:
        """(B, classes seen) from features (B, D)."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """What is kept between tasks beside the heads."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""


class AlignedHeads(Aligner, Classifier):
    """The trained heads, aligned after each task but the first."""

    def logits(self, heads: LinearHeads, features: Tensor) -> Tensor:
        """Logits of the aligned heads."""
        out: Tensor = heads(features)
        return out


class ClassMeans(Prototypes, Classifier):
    """Nearest class mean."""

    def __init__(self, context: Context) -> None:
        super().__init__(context.width, context.device)
        self.seen = 0

    def end_task(self, heads: LinearHeads, features: Tensor, labels: Tensor, task: Task) -> None:
        """Add the mean of every class of the task."""
        self.add(features, labels)
        self.seen = task.seen

    def logits(self, heads: LinearHeads, features: Tensor) -> Tensor:  # type: ignore[override]
        """Cosine to the nearest mean of each class."""
        return super().logits(features, self.seen)

    def state_dict(self) -> dict[str, Any]:
        """Means, their classes, and how many classes were seen."""
        return super().state_dict() | {"seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        super().load_state_dict(state)
        self.seen = state["seen"]


class Ridge(Classifier):
    """W = (G + lambda I)^-1 Q on features f: G = sum f f^T (D, D), Q = sum f y^T (D, C), float64.

    lambda is chosen after every task on a fifth of its images, by RanPAC's rule in the form of
    ranpac.py: the largest penalty whose held-out squared error is within 1 % of the least.
    """

    def __init__(self, context: Context) -> None:
        self.key = context.key
        size, device = context.width, context.device
        self.gram = torch.zeros(size, size, dtype=torch.float64, device=device)
        self.moment = torch.zeros(size, 0, dtype=torch.float64, device=device)
        self.weights = torch.zeros(size, 0, device=device)

    @torch.no_grad()
    def end_task(self, heads: LinearHeads, features: Tensor, labels: Tensor, task: Task) -> None:
        """Add the task's moments, choose the penalty, solve. Raises RunError (cause `nan`)."""
        rows = features.double()
        targets = functional.one_hot(labels, task.seen).double()
        self.moment = functional.pad(self.moment, (0, task.seen - self.moment.shape[1]))
        self.gram.addmm_(rows.mT, rows)
        self.moment.addmm_(rows.mT, targets)
        draw = generator("ridge-held-out", *self.key, task.index)
        order = torch.randperm(len(rows), generator=draw)
        penalty = choose_penalty(rows, targets, order, "within_1_percent")
        self.weights = solve_ridge(self.gram, self.moment, penalty).float()

    def logits(self, heads: LinearHeads, features: Tensor) -> Tensor:
        """f W, in float32."""
        with torch.autocast(features.device.type, enabled=False):
            return features.float() @ self.weights

    def state_dict(self) -> dict[str, Any]:
        """G, Q and W."""
        return {"gram": self.gram, "moment": self.moment, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.gram, self.moment, self.weights = (state[n] for n in ("gram", "moment", "weights"))


def make_classifier(context: Context) -> Classifier | None:
    """What `method.classifier` asks for; None: the heads as training left them."""
    name = context.settings.get("classifier", "linear")
    if name == "aligned":
        return AlignedHeads(context.width, context.settings, context.key)
    if name == "ncm":
        return ClassMeans(context)
    return Ridge(context) if name == "ridge" else None
