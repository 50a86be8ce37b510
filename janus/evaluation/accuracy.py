"""Measures after a task: correct counts on the test images, and feature-space diagnostics.

No test image or test feature is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from janus.algorithms.losses import nearest_old_cosine
from janus.config.cell import Cell
from janus.data.images.images import Images, joined_images
from janus.data.images.transforms import plain_view
from janus.data.stream import Stream, plain_batches
from janus.methods.base.method import Method
from janus.methods.base.precomputable import predict_batch
from janus.nn.heads import Prototypes

MOST_PAST_IMAGES = 256
"""Most test images of past tasks that the null-space diagnostics use."""


@dataclass
class Counts:
    """One row of the accuracy matrix."""

    correct: list[int] = field(default_factory=list)
    """Per task: images classified correctly among all classes seen."""
    correct_in_task: list[int] = field(default_factory=list)
    """Per task: images classified correctly among the task's own classes (task identity given)."""
    correct_ncm: list[int] | None = None
    """Per task: images classified correctly by the nearest class mean; None without means."""


@dataclass
class Evaluation:
    """The results of one pass over the test images."""

    counts: Counts
    right: Tensor
    """bool (N,) on the CPU: whether each image was classified correctly among all classes seen,
    task after task."""
    newest: tuple[Tensor, Tensor] | None
    """(features, labels) of the test images of the last task; None if the method has no single
    feature space."""


@torch.no_grad()
def evaluate(
    method: Method,
    stream: Stream,
    upto: int,
    cell: Cell,
    device: torch.device,
    means: Prototypes | None = None,
) -> Evaluation:
    """Evaluate the method on the test images of tasks 0..upto (or on the shared test set).

    The images of all tasks are joined and cut into full batches, so many small tasks take no
    longer than one large task. `means`: class means for a second count, by the nearest mean.
    """
    tests = stream.tests[:1] if stream.shared_test else stream.tests[: upto + 1]
    sizes = torch.tensor([len(images) for images in tests], device=device)
    owner = torch.arange(len(tests), device=device).repeat_interleave(sizes)
    first, end = _spans(stream, len(tests), device)
    hits = torch.zeros(3, len(tests), dtype=torch.long, device=device)
    features: list[Tensor] = []
    right: list[Tensor] = []
    start, newest = 0, len(owner) - len(tests[-1])
    for batch in plain_batches(joined_images(tests), cell, device, stream.on_batch):
        task = owner[start : start + len(batch.labels)]
        with method.context.autocast():
            logits, found = predict_batch(method, batch)
        right.append(logits.argmax(1) == batch.labels)
        hits[0].index_add_(0, task, right[-1].long())
        label = torch.arange(logits.shape[1], device=device)
        foreign = (label < first[task, None]) | (label >= end[task, None])
        best, own = logits.masked_fill(foreign, float("-inf")).max(1)
        # -inf: the method assigned the image to another task, so it predicts no class of this one
        named = best > float("-inf")
        hits[1].index_add_(0, task, ((own == batch.labels) & named).long())
        if found is not None and means is not None:
            nearest = means.logits(found, logits.shape[1]).argmax(1)
            hits[2].index_add_(0, task, (nearest == batch.labels).long())
        if found is not None and start + len(task) > newest:
            features.append(found[max(0, newest - start) :].float())
        start += len(task)
    every = hits.tolist()  # waits for the device only once
    counts = Counts(every[0], every[1], every[2] if means is not None and features else None)
    newest_seen = (torch.cat(features), tests[-1].labels.to(device)) if features else None
    return Evaluation(counts, torch.cat(right).cpu(), newest_seen)


def _spans(stream: Stream, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """First class and end (last class + 1) of each of the first `count` tasks: (count,) each."""
    spans = [(task.first, task.first + task.classes) for task in stream.tasks[:count]]
    first, end = torch.tensor(spans, device=device).unbind(1)
    return first, end


def old_class_overlap(newest: tuple[Tensor, Tensor] | None, old: Prototypes) -> dict[str, float]:
    """How close the new task's test features lie to the centres of old classes.

    danger: mean cosine to the nearest class centre of earlier tasks (centres of test images,
    measured when each task ended); danger_above_half: share of images whose cosine is above 0.5;
    own_centre: mean cosine to the image's own class centre. Adds the new centres to `old`, which
    is used for diagnostics only, never by the method. {} without features.
    """
    if newest is None:
        return {}
    features, labels = newest
    facts: dict[str, float] = {}
    if len(old.classes):
        skip = old.own_class(labels)
        nearest = nearest_old_cosine(features, old.means, skip)
        facts["danger"] = float(nearest.mean())
        facts["danger_above_half"] = float((nearest > 0.5).float().mean())
    before = len(old.classes)
    old.add(features, labels)
    unit = torch.nn.functional.normalize(features, dim=-1)
    at = torch.searchsorted(old.classes[before:], labels) + before
    facts["own_centre"] = float((unit * old.means[at]).sum(-1).mean())
    return facts


def sample_past_images(tests: Sequence[Images], cell: Cell, device: torch.device) -> list[Tensor]:
    """At most MOST_PAST_IMAGES test images of earlier tasks, evenly spaced, in batches of 64.

    Each batch is float (B, C, H, W), ready for the backbone.
    """
    if not tests:
        return []
    chosen = torch.linspace(0, len(tests) - 1, min(len(tests), MOST_PAST_IMAGES)).round().long()
    each = MOST_PAST_IMAGES // len(chosen)
    ends = torch.tensor([len(images) for images in tests]).cumsum(0)
    index = []
    for task in chosen.tolist():
        count = len(tests[task])
        spread = torch.linspace(0, count - 1, min(each, count)).round().long()
        index.append(ends[task] - count + spread)
    images = joined_images(tests).take(torch.cat(index))
    return list(plain_view(images, cell, device).split(64))


def tree_bytes(tree: Any) -> int:
    """Total bytes of all tensors in nested dicts and lists."""
    if isinstance(tree, Tensor):
        return tree.numel() * tree.element_size()
    children = tree.values() if isinstance(tree, dict) else tree
    return sum(tree_bytes(c) for c in children) if isinstance(tree, dict | list | tuple) else 0
