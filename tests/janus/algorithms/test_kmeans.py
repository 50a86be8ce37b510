"""k-means: finds blobs, the same answer for any number of threads."""

from __future__ import annotations

import torch

from janus.algorithms.kmeans import centroids, nearest


def blobs(count: int, each: int = 40):
    g = torch.Generator().manual_seed(1)
    centres = 10 * torch.randn(count, 6, generator=g)
    noise = 0.1 * torch.randn(count, each, 6, generator=g)
    return centres, (centres[:, None] + noise).flatten(0, 1)


def test_centroids_are_the_means_of_separated_blobs():
    centres, rows = blobs(4)
    found = centroids(rows, 4, (0, "natural"))
    at = nearest(centres, found)
    assert sorted(at.tolist()) == [0, 1, 2, 3]
    assert torch.allclose(found[at], rows.unflatten(0, (4, 40)).mean(1), atol=1e-5)


def test_equal_keys_give_equal_bits_whatever_the_thread_count():
    rows = torch.randn(300, 6, generator=torch.Generator().manual_seed(2))
    first = centroids(rows, 5, (0, "1"))
    torch.set_num_threads(2)
    assert torch.equal(first, centroids(rows, 5, (0, "1")))
    assert first.dtype == rows.dtype


def test_no_more_centroids_than_distinct_rows():
    rows = torch.tensor([[0.0, 1.0], [0.0, 1.0], [2.0, 0.0]])
    assert len(centroids(rows, 5, (0,))) == 2
