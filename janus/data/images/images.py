"""`Images` (labelled images) and `Bench` (train and test images), which every loader returns.

Cutting a bench into tasks copies no pixels: each part only holds its rows of a common store. So a
memory-mapped bench needs its memory once per machine, shared by all runs and tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from janus.data.images.varied_size import VariedSizeImages


@dataclass(frozen=True)
class Images:
    """Labelled images. N images, C channels."""

    store: Tensor | VariedSizeImages
    """uint8 (M, C, H, W), in memory or memory-mapped; or images of different sizes; or features
    (M, D) in place of the images (see janus/training/precompute.py)"""
    labels: Tensor
    """int64 (N,): class"""
    domains: Tensor
    """int64 (N,): domain, zero where a bench has none"""
    groups: Tensor
    """int64 (N,): images of one source (a font family, a photographer) share a group"""
    rows: Tensor | None = None
    """int64 (N,): row of each image in the store; None: all rows, in order"""
    queries: Images | None = field(default=None, kw_only=True)
    """features of the same images by the pretrained network, for methods that use both"""
    origin: Images | None = field(default=None, kw_only=True)
    """the original images, if these are features computed from them"""

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def where(self) -> Tensor:
        """Row of each image in the store, int64 (N,)."""
        return torch.arange(len(self)) if self.rows is None else self.rows

    @property
    def is_features(self) -> bool:
        """Whether the store holds precomputed features instead of images."""
        return isinstance(self.store, Tensor) and self.store.dim() == 2

    @property
    def pixels(self) -> Tensor:
        """uint8 (N, C, H, W) for images of one size, or features (N, D).

        Raises TypeError for images of different sizes.
        """
        if isinstance(self.store, VariedSizeImages):
            raise TypeError("images of differing sizes have no common array")
        return self.store if self.rows is None else self.store[self.rows]

    def take(self, index: Tensor) -> Images:
        """The images at `index`; no pixel is copied."""
        return Images(
            self.store,
            self.labels[index],
            self.domains[index],
            self.groups[index],
            index if self.rows is None else self.rows[index],
            queries=None if self.queries is None else self.queries.take(index),
        )

    def none(self) -> Images:
        """An empty selection of the same store, in place of test files that must not be opened."""
        return self.take(torch.empty(0, dtype=torch.long))

    def relabelled(self, labels: Tensor) -> Images:
        """The same images with other labels."""
        return replace(self, labels=labels)


def joined_images(parts: Sequence[Images]) -> Images:
    """The images of all `parts`, which must share one store."""
    assert all(p.store is parts[0].store for p in parts)
    labels, domains, groups = (
        torch.cat([getattr(part, name) for part in parts])
        for name in ("labels", "domains", "groups")
    )
    queries = [p.queries for p in parts if p.queries is not None]
    return Images(
        parts[0].store,
        labels,
        domains,
        groups,
        torch.cat([p.where() for p in parts]),
        queries=joined_images(queries) if len(queries) == len(parts) else None,
    )


@dataclass(frozen=True)
class Bench:
    """A data set with its split, as a cell uses it."""

    train: Images
    test: Images
    class_names: tuple[str, ...]
    domain_names: tuple[str, ...]
    sha256: str
    shared_test: bool = False
    """Whether the test images belong to no task, so that all are evaluated after every task."""
    test_sums: Mapping[str, str] = field(default_factory=dict)
    """Checksums of the test files by name, if the split's hash is made from them."""
    digests: Mapping[str, np.ndarray] = field(default_factory=dict)
    """uint8 (N, 32) by part: SHA-256 of each opened file, if the images are files"""
    notes: tuple[str, ...] = ()
    """Lines for `check` on files and folders that were left out."""
