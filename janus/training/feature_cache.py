"""Features of the pretrained network, kept beside the runs: an image passes once a store.

    features/ab/<key>.safetensors

The key is a hash of all that decides their bits, for every run of the store to map into its memory.
Images pass in file order, EVAL_BATCH at a time, whatever the order of the classes, so a result is
the same with an empty cache, a full one, or none. The folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from janus.config.cell import CORE_REVISION, canonical
from janus.data.images.images import Images
from janus.data.stream import OnBatch, plain_batches
from janus.errors import DataError, RunError
from janus.machine.provenance import numerics
from janus.methods.base.method import Context
from janus.training import checkpoint

log = logging.getLogger(__name__)

_SEEN = ("name", "source", "scenario", "split", "eval", "stored_side")
_VIEW = ("test_crop", "test_interpolation")

Read = Callable[[Tensor], Tensor]
"""Features (B, D) of prepared images (B, C, H, W)."""


@dataclass(frozen=True)
class FeatureCache:
    """Where the features of the pretrained network lie, and what they depend on."""

    folder: Path
    weights_sha256: str
    split_sha256: str


def pretrained(
    parts: Sequence[Images],
    name: str,
    context: Context,
    network: Callable[[], Read],
    cache: FeatureCache,
    on_batch: OnBatch,
) -> tuple[Images, ...]:
    """`parts` of one split with features (N, D) in place of the images.

    name: which split they are of; network: the pretrained one, asked for where it has to compute.
    """
    rows = torch.cat([part.where() for part in parts]).sort().values
    record = _record(rows, name, context, cache)
    key = hashlib.sha256(canonical(record).encode()).hexdigest()
    path = cache.folder / key[:2] / f"{key}.safetensors"
    features = _stored(path, record, len(rows))
    if features is None:
        nothing = torch.zeros_like(rows)
        every = Images(parts[0].store, nothing, nothing, nothing, rows)
        features = compute_features(every, context, network(), on_batch)
        _keep(path, record, features)
    places = [torch.searchsorted(rows, part.where()) for part in parts]
    return tuple(replace(p, store=features, rows=at) for p, at in zip(parts, places, strict=True))


@torch.no_grad()
def compute_features(images: Images, context: Context, read: Read, on_batch: OnBatch) -> Tensor:
    """(N, D) on the CPU."""
    found = []
    for batch in plain_batches(images, context.cell, context.device, on_batch):
        with context.autocast():
            found.append(read(batch.images).cpu())
    return torch.cat(found)


def _record(rows: Tensor, name: str, context: Context, cache: FeatureCache) -> dict[str, Any]:
    """All that decides the bits of the features."""
    cell = context.cell
    return {
        "core": CORE_REVISION,
        "weights": cache.weights_sha256,
        "backbone": cell.backbone.identity(),
        "split_sha256": cache.split_sha256,
        "bench": {field: getattr(cell.bench, field) for field in (*_SEEN, *_VIEW)},
        "part": name,
        "rows": hashlib.sha256(rows.numpy().tobytes()).hexdigest(),
        "precision": cell.train.precision,
        "numerics": _of_the_pass(numerics(context.device), context.device),
    }


def _of_the_pass(record: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """The numerics that decide a forward pass: on a GPU, without the name of the CPU."""
    beside = ("threads", "cpu") if device.type == "cuda" else ()
    return {name: value for name, value in record.items() if name not in beside}


def _stored(path: Path, record: dict[str, Any], count: int) -> Tensor | None:
    """The features stored at `path`, memory-mapped; None if the file is missing or damaged."""
    try:
        if not path.exists():
            return None
        tree = checkpoint.read_tree(path, mapped=True)
        features = tree["features"]
        sound = tree["record"] == record and isinstance(features, Tensor) and len(features) == count
    except (DataError, KeyError, OSError) as error:
        log.warning("%s; computing the features again", error)
        return None
    if not sound:
        log.warning("%s holds other features than its name says; computing them again", path)
    return features if sound else None


def _keep(path: Path, record: dict[str, Any], features: Tensor) -> None:
    """Write the features to the cache. An error is logged only: the run goes on without a cache."""
    try:
        checkpoint.write_tree(path, {"record": record, "features": features})
    except (OSError, RunError) as error:
        log.warning("features are not kept for other runs: %s", error)
