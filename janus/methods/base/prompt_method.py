"""What all prompt methods share: a query pass, a choice of prompts, a prompted pass, linear heads.

The ViT stays frozen; prompts (and their keys) and the head of the current task are trained with
cross-entropy over the current task's classes: the sources mask old logits with -inf, which is the
same [seen: CODA-Prompt's code]. The query serves choice and key loss; where images are not
augmented it was computed once for all runs of the store, elsewhere it is one more pass.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from janus.algorithms.losses import local_cross_entropy
from janus.data.stream import Batch, Task
from janus.methods.base.heads_method import HeadsMethod
from janus.methods.base.method import Context
from janus.methods.base.precomputable import AsksPretrained
from janus.nn.prompts import PromptedViT


@dataclass(frozen=True)
class Choice:
    """Prompts for one batch."""

    prompts: Sequence[Tensor]
    """What the prompted pass takes: one prefix (B or 1, 2, L, A) per prompted block."""
    cosines: Tensor | None = None
    """(B, K) of the queries to the keys that were chosen, or (B, B, K) of every query to those of
    every image; None for a method without key loss."""


class PromptMethod(AsksPretrained, HeadsMethod):
    """Subclasses say which blocks are prompted, how prompts start, and how they are chosen."""

    state = "trained frozen"
    keeps = f"{HeadsMethod.keeps} trained frozen"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.vit = PromptedViT(context.backbone, self.prompted_blocks())
        self.trained: dict[str, nn.Parameter] = {}
        """Prompts, keys and the like that the current task trains."""
        self.frozen: dict[str, Tensor] = {}
        """Those of earlier tasks, stacked along the first dimension."""
        # the query is one forward pass over the images, in every epoch where these are augmented
        once = context.cell.bench.augment == "none"
        self.passes_beside_training = 1.0 if once else float(context.cell.train.epochs)

    def _restored(self) -> None:
        super()._restored()
        self.trained = {name: nn.Parameter(value) for name, value in self.trained.items()}

    # ---- what subclasses say -------------------------------------------------------------------
    @abstractmethod
    def prompted_blocks(self) -> Sequence[int]:
        """The blocks that take a prefix."""

    @abstractmethod
    def start_prompts(self, task: Task) -> dict[str, Tensor]:
        """Start values of what this task trains anew; may move trained values to `frozen`."""

    @abstractmethod
    def choose(self, query: Tensor, training: bool) -> Choice:
        """Prompts for queries (B, D)."""

    def prompted(self, images: Tensor, prompts: Sequence[Tensor]) -> Tensor:
        """Features (B, D) of the prompted pass."""
        return self.vit.prefixed(images, prompts)

    # ---- tasks ---------------------------------------------------------------------------------
    def begin_task(self, task: Task) -> None:
        """Start the task's prompts, add a head for new classes, make the optimiser."""
        for name, value in self.start_prompts(task).items():
            self.trained[name] = nn.Parameter(value.to(self.context.device))
        super().begin_task(task)

    def freeze(self, name: str) -> None:
        """Move the trained `name` (M, ...) behind the frozen ones of earlier tasks."""
        if name in self.trained:
            self.frozen[name] = self.every(name).detach().clone()
            del self.trained[name]

    def every(self, name: str) -> Tensor:
        """Frozen and trained `name`, in order of the tasks; only the latter carry gradient."""
        if name not in self.frozen:
            return self.trained[name]
        return torch.cat([self.frozen[name], self.trained[name]])

    def own_parameters(self) -> list[nn.Parameter]:
        """Prompts, keys and the like of this task."""
        return list(self.trained.values())

    # ---- steps ---------------------------------------------------------------------------------
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the prompted pass; key loss w * mean sum_k (1 - cos(q, k))."""
        choice = self.choose(self.queries_of(batch), training=True)
        features = self.prompted(batch.images, choice.prompts)
        logits = self.heads.parts[-1](features)
        terms = {"ce": local_cross_entropy(logits, batch.labels, self.first_class)}
        if choice.cosines is not None:
            far = (1 - choice.cosines).sum(-1).mean()
            terms["key"] = self.context.settings["key_weight"] * far
        return terms

    def query(self, images: Tensor) -> Tensor:
        """CLS features (B, D) of the plain pass, float32."""
        return self.vit.query(images)

    def queries_of(self, batch: Batch) -> Tensor:
        """(B, D), float32: those that the batch carries, or one more pass."""
        return super().queries_of(batch).float()

    # ---- prediction ----------------------------------------------------------------------------
    def features(self, images: Tensor) -> Tensor:
        """Features (B, D) of the prompted pass, without task identity: two passes."""
        return self._by_query(images, self.query(images))

    def _features_of(self, batch: Batch) -> Tensor:
        return self._by_query(batch.images, self.queries_of(batch))

    def _by_query(self, images: Tensor, queries: Tensor) -> Tensor:
        return self.prompted(images, self.choose(queries, training=False).prompts)

    def predict_with(self, images: Tensor, queries: Tensor) -> tuple[Tensor, Tensor | None]:
        """(logits, features) of the prompted pass."""
        features = self._by_query(images, queries)
        return self.classify(features), features
