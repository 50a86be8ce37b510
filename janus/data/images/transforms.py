"""The train and test transforms of a bench: from stored images to the backbone's input.

Images of one size are cropped and resized as whole batches on the device; images of different sizes
are cropped and resized by worker threads while they are read. Values are in [0, 1] before the
backbone's mean and std are applied, which by default change nothing, as in this literature.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from janus.config.cell import Cell
from janus.data.images.augment import augment
from janus.data.images.images import Images
from janus.data.images.pixels import normalise, to_input, to_unit
from janus.data.images.resample import crop_resize, draw_boxes, unpacked
from janus.data.images.varied_size import VariedSizeImages, centre, shorter_side


def train_view(images: Images, cell: Cell, device: torch.device, draw: torch.Generator) -> Tensor:
    """Augmented float images (B, C, S, S), ready for the backbone; `draw` is the generator."""
    bench, size = cell.bench, cell.backbone.image_size
    if bench.augment != "crop":
        return augment(bench.augment, plain_view(images, cell, device), draw)
    rows = images.where()
    if isinstance(images.store, VariedSizeImages):
        boxes = draw_boxes(images.store.sizes(rows), bench.crop_scale, bench.crop_ratio, draw)
        x = to_unit(to_device(images.store.crops(rows, boxes, size), device), device)
    else:
        pixels = images.pixels
        sizes = torch.tensor(pixels.shape[-2:]).expand(len(images), 2)
        boxes = draw_boxes(sizes, bench.crop_scale, bench.crop_ratio, draw)
        places = unpacked(to_device(boxes.packed(), device))
        x = crop_resize(to_unit(to_device(pixels, device), device), places, size)
    return normalise(x, cell.backbone)


def plain_view(images: Images, cell: Cell, device: torch.device) -> Tensor:
    """Float images (B, C, S, S) after the test transform: resize, centre crop, normalise.

    Precomputed features (B, D) are returned unchanged.
    """
    bench, size = cell.bench, cell.backbone.image_size
    side = round(size / bench.test_crop)
    kernel = bench.test_interpolation
    if isinstance(images.store, VariedSizeImages):
        found = images.store.centres(images.where(), size, side, kernel)
        return normalise(to_unit(to_device(found, device), device), cell.backbone)
    pixels = to_device(images.pixels, device)
    if images.is_features:
        return pixels
    if side == size and kernel == "bilinear":
        return to_input(pixels, cell.backbone, device)
    x = to_unit(pixels, device)
    height, width = shorter_side(x.shape[-2], x.shape[-1], side)
    for shape in ((x.shape[-2], width), (height, width)):  # like Pillow: width first
        if x.shape[-2:] != shape:
            x = functional.interpolate(x, shape, mode=kernel, antialias=True, align_corners=False)
            x = x.mul_(255).round_().clamp_(0, 255).div_(255)  # the cubic kernel overshoots
    return normalise(centre(x, size), cell.backbone)


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Copy `values` to the device without waiting, from page-locked memory for a GPU.

    A copy from ordinary memory would wait until the GPU has finished all queued work.
    """
    pinned = values.pin_memory() if device.type == "cuda" else values
    return pinned.to(device, non_blocking=True)
