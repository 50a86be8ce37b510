"""One training step: the only place where losses become gradients and gradients an update.

With `train.accumulate=N` a batch is passed in N parts, so that the activations of one part are in
memory at a time. The parts' gradients are added up before the method sees them: it updates,
rectifies and estimates once per step, as of the whole batch, and its step differs from that of the
whole batch by rounding only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from janus.data.stream import Batch
from janus.methods.base.method import Method
from janus.methods.base.whole_batch import WholeBatch


def take_step(method: Method, batch: Batch) -> Tensor:
    """Losses, gradients and update of one batch; the loss (a scalar without a graph).

    A term is a mean over images, or a function of the parameters alone: each part counts by its
    share of the images, and either kind adds up to its value on the whole batch. What is neither,
    a method prepares in `WholeBatch.begin_step`.
    """
    parts = split(batch, method.context.cell.train.accumulate)
    if len(parts) > 1 and isinstance(method, WholeBatch):
        with method.context.autocast():
            parts = method.begin_step(parts)
    zero = torch.zeros((), device=batch.images.device)
    whole = zero
    for part in parts:
        with method.context.autocast():
            loss = sum(method.loss(part).values(), zero)
        loss = loss * (len(part.labels) / len(batch.labels))
        loss.backward()  # type: ignore[no-untyped-call]
        whole = whole + loss.detach()
    method.update()
    return whole


def split(batch: Batch, count: int) -> list[Batch]:
    """The batch in `count` parts, whose sizes differ by one at most; no part is empty.

    Parts are views, in the order of the batch: augmentation was drawn for the batch.
    """
    count = min(count, len(batch.labels))
    if count == 1:
        return [batch]
    images, labels, domains = (
        x.tensor_split(count) for x in (batch.images, batch.labels, batch.domains)
    )
    queries = [None] * count if batch.queries is None else batch.queries.tensor_split(count)
    parts, start = [], 0
    for each in zip(images, labels, domains, queries, strict=True):
        parts.append(Batch(*each, start=start))
        start += len(each[1])
    return parts
