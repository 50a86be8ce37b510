"""What a loader returns: labelled images, and the bench they form.

Images are never copied when a bench is cut into tasks: each part remembers its rows of one store,
so that a memory-mapped set costs its size once per machine, however many runs and tasks share it.
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
    """uint8 (M, C, H, W), in memory or memory-mapped; images of differing sizes; or the features
    (M, D) that stand for them (see janus/training/precompute.py)"""
    labels: Tensor
    """int64 (N,): class"""
    domains: Tensor
    """int64 (N,): domain, zero where a bench has none"""
    groups: Tensor
    """int64 (N,): images of one source (a font family, a photographer) share a group"""
    rows: Tensor | None = None
    """int64 (N,): where each image lies in the store; None: in order, all of it"""
    queries: Images | None = field(default=None, kw_only=True)
    """the same images by the pretrained network's features, for methods that read both"""
    origin: Images | None = field(default=None, kw_only=True)
    """the images, where these are features that a run made of them"""

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def where(self) -> Tensor:
        """Rows of the store, int64 (N,)."""
        return torch.arange(len(self)) if self.rows is None else self.rows

    @property
    def is_features(self) -> bool:
        """Whether a frozen network has already seen the images, and these are its answers."""
        return isinstance(self.store, Tensor) and self.store.dim() == 2

    @property
    def pixels(self) -> Tensor:
        """uint8 (N, C, H, W), for images of one size, or features (N, D): a copy."""
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
        """No image at all, of the same kind: what stands for test files that may not be opened."""
        return self.take(torch.empty(0, dtype=torch.long))

    def relabelled(self, labels: Tensor) -> Images:
        """The same images under other class numbers."""
        return replace(self, labels=labels)


def joined_images(parts: Sequence[Images]) -> Images:
    """All of `parts`, which must lie in one store."""
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
    """A data set as a cell sees it."""

    train: Images
    test: Images
    class_names: tuple[str, ...]
    domain_names: tuple[str, ...]
    sha256: str
    shared_test: bool = False
    """The test images belong to no task: they are evaluated whole after every task."""
    test_sums: Mapping[str, str] = field(default_factory=dict)
    """Checksums of the test files by name, where the split's hash is made of them."""
    digests: Mapping[str, np.ndarray] = field(default_factory=dict)
    """uint8 (N, 32) by part: SHA-256 of each file, where images are files that were opened"""
    notes: tuple[str, ...] = ()
    """What `check` says of the folders: files and folders that were left out."""
