"""Loss terms that several methods use: local cross-entropy, margin loss, triplet loss.

Shapes: B batch, C classes, D feature width, P prototypes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def local_cross_entropy(logits: Tensor, labels: Tensor, first: int) -> Tensor:
    """Cross-entropy over the classes of the current task only.

    logits: (B, C_task); labels: (B,), counted over all tasks, `first` being the task's first class.
    With cross-entropy over all classes sequential fine-tuning collapses [seen], so every LoRA
    method of this literature trains with the logits of the new classes alone.
    """
    return functional.cross_entropy(logits.float(), labels - first)


def nearest_old_cosine(features: Tensor, prototypes: Tensor, skip: Tensor | None = None) -> Tensor:
    """Cosine (B,) of each feature (B, D) to its nearest prototype (P, D, unit rows).

    `skip` (B, P) marks prototypes to ignore: those of the sample's own class (domain streams).
    """
    return cosines(features, prototypes, skip).max(dim=-1).values


def cosines(features: Tensor, prototypes: Tensor, skip: Tensor | None) -> Tensor:
    """(B, P) in float32, also under autocast; -1 where `skip` says so."""
    with torch.autocast(features.device.type, enabled=False):
        cosine = functional.normalize(features.float(), dim=-1) @ prototypes.mT
    return cosine if skip is None else cosine.masked_fill(skip, -1.0)


def augmented_triplet(
    features: Tensor, labels: Tensor, prototypes: Tensor, skip: Tensor, margin: float
) -> Tensor:
    """Augmented Triplet Loss of LoRA-DRS [seen]: mean_i [ d(i, p) - d(i, n) + margin ]_+.

    On unit features (B, D): p is the farthest sample of i's class in the batch, n the nearest
    sample of another class or old prototype (P, D, unit rows); `skip` (B, P) marks prototypes of
    the sample's own class (domain streams). Distances are Euclidean, at most 2, so that a margin
    of 2 is always active. A sample without any negative adds nothing.
    """
    with torch.autocast(features.device.type, enabled=False):
        unit = functional.normalize(features.float(), dim=-1)
        same = labels[:, None] == labels[None, :]
        among = _unit_distance(unit, unit)
        farthest = among.masked_fill(~same, 0.0).amax(1)
        nearest = among.masked_fill(same, float("inf")).amin(1)
        if len(prototypes):
            to_old = _unit_distance(unit, prototypes).masked_fill(skip, float("inf"))
            nearest = torch.minimum(nearest, to_old.amin(1))
        return (farthest - nearest + margin).clamp_min(0).mean()


def _unit_distance(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances between unit rows; clamped, so that the root has a gradient at zero."""
    return (2 - 2 * x @ y.mT).clamp_min(1e-12).sqrt()
