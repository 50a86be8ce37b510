"""SLCA: the whole network slowly, then its heads aligned on class Gaussians, from the formulas."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from janus.keyed_random import generator
from tests.parity.frame import DOMAINS, Case, Data, Given, Trace
from tests.parity.held import newest_head
from tests.parity.plain import (
    Head,
    Schedule,
    Sgd,
    cosine_step,
    cross_entropy,
    drop,
    features,
    scores,
    small_head,
    train,
)

Gaussian = tuple[Tensor, Tensor, int, int]
"""Mean (D,), Cholesky factor of the covariance (D, D), task, class."""


def gaussian(f: Tensor, task: int, label: int) -> Gaussian:
    """Of features (N, D): sum (f - mean)(f - mean)^T / (N - 1) + 1e-4 I."""
    far = f - f.mean(0)
    spread = far.mT @ far / (len(f) - 1) + 1e-4 * torch.eye(f.shape[1])
    return f.mean(0), torch.linalg.cholesky(spread), task, label


def moved(w: Mapping[str, Tensor], given: Given) -> Tensor:
    """What all weights differ by from their start, in one row."""
    return torch.cat([(w[name] - value).flatten() for name, value in given.weights.items()])


def align(
    given: Given,
    heads: list[Head],
    classes: list[Gaussian],
    now: int,
    *,
    epochs: int = 5,
    draws: int = 256,
    step: float = 0.01,
    shrink: float = 5e-4,
    norm: float = 0.1,
) -> list[Head]:
    """Heads after SGD on draws around mu_c (0.9 + 0.1 (t_c + 1) / (now + 1)).

    z <- z / (mean over heads of |z_t| + 1e-7) / norm; `step` falls along a half cosine; shrink:
    weight decay.
    """
    made = [(w.detach().clone(), b.detach().clone()) for w, b in heads]
    flat = [p.requires_grad_() for head in made for p in head]
    direction = Sgd()
    for epoch in range(epochs):
        key = (*given.key, now, epoch)
        points = []
        for c, (mean, root, t, _) in enumerate(classes):
            noise = torch.randn(draws, len(mean), generator=generator("align", *key, c))
            points.append((0.9 + 0.1 * (t + 1) / (now + 1)) * mean + noise @ root.mT)
        x = torch.cat(points)
        y = torch.tensor([label for *_, label in classes]).repeat_interleave(draws)
        mixed = torch.randperm(len(x), generator=generator("align-order", *key))
        for s in range(len(classes)):
            rows = mixed[s * draws : (s + 1) * draws]
            parts = [x[rows] @ w.mT + b for w, b in made]
            lengths = torch.stack([z.square().sum(1).sqrt() + 1e-7 for z in parts]).mean(0)
            z = torch.cat(parts, 1)
            z = z / lengths[:, None] / norm if norm else z
            grads = torch.autograd.grad(cross_entropy(z, y[rows]), flat)
            rate = step * (1 + math.cos(math.pi * epoch / epochs)) / 2
            with torch.no_grad():
                for i, (p, g) in enumerate(zip(flat, grads, strict=True)):
                    p -= rate * direction(i, g + shrink * p)
    return made


def slca(
    given: Given,
    told: Trace,
    *,
    rate: float = 1e-4,
    head_rate: float = 0.01,
    decay: float = 5e-4,
    schedule: Schedule,
    restarts: bool = True,
    **alignment: Any,
) -> None:
    """Cross-entropy of the newest head trains network and head; heads start N(0, 0.02), bias 0.

    restarts: the next task goes on from the heads before alignment.
    """
    w = {name: value.clone().requires_grad_() for name, value in given.weights.items()}
    heads: list[Head] = []
    classes: list[Gaussian] = []
    for task in given.tasks:
        if task.fresh:
            heads.append(small_head(given, task))
        head = tuple(p.detach().requires_grad_() for p in heads.pop())
        heads.append(head)

        def loss(x: Tensor, y: Tensor, task: Data = task, head: Head = head) -> Tensor:
            return cross_entropy(scores(features(w, x), [head]), y - task.first)

        params = [(p, rate) for p in w.values()] + [(p, head_rate) for p in head]
        train(task, told, params, loss, Sgd(), schedule, decay)
        told.tell(network=moved(w, given), head=head[0], bias=head[1])
        with torch.no_grad():
            f = torch.cat([features(w, x) for x, _ in task.plain])
        y = torch.cat([y for _, y in task.plain])
        classes += [gaussian(f[y == c], task.index, c) for c in range(task.first, task.seen)]
        aligned = align(given, heads, classes, task.index, **alignment) if task.index else heads
        heads = heads if restarts else aligned
        told.tell(
            means=torch.stack([mean for mean, *_ in classes]),
            covariances=torch.stack([root @ root.mT for _, root, *_ in classes]),
            aligned=torch.cat([part for part, _ in aligned]),
            aligned_bias=torch.cat([part for _, part in aligned]),
        )
        with torch.no_grad():
            told.tell(logits=scores(features(w, task.tests), aligned))


# ---- what the product holds ----------------------------------------------------------------------
def network_of(method: Any, given: Given) -> dict[str, Tensor]:
    """The change of all weights, and the newest head."""
    return newest_head(method, given) | {"network": moved(method.state_dict()["backbone"], given)}


def aligned_of(method: Any, given: Given) -> dict[str, Tensor]:
    """Gaussians, and the heads as they classify."""
    state = method.state_dict()
    found = state["aligner"]["gaussians"]
    return {
        "means": found["means"],
        "covariances": found["roots"] @ found["roots"].mT,
        "aligned": state["heads"]["weight"],
        "aligned_bias": state["heads"]["bias"],
    }


def case(name: str, bench: str = "cifar100", options: dict[str, Any] | None = None, **plan: Any):
    """SLCA over 10 epochs."""
    more = {"train.epochs": 10, **(options or {})}
    return Case(name, "slca", partial(slca, **plan), network_of, aligned_of, more, bench, slow=True)


CASES = [
    case("slca", schedule=drop(9)),
    case(
        "slca on imagenet_r, heads as they are aligned, no norm",
        "imagenet_r",
        {
            "train.epochs": 5,
            "method.align_restarts": False,
            "method.logit_norm": 0.0,
            "method.align_epochs": 3,
            "method.align_samples": 20,
            "method.align_lr": 0.02,
            "method.align_decay": 0.01,
        },
        schedule=drop(4),
        restarts=False,
        norm=0.0,
        epochs=3,
        draws=20,
        step=0.02,
        shrink=0.01,
    ),
    case("slca on domains", options=DOMAINS, schedule=drop(3)),
    case("slca on glyphs", "glyphs", {"train.epochs": 4}, schedule=cosine_step),
]
