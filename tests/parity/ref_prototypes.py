"""Nearest class mean, linear probes, RanPAC and EASE, from their formulas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from janus.keyed_random import generator
from tests.parity.frame import DOMAINS, Case, Data, Given, Trace
from tests.parity.held import newest_head
from tests.parity.plain import (
    Adam,
    Head,
    Schedule,
    Sgd,
    cosine_half,
    cosine_step,
    cross_entropy,
    features,
    new_head,
    scores,
    train,
    uniform,
)


def unit(x: Tensor) -> Tensor:
    """x / |x| over the last dimension."""
    return x / x.square().sum(-1, keepdim=True).sqrt()


def means(f: Tensor, y: Tensor) -> Tensor:
    """Mean of f (N, D) over each class in y (N,), classes ascending."""
    return torch.stack([f[y == c].mean(0) for c in sorted(set(y.tolist()))])


# ---- references that train no network ------------------------------------------------------------
def by_class(tasks: Sequence[Data], parts: Sequence[Tensor]) -> Tensor:
    """Scores (B, C of each task), ascending, to (B, C seen): of several domains the best one's."""
    best = torch.full((len(parts[0]), max(task.seen for task in tasks)), -torch.inf)
    for task, z in zip(tasks, parts, strict=True):
        own = slice(task.first, task.first + task.classes)
        best[:, own] = torch.maximum(best[:, own], z)
    return best


def ncm(given: Given, told: Trace) -> None:
    """logit_c = cos(f, p_c), p_c the mean of the frozen features of class c (and domain)."""
    found: list[Tensor] = []
    for task in given.tasks:
        for x, y in task.plain:
            found.append(unit(means(features(given.weights, x), y)))
        q = unit(features(given.weights, task.tests))
        z = by_class(given.tasks[: task.index + 1], [q @ p.mT for p in found])
        told.tell(means=torch.cat(found), logits=z)


def probe(given: Given, told: Trace, rate: float = 5e-4) -> None:
    """Linear heads on frozen features; of a joint probe, one head on all classes at once."""
    heads: list[Head] = []
    for task in given.tasks:
        if task.fresh:
            heads.append(new_head(given, task))

        def loss(x: Tensor, y: Tensor, task: Data = task) -> Tensor:
            f = features(given.weights, x)
            return cross_entropy(scores(f, heads[-1:]), y - task.first)

        train(task, told, [(p, rate) for p in heads[-1]], loss)
        told.tell(head=heads[-1][0], bias=heads[-1][1])
        with torch.no_grad():
            told.tell(logits=scores(features(given.weights, task.tests), heads))


# ---- adapters ------------------------------------------------------------------------------------
Adapter = list[tuple[Tensor, Tensor, Tensor, Tensor]]
"""Per block: down (K, D) and its bias, up (D, K) and its bias."""


def adapted(given: Given, x: Tensor, adapter: Adapter, scale: float) -> Tensor:
    """Features where every block's MLP gets scale * up(relu(down(h))) added, h its input."""

    def mlp(i: int, h: Tensor, out: Tensor) -> Tensor:
        down, down_bias, up, up_bias = adapter[i]
        return out + scale * ((h @ down.mT + down_bias).clamp(min=0) @ up.mT + up_bias)

    return features(given.weights, x, mlp=mlp)


def train_adapter(
    given: Given,
    told: Trace,
    task: Data,
    *,
    size: int,
    scale: float,
    sigma: float,
    rates: tuple[float, float],
    direction: type[Adam] | type[Sgd],
    schedule: Schedule,
    decay: float,
) -> Adapter:
    """A fresh adapter under cross-entropy of sigma cos(f, w_c), w and sigma of the task alone."""
    width = given.width
    adapter: Adapter = []
    for i in range(given.depth):
        draw = generator("adapter", *given.key, task.index, i)
        down = uniform((size, width), width**-0.5, draw)
        adapter.append((down, torch.zeros(size), torch.zeros(width, size), torch.zeros(width)))
    draw = generator("cosine-head", *given.key, task.index)
    w, s = uniform((task.classes, width), width**-0.5, draw), torch.tensor([sigma])
    bodies = [value.requires_grad_() for block in adapter for value in block]

    def loss(x: Tensor, y: Tensor) -> Tensor:
        f = adapted(given, x, adapter, scale)
        return cross_entropy(s * (unit(f) @ unit(w).mT), y - task.first)

    params = [(p, rates[0]) for p in bodies] + [(p.requires_grad_(), rates[1]) for p in (w, s)]
    train(task, told, params, loss, direction(), schedule, decay)
    told.tell(proxy=w, sigma=s, **tell_adapter(adapter))
    return [tuple(p.detach() for p in block) for block in adapter]  # type: ignore[misc]


