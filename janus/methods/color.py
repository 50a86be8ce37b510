"""CoLoR and CoLoR++ (arXiv 2311.17601): an expert LoRA and head per task, chosen by k-means.

Training: cross-entropy on the task, on a fresh LoRA beside the pretrained weights; then frozen.
After training, k-means (k = 5) on the task's features under a reference model; a test image goes
to the expert that owns the centroid nearest to its reference feature. The reference is the
pretrained model (CoLoR), or the model adapted to the first task (CoLoR++). Features are divided by
their norm, for k-means and at test (`unit_features`) [seen: Renate, whose k-means is S-Prompts'].
[the method seen in secondary sources; rank, rates and tables absent]
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from janus.algorithms.kmeans import centroids, nearest
from janus.data.stream import Task
from janus.methods.base.lora_method import LoraMethod
from janus.methods.base.method import Context
from janus.methods.base.precomputable import AsksPretrained
from janus.nn.lora_bank import AdapterBank


class Color(AsksPretrained, LoraMethod):
    """Experts in a bank. Prediction takes a query pass and the pass of the chosen expert.

    Class-incremental: the expert answers for its own classes, all other logits are -inf. Domain-
    incremental: every expert has a head over all classes (policy B, inferred domain).
    """

    state = "bank centroids owners spans"
    keeps = "bank centroids owners heads"  # W0 never changes
    passes_beside_training = 1.0

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.asks = context.settings["reference"] == "pretrained"
        self.bank = AdapterBank()
        self.centroids = torch.zeros(0, context.width, device=context.device)
        self.owners = torch.zeros(0, dtype=torch.long, device=context.device)
        """Task of each centroid."""
        self.spans: list[list[int]] = []
        """[first label, number of classes] of each expert's head."""

    # ---- tasks ---------------------------------------------------------------------------------
    def begin_task(self, task: Task) -> None:
        """A fresh expert beside W0: the last one lives in the bank and is not merged."""
        with torch.no_grad():
            for layer in self.layers:
                layer.b.zero_()
        super().begin_task(task)

    def head_classes(self, task: Task) -> int:
        """Every expert has a head of its own, also where all classes are known."""
        return task.classes

    @torch.no_grad()
    def end_task(self, task: Task) -> None:
        """Freeze the expert; one pass under the reference model gives the task's centroids."""
        self.bank.add(self.layers)
        self.spans.append([task.first, task.classes])
        with self.context.autocast():
            seen = torch.cat([self.queries_of(b).float() for b in task.plain_batches()])
        count = self.context.settings["clusters"]
        found = centroids(self._clustered(seen), count, (*self.context.key, task.index))
        self.centroids = torch.cat([self.centroids, found])
        self.owners = torch.cat([self.owners, self.owners.new_full((len(found),), task.index)])

    # ---- prediction ----------------------------------------------------------------------------
    @torch.no_grad()
    def query(self, images: Tensor) -> Tensor:
        """Features (B, D) under the reference model."""
        with self._reference():
            return self.features(images)

    @contextmanager
    def _reference(self) -> Iterator[None]:
        if self.context.settings["reference"] == "first_task":
            with self.expert(0):
                yield
            return
        try:
            for layer in self.layers:
                layer.enabled = False
            yield
        finally:
            for layer in self.layers:
                layer.enabled = True

    @contextmanager
    def expert(self, index: int) -> Iterator[None]:
        """The network with the expert of task `index` in place of the current adapter."""
        now = [(x.a.detach().clone(), x.b.detach().clone()) for x in self.layers]
        try:
            self._set_adapters(self.bank.pairs(index))
            yield
        finally:
            self._set_adapters(now)

    def infer_task(self, queries: Tensor) -> Tensor:
        """The task whose centroid is nearest to each image's reference feature (B, D): (B,)."""
        return self.owners[nearest(self._clustered(queries), self.centroids)]

    def _clustered(self, features: Tensor) -> Tensor:
        """The features (N, D) that are clustered and compared: of unit length, or as they are."""
        if not self.context.settings["unit_features"]:
            return features
        return functional.normalize(features.float(), dim=-1)

    @torch.no_grad()
    def predict_with(self, images: Tensor, queries: Tensor) -> tuple[Tensor, None]:
        """Logits over all classes seen, from the inferred expert only; no common features."""
        chosen = self.infer_task(queries)
        classes = max(first + count for first, count in self.spans)
        logits = torch.full((len(images), classes), float("-inf"), device=images.device)
        for index in chosen.unique().tolist():
            mine = (chosen == index).nonzero()[:, 0]
            first, count = self.spans[index]
            with self.expert(index):
                own = self.heads.parts[index](self.features(images[mine]))
            logits[mine, first : first + count] = own.float()
        return logits, None

    # ---- diagnostics ---------------------------------------------------------------------------
    @torch.no_grad()
    def diagnose(self, past: list[Tensor]) -> dict[str, Any]:
        """The expert's size, and the share of past images that the newest expert takes.

        Null-space violations are not defined: past inputs do not pass through the new expert.
        """
        facts = super().diagnose([])
        if past:
            chosen = torch.cat([self.infer_task(self.query(images)) for images in past])
            facts["taken_by_newest"] = float((chosen == len(self.bank) - 1).float().mean())
        return facts
