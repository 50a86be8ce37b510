"""Accuracy counts and feature-space diagnostics after a task. Looks at test images, keeps none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from janus.config import Cell
from janus.data.images import Images
from janus.data.tasks import Stream, plain_batches
from janus.data.views import plain_view
from janus.heads import Prototypes
from janus.losses import nearest_old_cosine
from janus.methods.base import Method

PROBE_IMAGES = 256
"""Most test images of past tasks that the null-space diagnostics look at."""


@dataclass
class Counts:
    """One row of the accuracy matrix."""

    correct: list[int] = field(default_factory=list)
    """Per task: right among all classes seen."""
    correct_in_task: list[int] = field(default_factory=list)
    """Per task: right among that task's own classes (task identity given)."""
    correct_ncm: list[int] | None = None
    """Per task: right by the nearest class mean, where means were given."""


@torch.no_grad()
def evaluate(
    method: Method,
    stream: Stream,
    upto: int,
    cell: Cell,
    device: torch.device,
    means: Prototypes | None = None,
) -> tuple[Counts, tuple[Tensor, Tensor] | None]:
    """Counts on the tests of tasks 0..upto (or the shared one), and (features, labels) of the last.

    Features are None for methods that have no single feature space. `means`: class means for a
    second count by nearest mean, on the same features.
    """
    counts, newest = Counts(), None
    last = 0 if stream.shared_test else upto
    for index in range(last + 1):
        task, images = stream.tasks[index], stream.tests[index]
        right = right_in_task = right_ncm = 0
        features: list[Tensor] = []
        for batch in plain_batches(images, cell, device):
            with torch.autocast(
                device.type, dtype=torch.bfloat16, enabled=cell.train.precision == "bf16"
            ):
                logits, found = method.predict(batch.images)
            right += int((logits.argmax(1) == batch.labels).sum())
            best, own = logits[:, task.first : task.first + task.classes].max(1)
            # -inf: the method sent the image to another task, so it names no class of this one
            named = best > float("-inf")
            right_in_task += int(((own + task.first == batch.labels) & named).sum())
            if found is not None and means is not None:
                nearest = means.logits(found, logits.shape[1]).argmax(1)
                right_ncm += int((nearest == batch.labels).sum())
            if found is not None and index == last:
                features.append(found.float())
        counts.correct.append(right)
        counts.correct_in_task.append(right_in_task)
        if means is not None and found is not None:
            counts.correct_ncm = [*(counts.correct_ncm or []), right_ncm]
        if features:
            newest = (torch.cat(features), images.labels.to(device))
    return counts, newest


def invasion(newest: tuple[Tensor, Tensor] | None, old: Prototypes) -> dict[str, float]:
    """How far the new task's test features reach into old classes' regions.

    danger: mean cosine to the nearest class centre of earlier tasks (test-image centres, measured
    when each task ended); danger_above_half: share above 0.5; own_centre: mean cosine to the own
    class centre. Adds the new centres to `old`, which belongs to the diagnostics, not the method.
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


def probe(tests: Sequence[Images], cell: Cell, device: torch.device) -> list[Tensor]:
    """Prepared test images of earlier tasks, evenly spaced, at most PROBE_IMAGES in all."""
    if not tests:
        return []
    each = max(1, PROBE_IMAGES // len(tests))
    parts = []
    for images in tests:
        index = torch.linspace(0, len(images) - 1, min(each, len(images))).round().long()
        parts.append(plain_view(images.take(index), cell, device))
    return list(torch.cat(parts)[:PROBE_IMAGES].split(64))


def tree_bytes(tree: Any) -> int:
    """Bytes of all tensors in a tree of dicts and lists."""
    if isinstance(tree, Tensor):
        return tree.numel() * tree.element_size()
    children = tree.values() if isinstance(tree, dict) else tree
    return sum(tree_bytes(c) for c in children) if isinstance(tree, dict | list | tuple) else 0
