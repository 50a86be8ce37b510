"""Passes that are spared: features of networks that never change are computed once.

A method that inherits nothing from this file gets images, always. Each class here is one promise
that a method can make; janus/training/precompute.py computes what it allows, and the functions at
the end are how the rest of the platform asks.

    FixedFeatures    its features do not change (any more): it gets features in place of images
    SideBySide       the same, one finished network after each task
    AsksPretrained   it reads the pretrained network's features beside the image: its "queries"
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor

from janus.data.stream import Batch
from janus.methods.base.method import Method

Network = Literal["pretrained", "adapted", "side by side"]


class FixedFeatures(Method):
    """A method whose `features` will never change again, from the start or from some task on.

    It then gets features (B, D) where images were, in `loss`, `features`, `predict` and `diagnose`.
    """

    @property
    def frozen_features(self) -> Network | None:
        """The network that gives `features` from now on; None: training may still change it.

        `pretrained`: the backbone as it was loaded. Features are computed once for all runs of a
        store. `adapted`: a network that this run has trained. Computed once in this run.
        """
        return "pretrained"

    def features(self, images: Tensor) -> Tensor:
        """Features (B, D) of prepared images; features are returned as they are."""
        return images if images.dim() == 2 else super().features(images)


class SideBySide(FixedFeatures):
    """One more finished network after every task; `features` are those of all, concatenated."""

    @property
    def frozen_features(self) -> Network:
        """Finished networks never change, others may come."""
        return "side by side"

    @property
    @abstractmethod
    def finished_networks(self) -> int:
        """Number of networks that never change again."""

    @abstractmethod
    def features_under(self, images: Tensor, network: int) -> Tensor:
        """Features (B, D) of prepared images under one of the finished networks."""

    def features(self, images: Tensor) -> Tensor:
        """Features of all finished networks side by side (B, T D)."""
        if images.dim() == 2:
            return images
        each = [self.features_under(images, k) for k in range(self.finished_networks)]
        return torch.cat(each, dim=-1)


class AsksPretrained(Method):
    """A method that chooses by a query: the pretrained network's features (B, D) of an image.

    Batches carry queries where they are known (`Batch.queries`): always, except in training that
    augments its images.
    """

    asks = True
    """False: a setting makes the query something else than the pretrained network's features."""

    @abstractmethod
    def query(self, images: Tensor) -> Tensor:
        """Queries (B, D) of prepared images: one more pass."""

    @abstractmethod
    def predict_with(self, images: Tensor, queries: Tensor) -> tuple[Tensor, Tensor | None]:
        """As `predict`, for known queries (B, D)."""

    def queries_of(self, batch: Batch) -> Tensor:
        """Queries (B, D) that the batch carries, or one more pass."""
        return self.query(batch.images) if batch.queries is None else batch.queries

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """(logits, features) of prepared images, their queries included."""
        return self.predict_with(images, self.query(images))


# ---- what the platform asks of any method ------------------------------------------------------
def frozen_features(method: Method) -> Network | None:
    """Which fixed network gives the method's features from now on; None: they may change."""
    return method.frozen_features if isinstance(method, FixedFeatures) else None


def asks_pretrained(method: Method) -> bool:
    """Whether the method wants the pretrained network's features beside images."""
    return isinstance(method, AsksPretrained) and method.asks


def predict_batch(method: Method, batch: Batch) -> tuple[Tensor, Tensor | None]:
    """(logits, features) of a batch, without a query pass where the batch carries queries."""
    if isinstance(method, AsksPretrained):
        return method.predict_with(batch.images, method.queries_of(batch))
    return method.predict(batch.images)