def tell_adapter(blocks: Sequence[Sequence[Tensor]]) -> dict[str, Tensor]:
    """Each part of all blocks, stacked."""
    names = ("down", "down_bias", "up", "up_bias")
    return {
        n: torch.stack(list(part)) for n, part in zip(names, zip(*blocks, strict=True), strict=True)
    }


# ---- RanPAC --------------------------------------------------------------------------------------
Rule = Callable[[list[float], list[float]], float]
"""(penalties ascending, held-out errors) -> penalty."""


def within(grid: list[float], errors: list[float]) -> float:
    """The largest penalty whose error is at most 1.01 times the least."""
    return max(g for g, e in zip(grid, errors, strict=True) if e <= 1.01 * min(errors))


def least(grid: list[float], errors: list[float]) -> float:
    """The first penalty of least error."""
    return grid[errors.index(min(errors))]


def ridge(gram: Tensor, moment: Tensor, penalty: float) -> Tensor:
    """(G + penalty I)^-1 Q."""
    return torch.linalg.solve(gram + penalty * torch.eye(len(gram), dtype=gram.dtype), moment)


def chosen(h: Tensor, hot: Tensor, mixed: Tensor, rule: Rule) -> float:
    """The penalty by squared error on the last fifth of the rows, in the order `mixed`."""
    fit, held = mixed[: int(0.8 * len(h))], mixed[int(0.8 * len(h)) :]
    grid = [10.0**k for k in range(-8, 9)]
    errors = []
    for penalty in grid:
        w = ridge(h[fit].mT @ h[fit], h[fit].mT @ hot[fit], penalty)
        errors.append(float((h[held] @ w - hot[held]).square().mean()))
    return rule(grid, errors)


def ranpac(
    given: Given,
    told: Trace,
    *,
    projection: int = 200,
    rule: Rule = within,
    fixed: float = 0.0,
    adapt: bool = True,
    kind: torch.dtype = torch.float64,
    **training: Any,
) -> None:
    """Ridge on relu(f W); G and Q sum over all tasks. The network is adapted in the first.

    kind: of G, Q and all solves.
    """
    draw = torch.randn(given.width, projection, generator=generator("ranpac", given.key[0]))
    gram = torch.zeros(projection, projection, dtype=kind)
    moment = torch.zeros(projection, 0, dtype=kind)
    adapter = train_adapter(given, told, given.tasks[0], **training) if adapt else []

    def read(x: Tensor) -> Tensor:
        f = adapted(given, x, adapter, training["scale"]) if adapt else features(given.weights, x)
        return (f @ draw).clamp(min=0)

    for task in given.tasks:
        h = torch.cat([read(x) for x, _ in task.plain])
        y = torch.cat([y for _, y in task.plain])
        h, hot = h.to(kind), (y[:, None] == torch.arange(task.seen)).to(kind)
        moment = torch.cat([moment, torch.zeros(projection, task.fresh, dtype=kind)], 1)
        gram, moment = gram + h.mT @ h, moment + h.mT @ hot
        key = ("ranpac-held-out", *given.key, task.index)
        mixed = torch.randperm(len(h), generator=generator(*key))
        penalty = fixed or chosen(h, hot, mixed, rule)
        told.tell(gram=gram, moment=moment, penalty=penalty)
        told.tell(logits=read(task.tests) @ ridge(gram, moment, penalty).double())


# ---- EASE ----------------------------------------------------------------------------------------
def ease(
    given: Given, told: Trace, *, alpha: float = 0.1, again: bool = True, **training: Any
) -> None:
    """One adapter per task; a class (and domain) is synthesised in subspaces made after its task.

    p_{o,t} = sum_c softmax_c(cos(p_{o,i}, p_{c,i})) p_{c,t} over classes c with a mean of their own
    in t: those of task t, and with `again`, after every task, those of later tasks too.
    """
    adapters: list[Adapter] = []
    p: dict[tuple[int, int], Tensor] = {}  # (task of the classes, subspace) -> (C, D)
    for task in given.tasks:
        now = task.index
        adapters.append(train_adapter(given, told, task, **training))
        y = torch.cat([y for _, y in task.plain])
        for t, adapter in enumerate(adapters):
            f = torch.cat([adapted(given, x, adapter, training["scale"]) for x, _ in task.plain])
            p[now, t] = means(f, y)
        for t in range(1, now + 1) if again else [now]:
            donors = range(t, now + 1)
            for i in range(t):
                like = unit(p[i, i]) @ unit(torch.cat([p[j, i] for j in donors])).mT
                p[i, t] = like.softmax(1) @ torch.cat([p[j, t] for j in donors])
        spaces = range(now + 1)
        rows = [torch.stack([p[i, t] for t in spaces], 1) for i in spaces]
        q = [unit(adapted(given, task.tests, a, training["scale"])) for a in adapters]
        near = {(i, t): q[t] @ unit(p[i, t]).mT for i in spaces for t in spaces}
        parts = [
            near[i, i] + sum(alpha / now * near[i, t] for t in spaces if t != i) for i in spaces
        ]
        z = by_class(given.tasks[: now + 1], parts)
        told.tell(prototypes=torch.cat(rows), logits=z)


