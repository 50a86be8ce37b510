"""What methods with linear heads share: one head per task, local cross-entropy, one optimiser.

Section 0 of the protocol [seen: InfLoRA]: cross-entropy over the current task's classes, prediction
over the concatenated logits of all heads. Subclasses add what is trained beside the head.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from janus.algorithms.losses import local_cross_entropy
from janus.data.stream import Batch, Task
from janus.methods.base.classifier import Classifier, make_classifier
from janus.methods.base.method import Context, Method
from janus.methods.base.optimizer import TaskOptimizer
from janus.nn.heads import LinearHeads


class HeadsMethod(Method):
    """Trains the current head and `own_parameters`."""

    state = "heads classifier"
    training_state = "optimizer"
    keeps = "heads classifier"
    epsilon_hat = False
    """True: Adam adds its epsilon before the bias correction (see `TaskOptimizer`)."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.heads = self.make_heads(context.width)
        self.classifier = self.make_classifier()
        self.passes_beside_training += float(self.classifier is not None)
        self.optimizer: TaskOptimizer | None = None
        self.first_class = 0

    def make_heads(self, width: int) -> LinearHeads:
        """The heads, with the start that the source gives them."""
        return LinearHeads(width)

    def make_classifier(self) -> Classifier | None:
        """What predicts in place of the trained heads; None: these do."""
        return make_classifier(self.context)

    def own_parameters(self) -> Sequence[nn.Parameter]:
        """What the current task trains beside its head."""
        return []

    def optimized_parameters(self) -> Sequence[nn.Parameter]:
        """Those of `own_parameters` that the optimiser steps; the rest, the method steps itself."""
        return self.own_parameters()

    def head_parameters(self) -> list[nn.Parameter]:
        """The current head; earlier ones are frozen."""
        return list(self.heads.parts[-1].parameters())

    # ---- tasks ---------------------------------------------------------------------------------
    def begin_task(self, task: Task) -> None:
        """Add a head for new classes, make the optimiser."""
        if self.classifier is not None:
            self.classifier.begin_task(self.heads)
        if classes := self.head_classes(task):
            self.heads.grow(classes, self.context.key, self.context.device)
        self._start_training(task)

    def head_classes(self, task: Task) -> int:
        """Classes of the head that the task adds: its new ones; 0 where all are known."""
        return task.fresh

    def _start_training(self, task: Task) -> None:
        self.first_class = task.first
        s = self.context.settings
        # a probe has nothing but its head, and no `lr`
        groups = [(self.optimized_parameters(), s["lr"])] if "lr" in s else []
        groups = [*groups, (self.head_parameters(), s["head_lr"])]
        self.optimizer = TaskOptimizer(groups, s, task, self.epsilon_hat)

    def trained_parameters(self) -> int:
        """What the current task trains, with its head."""
        return sum(p.numel() for p in (*self.own_parameters(), *self.head_parameters()))

    # ---- steps ---------------------------------------------------------------------------------
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy over the current task's classes."""
        features = self.features(batch.images)
        logits = self.heads.parts[-1](features)
        terms = {"ce": local_cross_entropy(logits, batch.labels, self.first_class)}
        return terms | self.extra_loss(features, batch)

    def extra_loss(self, features: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Further terms of a subclass."""
        return {}

    def update(self) -> None:
        """One optimiser step."""
        assert self.optimizer is not None
        self.optimizer.step()

    def end_task(self, task: Task) -> None:
        """Show the classifier the features of the task's images: one extra pass."""
        if self.classifier is not None:
            self.classifier.end_task(self.heads, *self.task_features(task), task)

    # ---- prediction ----------------------------------------------------------------------------
    def predict(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """(logits, features) of prepared images."""
        features = self.features(images)
        return self.classify(features), features

    def classify(self, features: Tensor) -> Tensor:
        """Concatenated logits of all heads, or what the classifier says in their place."""
        if self.classifier is not None:
            return self.classifier.logits(self.heads, features)
        logits: Tensor = self.heads(features)
        return logits
