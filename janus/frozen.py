"""Features of a network that no longer changes: every image passes once, and once per store.

Where `Method.frozen_features` says so, features (D numbers) take the place of images in the
stream, and batches hold (B, D). Of the pretrained network they are kept beside the runs,

    features/ab/<key>.safetensors

the key being a hash of all that decides their bits, for every run of the store to map into its
memory. Images pass in file order, EVAL_BATCH at a time, whatever the order of the classes, so a
result is the same with an empty cache, a full one, or none. The folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from janus import checkpoint
from janus.config import CORE_REVISION, canonical
from janus.data.images import Images
from janus.data.tasks import Stream, Tick, plain_batches
from janus.errors import DataError, RunError
from janus.methods.base import Method
from janus.provenance import numerics

log = logging.getLogger(__name__)

_SEEN = ("name", "source", "scenario", "split", "eval", "stored_side")
_VIEW = ("test_crop", "test_interpolation")


@dataclass(frozen=True)
class FeatureCache:
    """Where the features of the pretrained network lie, and what they depend on."""

    folder: Path
    weights_sha256: str
    split_sha256: str


def pass_once(stream: Stream, method: Method, upto: int, cache: FeatureCache) -> Stream:
    """`stream` with features in place of images, as far as `method` allows now.

    Of the pretrained network: all test images, and all training images unless training augments
    them. Of one that the method adapted: the test images of tasks 0..upto, which nobody else can
    use.
    """
    if method.frozen_features == "adapted":
        return replace(stream, tests=_adapted(stream.tests, upto, method, stream.tick))
    if method.frozen_features is None or stream.tests[0].is_features:
        return stream
    tests = _pretrained(stream.tests, "test", method, cache, stream.tick)
    if _augments(stream, method):
        return replace(stream, tests=tests)
    parts = [task.train for task in stream.tasks]
    trains = _pretrained(parts, "train", method, cache, stream.tick)
    tasks = [replace(task, train=part) for task, part in zip(stream.tasks, trains, strict=True)]
    return replace(stream, tests=tests, tasks=tuple(tasks))


def _augments(stream: Stream, method: Method) -> bool:
    """Whether any task trains on images that are not as the test transform has them."""
    augment = method.context.cell.bench.augment
    return augment != "none" and any(method.epochs(task) for task in stream.tasks)


def _adapted(
    tests: tuple[Images, ...], upto: int, method: Method, tick: Tick
) -> tuple[Images, ...]:
    """The first tests by their features; a task's images pass together, whenever they do."""
    seen = tests[: upto + 1]
    if all(part.is_features for part in seen):
        return tests
    found = [p.pixels if p.is_features else _compute(p, method, tick) for p in seen]
    places = torch.arange(sum(map(len, seen))).split([len(part) for part in seen])
    store = torch.cat(found)
    new = [replace(p, store=store, rows=rows) for p, rows in zip(seen, places, strict=True)]
    return (*new, *tests[len(new) :])


def _pretrained(
    parts: Sequence[Images],
    name: str,
    method: Method,
    cache: FeatureCache,
    tick: Tick,
) -> tuple[Images, ...]:
    """`parts` of one store as the same images by their features."""
    rows = torch.cat([part.where() for part in parts]).sort().values
    record = _record(rows, name, method, cache)
    key = hashlib.sha256(canonical(record).encode()).hexdigest()
    path = cache.folder / key[:2] / f"{key}.safetensors"
    features = _stored(path, record, len(rows))
    if features is None:
        nothing = torch.zeros_like(rows)
        every = Images(parts[0].store, nothing, nothing, nothing, rows)
        features = _compute(every, method, tick)
        _keep(path, record, features)
    places = [torch.searchsorted(rows, part.where()) for part in parts]
    return tuple(replace(p, store=features, rows=at) for p, at in zip(parts, places, strict=True))


@torch.no_grad()
def _compute(images: Images, method: Method, tick: Tick) -> Tensor:
    """(N, D) on the CPU."""
    context, found = method.context, []
    for batch in plain_batches(images, context.cell, context.device, tick):
        with context.autocast():
            found.append(method.features(batch.images).cpu())
    return torch.cat(found)


def _record(rows: Tensor, name: str, method: Method, cache: FeatureCache) -> dict[str, Any]:
    """All that decides the bits of the features."""
    cell = method.context.cell
    return {
        "core": CORE_REVISION,
        "weights": cache.weights_sha256,
        "backbone": cell.backbone.identity(),
        "split_sha256": cache.split_sha256,
        "bench": {field: getattr(cell.bench, field) for field in (*_SEEN, *_VIEW)},
        "part": name,
        "rows": hashlib.sha256(rows.numpy().tobytes()).hexdigest(),
        "precision": cell.train.precision,
        "numerics": numerics(method.context.device),
    }


def _stored(path: Path, record: dict[str, Any], count: int) -> Tensor | None:
    """The features kept at `path`, mapped; None where there are none, or no sound ones."""
    if not path.exists():
        return None
    try:
        tree = checkpoint.read(path, mapped=True)
        features = tree["features"]
        sound = tree["record"] == record and isinstance(features, Tensor) and len(features) == count
    except (DataError, KeyError) as error:
        log.warning("%s; computing the features again", error)
        return None
    if not sound:
        log.warning("%s holds other features than its name says; computing them again", path)
    return features if sound else None


def _keep(path: Path, record: dict[str, Any], features: Tensor) -> None:
    """A cache may fail, a run may not."""
    try:
        checkpoint.write(path, {"record": record, "features": features})
    except (OSError, RunError) as error:
        log.warning("features are not kept for other runs: %s", error)
