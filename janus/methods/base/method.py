"""The contract between the training loop and a continual-learning method.

The loop calls, task after task:

    begin_task(task)        grow heads, make the optimiser
      loss(batch)           named loss terms; the loop sums them and calls backward
      update()              one optimiser step
    end_task(task)          store what later tasks need
    predict(images)         logits over all classes seen

A method owns its trainable parameters, its optimiser and what it keeps between tasks, and names in
`state`, `training_state` and `keeps` where these are (state.py). The loop owns data, backward,
evaluation, checkpoints and logging. A run that is killed inside `begin_task` or `end_task` starts
again from the state before the call.

Not needed by a plain method: reported.py (costs, diagnostics), precomputable.py (passes that are
spared), whole_batch.py (losses that are no mean over images).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from janus.config.cell import Cell
from janus.data.stream import Batch, Task
from janus.methods.base.reported import Reported
from janus.methods.base.state import Stateful


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


class Method(Stateful, Reported, ABC):
    """One continual-learning method. Subclasses live in one file each."""

    joint = False
    """True: trained once on all tasks' data (an upper bound, not a continual learner)."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.backbone = context.backbone

    def epochs(self, task: Task) -> int:
        """Training passes over this task's images; 0: the loop goes straight to `end_task`."""
        return task.epochs

    @abstractmethod
    def begin_task(self, task: Task) -> None:
        """Grow heads, start adapters, make the optimiser."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Named loss terms of one batch, or of a part of it; the loop sums them, calls backward.

        Each term is a mean over images or a function of the parameters alone (see step.py).
        """
        raise TypeError(f"{type(self).__name__} trains nothing")

    def update(self) -> None:
        """One optimiser step, from the gradients of the step's batch."""
        raise TypeError(f"{type(self).__name__} trains nothing")

    def end_task(self, task: Task) -> None:
        """Store what later tasks must keep: subspaces, prototypes."""

    @abstractmethod
    def predict(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """(logits, features) of prepared images (B, C, H, W), without task identity.

        Logits (B, classes seen); features (B, D), or None where a method has several.
        """

    # ---- for use by methods ----------------------------------------------------------------------
    def features(self, images: Tensor) -> Tensor:
        """CLS features (B, D) of prepared images under the method's network."""
        features: Tensor = self.backbone(images)
        return features

    @torch.no_grad()
    def task_features(self, task: Task) -> tuple[Tensor, Tensor]:
        """(features, labels) of the task's images under the test transform: one extra pass."""
        with self.context.autocast():
            seen = [(self._features_of(b), b.labels) for b in task.plain_batches()]
        return torch.cat([f for f, _ in seen]), torch.cat([y for _, y in seen])

    def _features_of(self, batch: Batch) -> Tensor:
        """As `features`; a method that finds more in the batch than images may use it."""
        return self.features(batch.images)
