"""RGB images of different sizes in one flat array of bytes, usually memory-mapped."""

from __future__ import annotations

import torch
from torch import Tensor

from janus.data.images.varied_size import VariedSizeImages


class FlatImages(VariedSizeImages):
    """Image n is H x W x 3 bytes of the array, (H, W) = `sizes[n]`, directly after image n - 1."""

    def __init__(self, flat: Tensor, sizes: Tensor) -> None:
        """`flat`: uint8 (bytes,), all images one after another; `sizes`: int64 (N, 2)."""
        super().__init__()
        self.flat, self._sizes = flat, sizes
        self._ends = (sizes.prod(1) * 3).cumsum(0).tolist()

    def image(self, row: int) -> Tensor:
        """A view into the array, uint8 (H, W, 3)."""
        height, width = self._sizes[row].tolist()
        end = self._ends[row]
        return self.flat[end - height * width * 3 : end].view(height, width, 3)

    def sizes(self, rows: Tensor) -> Tensor:
        """int64 (B, 2)."""
        return self._sizes[rows]


def flat_images(images: list[Tensor]) -> FlatImages:
    """FlatImages made from images uint8 (H, W, 3) in memory."""
    sizes = torch.tensor([i.shape[:2] for i in images])
    return FlatImages(torch.cat([i.flatten() for i in images]), sizes)
