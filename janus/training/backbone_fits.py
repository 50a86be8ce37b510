"""Whether a method works on a backbone, found out before anything is trained.

Methods reach into timm's plain ViT: a fused `attn.qkv`, `norm2` and `mlp` in every block, tokens
that attention takes as they come. Other networks of timm (BEiT, EVA-02, DINOv3, Swin, ...) differ
in ways that only a pass shows, so on these one training step on a few images is tried first.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import torch

from janus.config.cell import Cell
from janus.data.stream import Stream, tasks_of
from janus.errors import ConfigError, JanusError
from janus.methods import make_method
from janus.methods.base.method import Context
from janus.methods.base.precomputable import predict_batch
from janus.nn.vit import build_backbone
from janus.training.step import take_step

PLAIN = ("timm.models.vision_transformer", "timm.models.deit")
"""Modules of timm whose networks have the layout that methods expect."""

IMAGES = 8
"""Images of the step that is tried."""


def is_plain(model: str) -> bool:
    """Whether timm builds `model` (a full name, tag or none) as its plain vision transformer."""
    from janus.machine.import_timm import timm

    name = model.split(":")[-1].partition(".")[0]
    known = timm.models.is_model(name)
    return known and timm.models.model_entrypoint(name).__module__ in PLAIN


def refuse_misfit(cell: Cell, stream: Stream, device: torch.device) -> None:
    """Raise ConfigError when the cell's method cannot run on its backbone."""
    if is_plain(cell.backbone.model):
        return
    try:
        _try_one_step(cell, stream, device)
    except JanusError:
        raise
    except (AttributeError, TypeError, IndexError, KeyError, ValueError, RuntimeError) as error:
        if "out of memory" in str(error).lower():
            raise
        reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else ""
        raise ConfigError(
            f"method {cell.method.name} does not work on backbone.model={cell.backbone.model} "
            f"({type(error).__name__}: {reason}). Choose a plain ViT of timm (vit_*, deit_*); "
            "docs/backbones.md says what works with what"
        ) from error


def _try_one_step(cell: Cell, stream: Stream, device: torch.device) -> None:
    """One task of few images on a network of its own: begin, a step, end, a prediction."""
    method = make_method(Context(cell, build_backbone(cell.backbone, device), device))
    whole = tasks_of(stream, method.joint)[0]
    few = torch.arange(min(IMAGES, len(whole.train)))
    task = replace(whole, train=whole.train.take(few))
    method.begin_task(task)
    if method.epochs(task):
        for batch in islice(task.train_batches(0), 1):
            take_step(method, batch)
    method.end_task(task)
    with torch.no_grad():
        predict_batch(method, next(task.plain_batches()))
