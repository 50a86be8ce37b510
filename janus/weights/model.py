"""Creates a timm model without loading weights into it."""

from __future__ import annotations

from typing import Any

import torch

from janus.config.cell import BackboneConfig
from janus.errors import ConfigError
from janus.keyed_random import key_number
from janus.weights.fit import Model


def create_network(config: BackboneConfig) -> Model:
    """The untrained network, with the same random weights each time. Raises ConfigError."""
    from janus.machine.import_timm import create_unloaded

    kwargs: dict[str, Any] = dict(config.model_kwargs)
    kwargs |= {"img_size": config.image_size, "in_chans": config.channels, "num_classes": 0}
    with torch.random.fork_rng(devices=[]):
        # timm draws initial weights from the global generator: replace it by a fixed, private state
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
