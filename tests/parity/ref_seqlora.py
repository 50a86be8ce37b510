"""SeqLoRA and joint LoRA: W = W0 + s B A on K and V, local cross-entropy, nothing protected."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from tests.parity.frame import DOMAINS, Case, Given, Trace, slow_but
from tests.parity.held import adapters
from tests.parity.plain import (
    Adam,
    Head,
    Schedule,
    Sgd,
    add_head,
    added,
    cosine,
    cosine_step,
    cross_entropy,
    dense,
    drop,
    features,
    new_adapters,
    tell_end,
    train,
)


def seqlora(
    given: Given,
    told: Trace,
    *,
    rate: float = 5e-4,
    head_rate: float = 5e-4,
    rank: int = 10,
    targets: str = "kv",
    scale: float = 1.0,
    carried: bool = True,
    sgd: bool = False,
    decay: float = 0.0,
    schedule: Schedule = cosine,
) -> None:
    """W_t = W0 + s B A; a fresh pair per task is added to what the earlier ones left."""
    merged = [torch.zeros(3 * given.width, given.width)] * given.depth
    pairs, heads = new_adapters(given, 0, targets, rank), list[Head]()

    def delta() -> list[Tensor]:
        return added(merged, dense(targets, pairs, scale))

    def loss(x: Tensor, y: Tensor, first: int) -> Tensor:
        weight, bias = heads[-1]
        return cross_entropy(features(given.weights, x, delta()) @ weight.mT + bias, y - first)

    for task in given.tasks:
        if task.index and not carried:
            merged = [d.detach() for d in delta()]
            pairs = new_adapters(given, task.index, targets, rank)
        add_head(heads, given, task)
        params = [(p, rate) for p in (*pairs[0], *pairs[1])] + [(p, head_rate) for p in heads[-1]]
        direction = Sgd() if sgd else Adam()
        train(task, told, params, partial(loss, first=task.first), direction, schedule, decay)
        told.tell(a=torch.stack(pairs[0]), b=torch.stack(pairs[1]))
        tell_end(told, given, task, delta(), heads)


CASES = [
    Case("seqlora", "seqlora", seqlora, adapters),
    Case(
        "seqlora, fresh adapters, q and k, scale 2",
        "seqlora",
        partial(seqlora, carried=False, targets="qk", scale=2.0, rank=4, rate=1e-3, decay=0.01),
        adapters,
        options={
            "method.lifetime": "task",
            "method.targets": "qk",
            "method.scale": 2.0,
            "method.rank": 4,
            "method.lr": 1e-3,
            "method.weight_decay": 0.01,
        },
    ),
    Case(
        "seqlora on domainnet",
        "seqlora",
        partial(seqlora, sgd=True, rank=30, rate=5e-3, head_rate=1e-2, schedule=drop(5)),
        adapters,
        bench="domainnet",
    ),
    Case(
        "seqlora on glyphs",
        "seqlora",
        partial(seqlora, rate=3e-4, head_rate=5e-3, schedule=cosine_step),
        adapters,
        bench="glyphs",
    ),
    Case("seqlora, one epoch", "seqlora", seqlora, adapters, options={"train.epochs": 1}),
    Case("seqlora on domains", "seqlora", seqlora, adapters, options=DOMAINS),
    Case("joint", "joint", seqlora, adapters),
]

CASES = slow_but(CASES, "seqlora")
