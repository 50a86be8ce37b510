"""Builds the frozen timm vision transformer (the backbone) of a run and loads its weights."""

from __future__ import annotations

import torch
from torch import nn

from janus.config.cell import BackboneConfig
from janus.machine.determinism import make_deterministic
from janus.machine.plain_timm import plain_timm
from janus.weights.fit import Record, load_weights
from janus.weights.model import create_network
from janus.weights.resolve import weight_file


def build_backbone(config: BackboneConfig, device: torch.device) -> nn.Module:
    """The transformer in eval mode with frozen parameters; `model(x)` returns features (B, D).

    Like `build_recorded`, without the record.
    """
    return build_recorded(config, device)[0]


def build_recorded(config: BackboneConfig, device: torch.device) -> tuple[nn.Module, Record]:
    """(the transformer, the record of how its weight file was mapped to it).

    The feature is the CLS token after the final LayerNorm. The network is timm's, changed for speed
    unless JANUS_PLAIN_TIMM=1 (see plain_timm.py). On a GPU this process computes
    deterministically from now on (see determinism.py). Raises DataError for weights that are
    missing, damaged, or of another architecture, and ConfigError for a model that timm cannot make.
    """
    make_deterministic(device)
    from janus.nn.cast_cache import hook_attention_kernel, keep_casts
    from janus.nn.cls_only_block import compute_cls_only

    path = weight_file(config)
    made = create_network(config)
    record = Record() if path is None else load_weights(made, path)
    model = made.network.to(device).eval().requires_grad_(False)
    if plain_timm():
        return model, record
    return compute_cls_only(hook_attention_kernel(keep_casts(model))), record
