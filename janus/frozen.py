"""What networks that never change say of images: an image passes once, not once an epoch or task.

In place of images, where `Method.frozen_features` says that a method reads nothing else of them:
batches hold features. Beside them, where `Method.queries` says that it also asks the pretrained
network: batches hold both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from janus.backbone import build
from janus.data.images import Images
from janus.data.tasks import Stream, Tick
from janus.features import FeatureCache, Read, compute, pretrained
from janus.methods.base import Method

MOST_BYTES = 2**31
"""Features of several networks that a run holds in memory; beyond, test images pass every time."""


def pass_once(stream: Stream, method: Method, upto: int, cache: FeatureCache) -> Stream:
    """`stream` with features in place of images or beside them, as far as `method` allows now.

    Of the pretrained network: all test images, and all training images unless training augments
    them. Of those that the method made: the test images of tasks 0..upto, which nobody else can
    use.
    """
    kind = method.frozen_features
    if kind == "adapted":
        return replace(stream, tests=_adapted(stream.tests, upto, method, stream.tick))
    if kind == "side by side":
        return replace(stream, tests=_side_by_side(stream.tests, upto, method, stream.tick))
    if kind is None and not method.queries:
        return stream
    if stream.tests[0].is_features or stream.tests[0].queries is not None:
        return stream

    def network() -> Read:
        # prompts and adapters stand in the method's own, which leaves out less of the last block
        context = method.context
        return build(context.cell.backbone, context.device) if method.queries else method.features

    def seen(parts: Sequence[Images], name: str) -> tuple[Images, ...]:
        found = pretrained(parts, name, method.context, network, cache, stream.tick)
        if kind is not None:
            return found
        return tuple(replace(p, queries=q) for p, q in zip(parts, found, strict=True))

    tests = seen(stream.tests, "test")
    if _augments(stream, method):
        return replace(stream, tests=tests)
    trains = seen([task.train for task in stream.tasks], "train")
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
    read = partial(compute, context=method.context, read=method.features, tick=tick)
    found = [part.pixels if part.is_features else read(part) for part in seen]
    return (*_stored_together(seen, found), *tests[len(seen) :])


def _side_by_side(
    tests: tuple[Images, ...], upto: int, method: Method, tick: Tick
) -> tuple[Images, ...]:
    """The first tests by the features of all finished networks, those that are new computed."""
    width, seen = method.context.width, tests[: upto + 1]
    if 4 * width * method.context.cell.bench.tasks * sum(map(len, tests)) > MOST_BYTES:
        return tests
    found, changed = [], False
    for part in seen:
        done = part.pixels.shape[1] // width if part.is_features else 0
        images = part.origin or part
        new = [
            compute(images, method.context, partial(method.feature_of, network=k), tick)
            for k in range(done, method.finished_networks)
        ]
        found.append(torch.cat([part.pixels, *new] if done else new, dim=1) if new else part.pixels)
        changed |= bool(new)
    if not changed:
        return tests
    return (*_stored_together(seen, found), *tests[len(seen) :])


def _stored_together(parts: Sequence[Images], features: Sequence[Tensor]) -> list[Images]:
    """The parts by their features (n, ...), in one store."""
    places = torch.arange(sum(map(len, parts))).split([len(part) for part in parts])
    store = torch.cat(list(features))
    return [
        replace(p, store=store, rows=rows, origin=p.origin or p)
        for p, rows in zip(parts, places, strict=True)
    ]
