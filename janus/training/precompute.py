"""Precomputes features of networks that never change: an image is forwarded once, not every epoch.

Batches of a method with `FixedFeatures` hold features in place of images; batches of a method that
`AsksPretrained` hold images, and the pretrained network's features beside them as queries
(janus/methods/base/precomputable.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial

import torch
from torch import Tensor

from janus.data.images.images import Images
from janus.data.stream import Stream
from janus.methods.base.method import Method
from janus.methods.base.precomputable import SideBySide, asks_pretrained, frozen_features
from janus.nn.vit import build_backbone
from janus.training.feature_cache import FeatureCache, Read, compute_features, pretrained

MOST_BYTES = 2**30
"""Features of several networks that a run holds, and twice as much while it adds to them; where
there would be more, test images pass every time."""


def pass_once(stream: Stream, method: Method, ended: int | None, cache: FeatureCache) -> Stream:
    """`stream` with features in place of images or beside them, as far as `method` allows now.

    ended: the task that has just ended; None: what follows is training. Of the pretrained network:
    all test images, and all training images unless training augments them. Of networks that the
    method made: the test images of the tasks so far, which nobody else can use.
    """
    network = frozen_features(method)
    if network == "pretrained" or asks_pretrained(method):
        return _pretrained(stream, method, cache)
    if ended is None or network is None:
        return stream
    seen = stream.tests[: ended + 1]
    if isinstance(method, SideBySide):
        found = _side_by_side(stream, seen, method)
    else:
        found = _adapted(stream, seen, method)
    return replace(stream, tests=(*found, *stream.tests[len(seen) :]))


def _pretrained(stream: Stream, method: Method, cache: FeatureCache) -> Stream:
    """In place of images, or beside them as `queries`."""
    beside = asks_pretrained(method)
    if stream.tests[0].is_features or stream.tests[0].queries is not None:
        return stream

    @lru_cache(maxsize=1)
    def network() -> Read:
        # prompts and adapters stand in the method's own, which leaves out less of the last block
        context = method.context
        return build_backbone(context.cell.backbone, context.device) if beside else method.features

    def known(parts: Sequence[Images], name: str) -> tuple[Images, ...]:
        found = pretrained(parts, name, method.context, network, cache, stream.on_batch)
        if not beside:
            return found
        return tuple(replace(p, queries=q) for p, q in zip(parts, found, strict=True))

    tests = known(stream.tests, "test")
    if _augments(stream, method):
        return replace(stream, tests=tests)
    trains = known([task.train for task in stream.tasks], "train")
    tasks = [replace(task, train=part) for task, part in zip(stream.tasks, trains, strict=True)]
    return replace(stream, tests=tests, tasks=tuple(tasks))


def _augments(stream: Stream, method: Method) -> bool:
    """Whether any task augments its training images: then features cannot be precomputed."""
    augment = method.context.cell.bench.augment
    return augment != "none" and any(method.epochs(task) for task in stream.tasks)


def _adapted(stream: Stream, seen: Sequence[Images], method: Method) -> Sequence[Images]:
    """The test images of the tasks so far, replaced by features of the network that this run
    trained.
    """
    if all(part.is_features for part in seen):
        return seen
    read = partial(
        compute_features, context=method.context, read=method.features, on_batch=stream.on_batch
    )
    return _together(seen, [part.pixels if part.is_features else read(part) for part in seen])


def _side_by_side(stream: Stream, seen: Sequence[Images], method: SideBySide) -> Sequence[Images]:
    """The images, replaced by the features of all finished networks side by side; only those of new
    networks are computed.
    """
    width, count = method.context.width, method.finished_networks
    images = sum(len(part) for part in stream.tests)
    if 4 * images * width * method.context.cell.bench.tasks > MOST_BYTES:
        return seen
    found = []
    for part in seen:
        done = part.pixels.shape[1] // width if part.is_features else 0

        def read(images: Tensor, done: int = done) -> Tensor:
            return torch.cat([method.features_under(images, k) for k in range(done, count)], dim=-1)

        new = compute_features(part.origin or part, method.context, read, stream.on_batch)
        found.append(torch.cat([part.pixels, new], dim=1) if done else new)
    return _together(seen, found)


def _together(parts: Sequence[Images], features: Sequence[Tensor]) -> Sequence[Images]:
    """The parts with the features (n, ...) in place of their images, all in one tensor."""
    places = torch.arange(sum(map(len, parts))).split([len(part) for part in parts])
    store = torch.cat(list(features))
    return [
        replace(p, store=store, rows=rows, origin=p.origin or p)
        for p, rows in zip(parts, places, strict=True)
    ]
