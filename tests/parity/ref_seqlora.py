"""SeqLoRA and joint LoRA: W = W0 + s B A on K and V, local cross-entropy, nothing protected."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from janus.rng import generator
from tests.parity.frame import Case, Given, Trace
from tests.parity.held import adapters
from tests.parity.plain import (
    Adam,
    Schedule,
    Sgd,
    cosine,
    cross_entropy,
    drop,
    features,
    on_thirds,
    train,
    uniform,
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
    """W_t = W0 + s B A; A uniform in +-1 / sqrt(D), B = 0; heads uniform in +-1 / sqrt(D)."""
    width, bound = given.width, given.width**-0.5
    heads: list[tuple[Tensor, Tensor]] = []
    merged = [torch.zeros(3 * width, width) for _ in range(given.depth)]
    a = b = []

    def delta() -> list[Tensor]:
        return [
            m + scale * on_thirds(targets, [v @ u for u, v in zip(x, y, strict=True)])
            for m, x, y in zip(merged, a, b, strict=True)
        ]

    for task in given.tasks:
        if task.index == 0 or not carried:
            if task.index:
                merged = [d.detach() for d in delta()]
            shape = (len(targets), rank, width)
            keys = [("lora-a", *given.key, task.index, i) for i in range(given.depth)]
            a = [uniform(shape, bound, generator(*key)).requires_grad_() for key in keys]
            b = [torch.zeros(len(targets), width, rank, requires_grad=True) for _ in keys]
        draw = generator("head", *given.key, task.index)
        weight = uniform((task.classes, width), bound, draw).requires_grad_()
        bias = uniform((task.classes,), bound, draw).requires_grad_()
        heads.append((weight, bias))

        def loss(x: Tensor, y: Tensor, task: Any = task) -> Tensor:
            weight, bias = heads[-1]
            z = features(given.weights, x, delta()) @ weight.mT + bias
            return cross_entropy(z, y - task.first)

        params = [(p, rate) for p in (*a, *b)] + [(weight, head_rate), (bias, head_rate)]
        train(task, told, params, loss, Sgd() if sgd else Adam(), schedule, decay)
        told.tell(a=torch.stack(a), b=torch.stack(b), head=weight, bias=bias)
        with torch.no_grad():
            f = features(given.weights, task.tests, delta())
            told.tell(logits=torch.cat([f @ w.mT + c for w, c in heads], 1))
            told.tell(weights=torch.stack([d.detach() for d in delta()]))


CASES = [
    Case("seqlora", "seqlora", seqlora, adapters),
    Case(
        "seqlora, fresh adapters, q and k, scale 2",
        "seqlora",
        partial(seqlora, carried=False, targets="qk", scale=2.0, rank=4, rate=1e-3),
        adapters,
        options={
            "method.lifetime": "task",
            "method.targets": "qk",
            "method.scale": 2.0,
            "method.rank": 4,
            "method.lr": 1e-3,
        },
    ),
    Case(
        "seqlora on domainnet",
        "seqlora",
        partial(seqlora, sgd=True, rank=30, rate=5e-3, head_rate=1e-2, schedule=drop(5)),
        adapters,
        bench="domainnet",
    ),
]
