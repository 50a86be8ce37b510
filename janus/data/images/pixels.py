"""Converts uint8 images to the backbone's input: floats of its size, channels, mean and std."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from janus.config.cell import BackboneConfig
from janus.config.colours import IMAGENET, parse_colours


def to_input(images: Tensor, config: BackboneConfig, device: torch.device) -> Tensor:
    """uint8 images (B, C, H, W) as float input of the backbone: resized and normalised.

    Resizing is bilinear with antialiasing, on the device.
    """
    x = to_unit(images, device)
    size = config.image_size
    if x.shape[-2:] != (size, size):
        x = nn.functional.interpolate(
            x, (size, size), mode="bilinear", antialias=True, align_corners=False
        )
    return normalise(x, config)


def to_unit(images: Tensor, device: torch.device) -> Tensor:
    """uint8 images as floats in [0, 1] on `device`."""
    return images.to(device, non_blocking=True).float().div_(255.0)


def normalise(x: Tensor, config: BackboneConfig) -> Tensor:
    """Images (B, C, H, W) in [0, 1], converted to the backbone's channels, mean and std.

    In place if possible, because new memory costs more time than the arithmetic.
    """
    if x.shape[1] != config.channels:
        x = x.repeat(1, config.channels, 1, 1) if x.shape[1] == 1 else x.mean(1, keepdim=True)
    colours = IMAGENET if config.imagenet_stats else None
    if config.colour_stats is not None:
        colours = parse_colours(config.colour_stats)
    if colours is not None:
        for channel, (mean, std) in enumerate(colours):
            x[:, channel].sub_(mean).div_(std)
        return x
    if config.mean:
        x = x.sub_(config.mean)
    return x.div_(config.std) if config.std != 1 else x
