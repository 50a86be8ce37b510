"""The frozen timm vision transformer of a run, and how pixels reach it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from janus.colours import IMAGENET, parse_colours
from janus.config import BackboneConfig
from janus.cuda import settle
from janus.errors import ConfigError
from janus.rng import key_number
from janus.weight_file import Model, Record, load
from janus.weights import weight_file


def build(config: BackboneConfig, device: torch.device) -> nn.Module:
    """The transformer in eval mode, every parameter frozen; `model(x)` gives features (B, D).

    As `build_recorded`, without the record.
    """
    return build_recorded(config, device)[0]


def build_recorded(config: BackboneConfig, device: torch.device) -> tuple[nn.Module, Record]:
    """(the transformer, how its weight file was mapped to it).

    The feature is the CLS token after the final LayerNorm. On a GPU the process computes repeatably
    from now on (see cuda.py). Raises DataError for weights that are missing, damaged, or of another
    architecture, and ConfigError for a model that timm cannot make.
    """
    settle(device)
    from janus.bf16 import choose_attention, keep_casts
    from janus.lean import leave_out

    path = weight_file(config)
    made = create(config)
    record = Record() if path is None else load(made, path)
    model = made.network.to(device).eval().requires_grad_(False)
    return leave_out(choose_attention(keep_casts(model))), record


def create(config: BackboneConfig) -> Model:
    """The untrained network; the same random weights each time. Raises ConfigError."""
    from janus.load_timm import create_unloaded

    kwargs: dict[str, Any] = dict(config.model_kwargs)
    kwargs |= {"img_size": config.image_size, "in_chans": config.channels, "num_classes": 0}
    with torch.random.fork_rng(devices=[]):
        # timm draws initial weights from the global generator: give it a private, fixed one
        torch.manual_seed(key_number("backbone", config.name) % 2**31)
        try:
            network, filter_fn = create_unloaded(config.model, kwargs)
        except (RuntimeError, TypeError, KeyError, ValueError, AssertionError) as error:
            raise ConfigError(
                f"backbone {config.name}: timm cannot make {config.model} with {kwargs}: {error}"
            ) from error
    patch = getattr(getattr(network, "patch_embed", None), "patch_size", (1, 1))[0]
    if config.image_size % patch:
        raise ConfigError(
            f"backbone.image_size={config.image_size} is no multiple of the patch size {patch}"
        )
    return Model(config.model, network, filter_fn)


def prepare(images: Tensor, config: BackboneConfig, device: torch.device) -> Tensor:
    """uint8 images (B, C, H, W) to the backbone's input: float, its size, channels, mean and std.

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
    """uint8 images on any device to floats in [0, 1] on `device`."""
    return images.to(device, non_blocking=True).float().div_(255.0)


def normalise(x: Tensor, config: BackboneConfig) -> Tensor:
    """Images (B, C, H, W) in [0, 1] with the backbone's channels, mean and std.

    In place where that is possible: fresh memory costs more than the arithmetic.
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