# ---- what the product holds ----------------------------------------------------------------------
def adapter_of(method: Any, given: Given) -> dict[str, Tensor]:
    """The adapter in training with its proxy head; nothing where none is trained."""
    if method.proxy is None:
        return {}
    blocks = [(a.down.weight, a.down.bias, a.up.weight, a.up.bias) for a in method.adapters[-1]]
    return tell_adapter(blocks) | {"proxy": method.proxy.weight, "sigma": method.proxy.sigma}


def moments_of(method: Any, given: Given) -> dict[str, Tensor | float]:
    """G, Q and the penalty."""
    state = method.state_dict()
    return {"gram": state["gram"], "moment": state["moment"], "penalty": state["penalty"]}


def prototypes_of(method: Any, given: Given) -> dict[str, Tensor]:
    """(C, T, D)."""
    return {"prototypes": method.kept()["prototypes"]}


def means_of(method: Any, given: Given) -> dict[str, Tensor]:
    """(C, D)."""
    return {"means": method.kept()["prototypes"]["means"]}


PILOT: dict[str, Any] = {
    "size": 64,
    "scale": 0.1,
    "sigma": 1.0,
    "direction": Sgd,
    "schedule": cosine_half,
    "decay": 5e-4,
}
"""Training of the adapter on CIFAR-100, but for the rates."""
IMAGENET_R = PILOT | {"rates": (0.05, 0.05), "decay": 5e-3}
GLYPHS: dict[str, Any] = {
    "size": 16,
    "scale": 1.0,
    "sigma": 16.0,
    "direction": Adam,
    "schedule": cosine_step,
    "decay": 0.0,
    "rates": (1e-3, 5e-3),
}


def ranpac_case(
    name: str, options: dict[str, Any], bench: str = "cifar100", slow: bool = True, **plan: Any
) -> Case:
    """RanPAC on 200 random features, unless `options` and `plan` say otherwise."""
    reference = partial(ranpac, **PILOT | {"rates": (0.01, 0.01)} | plan)
    few = {"method.projection": 200, **options}
    return Case(name, "ranpac", reference, adapter_of, moments_of, few, bench, slow)


def ease_case(
    name: str, options: dict[str, Any], bench: str = "cifar100", slow: bool = True, **plan: Any
) -> Case:
    """EASE."""
    reference = partial(ease, **PILOT | {"rates": (0.025, 0.025)} | plan)
    return Case(name, "ease", reference, adapter_of, prototypes_of, options, bench, slow)


CASES = [
    Case("ncm", "ncm", ncm, kept=means_of),
    Case("linear_probe", "linear_probe", probe, newest_head),
    Case("joint_probe", "joint_probe", probe, newest_head, slow=True),
    Case("ncm on domains", "ncm", ncm, kept=means_of, options=DOMAINS),
    Case("linear_probe on domains", "linear_probe", probe, newest_head, options=DOMAINS, slow=True),
    ranpac_case("ranpac on domains", DOMAINS),
    ease_case("ease on domains", DOMAINS),
    ranpac_case("ranpac", {}, slow=False),
    ranpac_case(
        "ranpac, least error of 20 features",
        {"method.ridge_rule": "least", "method.projection": 20},
        rule=least,
        projection=20,
    ),
    ranpac_case(
        "ranpac, the authors' float32",
        {"method.ridge_rule": "float32"},
        rule=least,
        kind=torch.float32,
    ),
    ranpac_case(
        "ranpac, frozen network, 20 features, penalty 3",
        {"method.adapt": False, "method.projection": 20, "method.ridge": 3.0},
        adapt=False,
        projection=20,
        fixed=3.0,
        slow=False,
    ),
    ranpac_case("ranpac on imagenet_r", {}, "imagenet_r", **IMAGENET_R),
    ranpac_case("ranpac on glyphs", {}, "glyphs", **GLYPHS),
    ease_case("ease", {}),
    ease_case(
        "ease, synthesised once, alpha 0.7",
        {"method.resynthesise": False, "method.alpha": 0.7},
        again=False,
        alpha=0.7,
    ),
    ease_case("ease on imagenet_r", {}, "imagenet_r", **IMAGENET_R),
    ease_case("ease on glyphs", {}, "glyphs", **GLYPHS),
]
