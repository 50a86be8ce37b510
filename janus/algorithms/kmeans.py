"""k-means clustering of features. The result does not depend on the number of threads."""

from __future__ import annotations

import torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from torch import Tensor

from janus.keyed_random import key_number

RESTARTS = 10
"""Number of random starts; the clustering with the least inertia is kept."""


def centroids(features: Tensor, count: int, key: tuple[str | int, ...]) -> Tensor:
    """Centres (k, D) of the clusters of `features` (N, D): k = `count`, or the number of distinct
    rows if that is smaller.

    Lloyd's algorithm from k-means++ starts (scikit-learn), in float64 on one thread, because the
    last bits of parallel sums depend on the number of threads.
    """
    rows = features.detach().double().cpu()
    count = min(count, len(rows.unique(dim=0)))
    seed = key_number("k-means", *key) % 2**32
    with threadpool_limits(limits=1):
        found = KMeans(count, n_init=RESTARTS, random_state=seed).fit(rows.numpy())
    return torch.from_numpy(found.cluster_centers_).to(features)


def nearest(features: Tensor, centres: Tensor) -> Tensor:
    """Index (N,) of the centre (k, D) with the least Euclidean distance to each feature (N, D)."""
    with torch.autocast(features.device.type, enabled=False):
        return torch.cdist(features.float(), centres.float()).argmin(dim=1)
