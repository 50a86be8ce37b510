"""Crops, resizes and flips whole batches by two small matrix products per image.

Resizing is linear and separable: out = R X Cᵀ, where R (out x H) and C (out x W) hold the weights
of an antialiased kernel over the crop box, and a flip is C read backwards. So one pair of batched
products crops, resizes and flips every image of a batch at once, on any device. Weights follow
Pillow's `resize`: support grows with the reduction, weights sum to one at borders.

Shapes: B images, S x S pixels out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

ATTEMPTS = 10
"""Number of draws before a centre crop is used, as in torchvision's RandomResizedCrop."""


@dataclass(frozen=True)
class Boxes:
    """The crop box of each image of a batch: int64 (B,) each, and bool (B,) for the flip."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    flip: Tensor

    def packed(self) -> Tensor:
        """All fields as one tensor int64 (5, B), for one copy to a device; see `unpacked`."""
        return torch.stack([self.top, self.left, self.height, self.width, self.flip.long()])


def unpacked(rows: Tensor) -> Boxes:
    """The boxes that `Boxes.packed` put into int64 (5, B)."""
    top, left, height, width, flip = rows
    return Boxes(top, left, height, width, flip.bool())


def draw_boxes(sizes: Tensor, scale: float, ratio: float, draw: torch.Generator) -> Boxes:
    """Crops of images of `sizes` (B, 2: height, width), distributed as torchvision draws them.

    Area share uniform in [scale, 1], aspect log-uniform in [1/ratio, ratio], position uniform,
    flip in half of all images. [seen: InfLoRA, CODA, PILOT use torchvision's transform]
    """
    count = len(sizes)
    u = torch.rand(count, 2 * ATTEMPTS + 3, generator=draw, dtype=torch.float64)
    height, width = sizes[:, 0].double(), sizes[:, 1].double()
    area = (height * width)[:, None] * (scale + (1 - scale) * u[:, :ATTEMPTS])
    log = torch.tensor(ratio, dtype=torch.float64).log()
    aspect = (log * (2 * u[:, ATTEMPTS : 2 * ATTEMPTS] - 1)).exp()
    w, h = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (w > 0) & (h > 0) & (w <= width[:, None]) & (h <= height[:, None])
    first = fits.int().argmax(1, keepdim=True)
    found = fits.any(1)
    # if no draw fits: the centre of the image, as large as the nearest allowed aspect permits
    whole_w = torch.minimum(width, (height * ratio).round())
    whole_h = torch.minimum(height, (width * ratio).round())
    w = torch.where(found, w.gather(1, first)[:, 0], whole_w)
    h = torch.where(found, h.gather(1, first)[:, 0], whole_h)
    place = torch.where(found[:, None], u[:, -3:-1], torch.full_like(u[:, -3:-1], 0.5))
    spare = torch.stack([height - h, width - w], 1)
    free = torch.where(found[:, None], (place * (spare + 1)).floor(), (place * spare).floor())
    top, left = free.long().unbind(1)
    return Boxes(top, left, h.long(), w.long(), u[:, -1] < 0.5)


def weights(start: Tensor, length: Tensor, full: int, out: int, flip: Tensor | None) -> Tensor:
    """Antialiased bilinear weights (B, out, full) for [start, start + length) of `full` pixels."""
    step = length.double()[:, None] / out
    place = torch.arange(out, dtype=torch.float64, device=start.device).expand(len(start), out)
    if flip is not None:
        place = torch.where(flip[:, None], out - 1 - place, place)
    # relative to the kernel's centre float32 is exact to 1e-5 of a pixel, far below a grey level
    centre = (start[:, None] + (place + 0.5) * step - 0.5).float()[:, :, None]
    pixel = torch.arange(full, dtype=torch.float32, device=start.device)
    outside = (pixel < start[:, None]) | (pixel >= (start + length)[:, None])
    value = (pixel - centre).abs_().div_(step.clamp_min(1).float()[:, :, None]).neg_().add_(1)
    value = value.clamp_min_(0).masked_fill_(outside[:, None], 0)
    return value.div_(value.sum(-1, keepdim=True))


def crop_resize(x: Tensor, boxes: Boxes, size: int) -> Tensor:
    """The crops of float images `x` (B, C, H, W), resized to (B, C, size, size).

    In float32 even under autocast (some methods make an extra pass inside it), because a product in
    half precision is coarser than a grey level. `boxes` and `x` must be on the same device.
    """
    count, channels, height, width = x.shape
    rows = weights(boxes.top, boxes.height, height, size, None)
    columns = weights(boxes.left, boxes.width, width, size, boxes.flip)
    with torch.autocast(x.device.type, enabled=False):
        across = torch.bmm(x.reshape(count, channels * height, width), columns.transpose(1, 2))
        across = across.view(count, channels, height, size).flatten(0, 1)
        rows = rows[:, None].expand(-1, channels, -1, -1).flatten(0, 1)
        return torch.bmm(rows, across).view(count, channels, size, size)
