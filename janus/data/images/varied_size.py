"""Images of different sizes: worker threads decode, crop and resize them one by one.

Pillow and torch release Python's global lock while they compute, so threads suffice. The result
depends on the image and its crop box only, not on the number of threads.

Shapes: B images out, S x S pixels.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from janus.data.images.resample import Boxes
from janus.data.images.thread_pool import thread_pool

PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def usable_cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class VariedSizeImages(ABC):
    """Interface of a store of RGB images of different sizes."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    @abstractmethod
    def image(self, row: int) -> Tensor:
        """One image, uint8 (H, W, 3). Raises DataError if it cannot be read."""

    @abstractmethod
    def sizes(self, rows: Tensor) -> Tensor:
        """int64 (B, 2): height and width of the images at `rows`."""

    def crops(self, rows: Tensor, boxes: Boxes, size: int) -> Tensor:
        """uint8 (B, 3, S, S): the crops `boxes`, resized (bilinear, antialiased) and flipped."""
        flips = boxes.flip.tolist()
        places = torch.stack([boxes.top, boxes.left, boxes.height, boxes.width], 1).tolist()

        def one(at: int, row: int) -> Tensor:
            top, left, height, width = places[at]
            part = self.image(row)[top : top + height, left : left + width]
            found = resize(part, (size, size))
            return found.flip(2) if flips[at] else found

        return self._each(rows, size, one)

    def centres(self, rows: Tensor, size: int, side: int, kernel: str) -> Tensor:
        """uint8 (B, 3, S, S): shorter side resized to `side`, then the middle S x S.

        Resized by Pillow, so that evaluation uses the pixels of the published code, bit for bit.
        """

        def one(_: int, row: int) -> Tensor:
            image = self.image(row)
            height, width = shorter_side(image.shape[0], image.shape[1], side)
            picture = Image.fromarray(image.numpy())
            found = np.array(picture.resize((width, height), PILLOW[kernel]))
            return centre(torch.from_numpy(found).permute(2, 0, 1), size)

        return self._each(rows, size, one)

    def read(self, rows: Tensor) -> list[Tensor]:
        """The images at `rows` without any transform, uint8 (H, W, 3) each."""
        return list(self._workers().map(self.image, rows.tolist()))

    def _each(self, rows: Tensor, size: int, work: Callable[[int, int], Tensor]) -> Tensor:
        out = torch.empty(len(rows), 3, size, size, dtype=torch.uint8)

        def store(at: int, row: int) -> None:
            out[at] = work(at, row)

        list(self._workers().map(store, range(len(rows)), rows.tolist()))
        return out

    def _workers(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = thread_pool(usable_cores(), "janus-images")
        return self._pool

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pool": None}  # a copy of the store starts its own threads


def resize(image: Tensor, shape: tuple[int, int]) -> Tensor:
    """uint8 (H, W, C) to uint8 (C, *shape), bilinear, antialiased.

    Uses torch's kernel, which takes a third of Pillow's time and differs by one or two grey levels.
    """
    x = image.permute(2, 0, 1)[None]
    if tuple(image.shape[:2]) != shape:
        x = functional.interpolate(x, shape, mode="bilinear", antialias=True, align_corners=False)
    return x[0]


def shorter_side(height: int, width: int, side: int) -> tuple[int, int]:
    """(height, width) after torchvision's Resize(side): the longer side is rounded down."""
    if height <= width:
        return side, int(side * width / height)
    return int(side * height / width), side


def centre(x: Tensor, size: int) -> Tensor:
    """The middle `size` x `size` of (..., H, W), placed as torchvision's CenterCrop does."""
    top, left = round((x.shape[-2] - size) / 2.0), round((x.shape[-1] - size) / 2.0)
    return x[..., top : top + size, left : left + size]
