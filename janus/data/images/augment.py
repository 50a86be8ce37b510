"""Augments whole training batches on the device, with random numbers from the caller's generator.

Shapes: B images of C x H x W, already resized and normalised.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from janus.config.cell import AUGMENTATIONS
from janus.errors import ConfigError, suggest


def augment(kind: str, images: Tensor, draw: torch.Generator) -> Tensor:
    """Augmented copies of `images` (B, C, H, W). Raises ConfigError for an unknown kind.

    none: unchanged; shift: each image is moved by up to 1/16 of its side, edge pixels repeated.
    """
    if kind == "none":
        return images
    if kind == "shift":
        return _shift(images, draw)
    raise ConfigError(f"unknown bench.augment {kind!r}.{suggest(kind, AUGMENTATIONS)}")


def _shift(images: Tensor, draw: torch.Generator) -> Tensor:
    """Each image moved by its own random number of whole pixels."""
    count, _, height, width = images.shape
    most = height // 16
    padded = functional.pad(images, (most,) * 4, mode="replicate")
    moves = torch.randint(0, 2 * most + 1, (count, 2), generator=draw).to(images.device)
    rows = moves[:, :1] + torch.arange(height, device=images.device)
    columns = moves[:, 1:] + torch.arange(width, device=images.device)
    index = torch.arange(count, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(
        0, 3, 1, 2
    )
