"""k-means on features: one call, one answer, whatever the thread count."""

from __future__ import annotations

import torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from torch import Tensor

from janus.keyed_random import key_number

RESTARTS = 10
"""Starts of which the one with the least inertia is kept."""


def centroids(features: Tensor, count: int, key: tuple[str | int, ...]) -> Tensor:
    """Centres (k, D) of `count` clusters of `features` (N, D), or fewer: one per distinct row.

    Lloyd's algorithm from k-means++ starts (scikit-learn) in float64 on one thread: sums in
    parallel depend on the number of threads in their last bits.
    """
    rows = features.detach().double().cpu()
    count = min(count, len(rows.unique(dim=0)))
    seed = key_number("k-means", *key) % 2**32
    with threadpool_limits(limits=1):
        found = KMeans(count, n_init=RESTARTS, random_state=seed).fit(rows.numpy())
    return torch.from_numpy(found.cluster_centers_).to(features)


def nearest(features: Tensor, centres: Tensor) -> Tensor:
    """Index of the nearest centre (k, D) for each feature (N, D), Euclidean: (N,)."""
    with torch.autocast(features.device.type, enabled=False):
        return torch.cdist(features.float(), centres.float()).argmin(dim=1)
