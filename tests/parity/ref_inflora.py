"""InfLoRA, its five-block variant, and InfLoRA with classifier alignment."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from janus.keyed_random import generator
from tests.parity.frame import DOMAINS, Case, Data, Given, Trace, slow_but
from tests.parity.held import Watch, both, change, newest_head, protected
from tests.parity.plain import (
    Adam,
    Head,
    Schedule,
    Sgd,
    add_head,
    added,
    class_features,
    classes_of,
    cosine,
    cosine_half,
    cross_entropy,
    dense,
    drop,
    features,
    scores,
    train,
)
from tests.parity.subspaces import grown, second_moments, threshold

Gaussian = tuple[Tensor, Tensor, int, Tensor]
"""Mean (D,), covariance (D, D), task and class."""


@dataclass(frozen=True)
class Plan:
    """The values of one published run."""

    rank: int = 10
    rate: float = 5e-4
    head_rate: float = 5e-4
    decay: float = 0.0
    energy: float = 0.95
    blocks: int = 0
    sgd: bool = False
    schedule: Schedule = cosine
    align: bool = False
    fresh_norm: bool = False
    draws: int = 256
    align_epochs: int = 5
    logit_norm: float = 0.1
    restarts: bool = False


def inflora(given: Given, told: Trace, plan: Plan) -> None:
    """A_t: leading left singular vectors of (I - V V^T) C, over sqrt 3; only B_t is trained."""
    w, width = dict(given.weights), given.width
    if plan.fresh_norm:  # torch's own LayerNorm, whose eps is not timm's
        fresh = {"weight": torch.ones(width), "bias": torch.zeros(width), "eps": torch.tensor(1e-5)}
        w |= {f"norm.{name}": value for name, value in fresh.items()}
    depth = plan.blocks or given.depth
    v = [torch.zeros(width, 0) for _ in range(depth)]
    merged = [torch.zeros(3 * width, width)] * depth
    heads: list[Head] = []
    gaussians: list[Gaussian] = []
    for task in given.tasks:
        moments = second_moments(w, task.extra[0], merged)[:depth]
        a = []
        for c, basis in zip(moments, v, strict=True):
            u, _, _ = torch.linalg.svd(c - basis @ basis.mT @ c)
            a.append(u[:, : plan.rank].mT.expand(2, -1, -1) / math.sqrt(3))
        b = [torch.zeros(2, width, plan.rank, requires_grad=True) for _ in a]
        add_head(heads, given, task)
        delta = partial(_with_task, merged, a, b)
        loss = partial(_loss, w, delta, heads[-1], task.first)
        params = [(x, plan.rate) for x in b] + [(x, plan.head_rate) for x in heads[-1]]
        direction = Sgd() if plan.sgd else Adam()
        train(task, told, params, loss, direction, plan.schedule, plan.decay)
        merged = [d.detach() for d in delta()]
        told.tell(
            gram=torch.stack([x.mT @ x for x in a]),
            weights=torch.stack(merged),
            head=heads[-1][0],
            bias=heads[-1][1],
        )
        tau = threshold(plan.energy, task.index, task.count)
        moments = second_moments(w, task.extra[1], merged)[:depth]
        v = [grown(x, c, tau, one_sided=True) for x, c in zip(v, moments, strict=True)]
        told.tell(
            protected=torch.stack([x @ x.mT for x in v]),
            sizes=torch.tensor([x.shape[1] for x in v]),
        )
        answering = heads
        if plan.align:
            for c, f in zip(classes_of(task), class_features(w, task, merged), strict=True):
                spread = (f - f.mean(0)).mT @ (f - f.mean(0)) / (len(f) - 1)
                gaussians.append((f.mean(0), spread + 1e-4 * torch.eye(width), task.index, c))
            told.tell(means=torch.stack([m for m, *_ in gaussians]))
            told.tell(spreads=torch.stack([s for _, s, *_ in gaussians]))
            if task.index:
                answering = aligned(given, task, heads, gaussians, plan)
            told.tell(aligned=torch.cat([x for x, _ in answering]))
            heads = heads if plan.restarts else answering
        with torch.no_grad():
            told.tell(logits=scores(features(w, task.tests, merged), answering))


def _with_task(merged: list[Tensor], a: list[Tensor], b: list[Tensor]) -> list[Tensor]:
    return added(merged, dense("kv", (a, b)))


def _loss(w: Any, delta: Any, head: Head, first: int, x: Tensor, y: Tensor) -> Tensor:
    return cross_entropy(features(w, x, delta()) @ head[0].mT + head[1], y - first)


def aligned(
    given: Given,
    task: Data,
    heads: list[Head],
    gaussians: list[Gaussian],
    plan: Plan,
) -> list[Head]:
    """All heads, trained on draws of N(m (0.9 + 0.1 (t_c + 1) / (t + 1)), S) of every class.

    SGD of momentum 0.9 and decay 5e-4, rate 0.01 (1 + cos(pi e / E)) / 2; logits are divided by
    the mean over heads of each head's norm, and by `logit_norm`.
    """
    found = [tuple(x.detach().clone().requires_grad_() for x in head) for head in heads]
    params, momentum = [x for head in found for x in head], Sgd()
    for epoch in range(plan.align_epochs):
        key, xs = (*given.key, task.index, epoch), []
        for entry, (mean, spread, born, _) in enumerate(gaussians):
            draw = generator("align", *key, entry)
            noise = torch.randn(plan.draws, len(mean), generator=draw)
            share = 0.9 + 0.1 * (born + 1) / (task.index + 1)
            xs.append(share * mean + noise @ torch.linalg.cholesky(spread).mT)
        x, y = torch.cat(xs), torch.stack([c for *_, c in gaussians]).repeat_interleave(plan.draws)
        order = torch.randperm(len(y), generator=generator("align-order", *key))
        rate = 0.01 * (1 + math.cos(math.pi * epoch / plan.align_epochs)) / 2
        for part in order.split(plan.draws):
            each = [x[part] @ weight.mT + bias for weight, bias in found]
            z = torch.cat(each, 1)
            if plan.logit_norm:
                norms = torch.stack([(e.square().sum(1).sqrt() + 1e-7) for e in each])
                z = z / norms.mean(0)[:, None] / plan.logit_norm
            grads = torch.autograd.grad(cross_entropy(z, y[part]), params)
            with torch.no_grad():
                for i, (p, g) in enumerate(zip(params, grads, strict=True)):
                    p -= rate * momentum(i, g + 5e-4 * p)
    return found


def trained(method: Any, given: Given) -> dict[str, Tensor]:
    """A^T A of K and V, which no sign of a row changes, and what the network differs by."""
    a = torch.stack([x.a for x in method.layers])
    weights = torch.stack([change(x, given) for x in method.layers])
    return newest_head(method, given) | {"gram": a.mT @ a, "weights": weights}


def gaussians_and_heads(method: Any, given: Given) -> dict[str, Tensor]:
    """The class Gaussians, and all heads as they answer."""
    kept = method.aligner.gaussians
    return {
        "means": kept.means,
        "spreads": kept.roots @ kept.roots.mT,
        "aligned": torch.cat([head.weight for head in method.heads.parts]),
    }


def case(name: str, method: str, plan: Plan, bench: str = "cifar100", **options: Any) -> Case:
    """Options are overrides, dots written as double underscores."""
    kept: Watch = both(protected, gaussians_and_heads if plan.align else None)
    named = {key.replace("__", "."): value for key, value in options.items()}
    return Case(name, method, partial(inflora, plan=plan), trained, kept, named, bench)


ON_DOMAINS = {key.replace(".", "__"): value for key, value in DOMAINS.items()}
DEEP = {"patch_size": 8, "embed_dim": 48, "depth": 6, "num_heads": 2}
CA = Plan(align=True, sgd=True, rate=1e-3, head_rate=1e-3, schedule=cosine_half)
DOMAINNET = Plan(rank=30, sgd=True, rate=5e-3, head_rate=1e-2, schedule=drop(5))

CASES = [
    case("inflora", "inflora", Plan()),
    case("inflora on imagenet_r", "inflora", Plan(energy=0.98), "imagenet_r"),
    case("inflora, more than half of the directions", "inflora", Plan(energy=0.995),
         method__subspace_energy=0.995),
    case("inflora on domainnet", "inflora", DOMAINNET, "domainnet"),
    case("inflora_b5", "inflora_b5", Plan(blocks=5, rate=1e-3, head_rate=1e-3),
         backbone__model_kwargs=DEEP, train__epochs=4),
    case("inflora_b5 on imagenet_r", "inflora_b5", Plan(blocks=5, energy=0.99), "imagenet_r",
         backbone__model_kwargs=DEEP, train__epochs=4),
    case("inflora_b5 on domainnet", "inflora_b5", DOMAINNET, "domainnet"),
    case("inflora_ca on imagenet_r", "inflora_ca", CA, "imagenet_r"),
    case(
        "inflora_ca on cifar100",
        "inflora_ca",
        replace(CA, rank=5, head_rate=1e-2, decay=1e-3, schedule=drop(5), fresh_norm=True),
    ),
    case(
        "inflora_ca, other alignment",
        "inflora_ca",
        replace(CA, draws=20, align_epochs=3, logit_norm=0.0, restarts=True),
        "imagenet_r",
        method__align_samples=20,
        method__align_epochs=3,
        method__logit_norm=0.0,
        method__align_restarts=True,
    ),
    case("inflora_ca on domains", "inflora_ca", CA, "imagenet_r", **ON_DOMAINS),
]  # fmt: skip

CASES = slow_but(CASES, "inflora")
