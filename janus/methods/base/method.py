"""The contract between the training loop and a continual-learning method.

A method owns its trainable parameters, its optimiser and what it keeps between tasks. The loop
owns data, backward, evaluation, checkpoints and logging. `begin_task` and `end_task` are
transactions: a run killed inside one starts again from the state before it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from janus.config.cell import Cell
from janus.data.stream import Batch, Task


@dataclass(frozen=True)
class Context:
    """What a method is given when it is made."""

    cell: Cell
    backbone: nn.Module
    """Frozen timm ViT in eval mode; `backbone(images)` gives CLS features (B, D)."""
    device: torch.device

    @property
    def settings(self) -> Mapping[str, Any]:
        """Checked settings, as declared in the method's YAML."""
        return self.cell.method.values

    def autocast(self) -> torch.autocast:
        """The run's precision, for passes that a method makes outside `loss`."""
        on = self.cell.train.precision == "bf16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=on)

    @property
    def key(self) -> tuple[str | int, ...]:
        """Start of every random key: draws depend on seed and order, not on the method."""
        return (self.cell.seed, self.cell.order)

    @property
    def width(self) -> int:
        """Feature width D."""
        return int(self.backbone.num_features)  # type: ignore[arg-type]


class Method(ABC):
    """One continual-learning method. Subclasses live in one file each."""

    trains = True
    """False: nothing is ever trained. For single tasks, see `epochs`."""
    joint = False
    """True: trained once on all tasks' data (an upper bound, not a continual learner)."""
    queries = False
    """True: it reads the pretrained network's features of an image beside the image. Batches then
    carry them (`Batch.queries`), except in training that augments its images."""
    passes_beside_training = 0.0
    """Forward passes over a task's images besides training, for the cost column."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.backbone = context.backbone

    @property
    def frozen_features(self) -> Literal["pretrained", "adapted", "side by side"] | None:
        """Whose features they are, where `features` will never change again; None: it still may.

        The loop then passes every image through it once (`pretrained`: once for all runs of the
        store) and hands out features (B, D) where images were. `side by side`: `features` are those
        of `finished_networks` (B, D each), which never change while others may come.
        """
        return None

    @property
    def finished_networks(self) -> int:
        """Networks side by side that never change again."""
        return 0

    def features_under(self, images: Tensor, network: int) -> Tensor:
        """CLS features (B, D) under one of the finished networks."""
        raise TypeError(f"{type(self).__name__} has no networks side by side")

    def epochs(self, task: Task) -> int:
        """Training passes over this task's images; 0: the loop goes straight to `end_task`."""
        return task.epochs if self.trains else 0

    @abstractmethod
    def begin_task(self, task: Task) -> None:
        """Grow heads, start adapters, make the optimiser."""

    def begin_step(self, parts: list[Batch]) -> list[Batch]:
        """Look at the whole batch before its parts are passed one by one; returns those to pass.

        Called only where a batch comes in several parts (`train.accumulate`, see step.py). For
        what is no sum over images: votes, pairs of images, statistics of a batch. The parts
        returned may carry more, such as queries.
        """
        return parts

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Named loss terms of one batch, or of a part of it; the loop sums them, calls backward.

        Each term is a mean over images or a function of the parameters alone (see step.py).
        """
        raise TypeError(f"{type(self).__name__} trains nothing")

    def update(self) -> None:
        """One optimiser step, from the gradients of the step's batch."""
        raise TypeError(f"{type(self).__name__} trains nothing")

    def end_task(self, task: Task) -> None:  # noqa: B027 (nothing to do is a valid answer)
        """Commit what later tasks must keep: subspaces, prototypes."""

    def features(self, images: Tensor) -> Tensor:
        """CLS features (B, D) of prepared images; features that stand for them are returned."""
        if images.dim() == 2:
            return images
        features: Tensor = self.backbone(images)
        return features

    def features_of(self, batch: Batch) -> Tensor:
        """As `features`, of a batch: what else it carries may spare a pass."""
        return self.features(batch.images)

    @torch.no_grad()
    def task_features(self, task: Task) -> tuple[Tensor, Tensor]:
        """(features, labels) of the task's images under the test transform: one extra pass."""
        with self.context.autocast():
            seen = [(self.features_of(b), b.labels) for b in task.plain_batches()]
        return torch.cat([f for f, _ in seen]), torch.cat([y for _, y in seen])

    @abstractmethod
    def classify(self, features: Tensor) -> Tensor:
        """Logits (B, classes seen) without task identity."""

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """(logits, features) of prepared images; features None where a method has several."""
        features = self.features(images)
        return self.classify(features), features

    def answer(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """As `predict`, of a batch: what the loop evaluates."""
        return self.predict(batch.images)

    @abstractmethod
    def kept(self) -> dict[str, Any]:
        """What is kept between tasks, as a tree of tensors; its bytes are reported."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Tree of tensors and JSON that restores the method at any point of training."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any], task: Task | None) -> None:
        """Restore on a freshly made method; `task` is the one in training, None between tasks."""

    def trained_parameters(self) -> int:
        """Number of parameters trained in the current task."""
        return 0

    def diagnose(self, past: list[Tensor]) -> dict[str, Any]:
        """Facts about the task just ended. `past`: prepared test images of earlier tasks, or what
        stands for them (`frozen_features`).

        The only place where images of past tasks may be looked at; nothing learnt here may be
        kept.
        """
        return {}
