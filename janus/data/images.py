"""What a loader returns: labelled images in memory, and the bench they form."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Images:
    """Labelled images. N images, C channels."""

    pixels: Tensor
    """uint8 (N, C, H, W)"""
    labels: Tensor
    """int64 (N,): class"""
    domains: Tensor
    """int64 (N,): domain, zero where a bench has none"""
    groups: Tensor
    """int64 (N,): images of one source (a font family, a photographer) share a group"""

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def take(self, index: Tensor) -> Images:
        """The images at `index`."""
        return Images(*(getattr(self, n)[index] for n in ("pixels", "labels", "domains", "groups")))


@dataclass(frozen=True)
class Bench:
    """A data set as a cell sees it."""

    train: Images
    test: Images
    class_names: tuple[str, ...]
    domain_names: tuple[str, ...]
    sha256: str
