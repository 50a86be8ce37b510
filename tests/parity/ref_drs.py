"""LoRA-DRS: steps kept in the input space of the network that old adapters are subtracted from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from janus.keyed_random import generator
from tests.parity.frame import Case, Data, Given, Trace, slow_but
from tests.parity.held import adapters, both, prototypes
from tests.parity.plain import (
    Adam,
    Head,
    Pairs,
    Schedule,
    add_head,
    added,
    classes_of,
    cosine,
    cross_entropy,
    dense,
    features,
    new_adapters,
    on_thirds,
    scores,
    train,
    unit_means,
)
from tests.parity.ref_rectified import ridge
from tests.parity.subspaces import second_moments


@dataclass(frozen=True)
class Plan:
    """The values of one run; the defaults are the authors' on CIFAR-100."""

    rank: int = 10
    rate: float = 5e-4
    head_rate: float = 2e-3
    energy: float = 0.99
    margin: float = 1.0
    weight: float = 0.05
    both_sides: bool = True
    root: bool = True
    """T is U U^T / sqrt(k), its Frobenius norm; False: U U^T."""
    rectify: bool = False
    inside: bool = False
    """A starts as A U U^T."""
    linear: bool = False
    schedule: Schedule = cosine


def triplet(f: Tensor, y: Tensor, means: Tensor, of: Tensor, margin: float) -> Tensor:
    """mean [farthest of the same class - nearest of another class or its old mean + margin]_+ ."""
    unit, total = f / f.norm(dim=1, keepdim=True), f.new_zeros(())
    for i in range(len(y)):
        apart = ((unit[i] - unit).square().sum(1) + 1e-300).clamp(min=1e-12).sqrt()
        far = apart[y == y[i]].max()
        near = [x for x in (apart[y != y[i]], (unit[i] - means[of != y[i]]).norm(dim=1)) if len(x)]
        if near:
            total = total + (far - torch.cat(near).min() + margin).clamp(min=0)
    return total / len(y)


def spans(given: Given, task: Data, merged: list[Tensor], energy: float) -> list[Tensor]:
    """U (D, k) of every block: fewest directions with `energy` of the inputs' sigma^2 in the
    network of W0 minus all finished adapters."""
    found = []
    for c in second_moments(given.weights, task.extra[0], [-m for m in merged]):
        u, s, _ = torch.linalg.svd(c)
        shares = s.cumsum(0) / s.sum()
        found.append(u[:, : int((shares >= energy).nonzero()[0]) + 1])
    return found


def start(given: Given, index: int, plan: Plan, u: list[Tensor]) -> Pairs:
    """A uniform; B with one entry of N(0, 0.01^2) in each column."""
    a, b = new_adapters(given, index, "kv", plan.rank)
    for i in range(len(a)):
        draw = generator("lora-b", *given.key, index, i)
        row = torch.randint(given.width, (2, 1, plan.rank), generator=draw)
        value = 0.01 * torch.randn(2, 1, plan.rank, generator=draw)
        with torch.no_grad():
            for t in range(2):
                b[i][t, row[t, 0], range(plan.rank)] = value[t, 0]
            if u and plan.inside:
                a[i].copy_(a[i] @ u[i] @ u[i].mT)
    return a, b


def drs(given: Given, told: Trace, plan: Plan) -> None:
    """All tasks; the first is not projected."""
    width = given.width
    merged = [torch.zeros(3 * width, width)] * given.depth
    means, heads = torch.zeros(0, width), list[Head]()
    of = torch.zeros(0, dtype=torch.long)
    for task in given.tasks:
        merged = one_task(given, told, plan, task, merged, means, of, heads)
        means = torch.cat([means, unit_means(given.weights, task, merged)])
        of = torch.cat([of, classes_of(task)])
        told.tell(prototypes=means)
        with torch.no_grad():
            f = features(given.weights, task.tests, merged)
            cosines = f / f.norm(dim=1, keepdim=True) @ means.mT
            best = [cosines[:, of == c].max(1).values for c in range(task.seen)]
            told.tell(logits=scores(f, heads) if plan.linear else torch.stack(best, 1))


def one_task(
    given: Given,
    told: Trace,
    plan: Plan,
    task: Data,
    merged: list[Tensor],
    means: Tensor,
    of: Tensor,
    heads: list[Head],
) -> list[Tensor]:
    """Train one task; the change of qkv after it."""
    u = spans(given, task, merged, plan.energy) if task.index else []
    if u:
        told.tell(spans=torch.stack([x @ x.mT for x in u]))
    a, b = start(given, task.index, plan, u)
    add_head(heads, given, task)
    weight, bias = heads[-1]
    count, updates = given.depth, list[list[Tensor]]()

    def loss(x: Tensor, y: Tensor) -> Tensor:
        blocks = zip(a, b, strict=True)
        updates[:] = [[q @ p for p, q in zip(*pair, strict=True)] for pair in blocks]
        delta = added(merged, [on_thirds("kv", each) for each in updates])
        f = features(given.weights, x, delta)
        value = cross_entropy(f @ weight.mT + bias, y - task.first)
        return value + plan.weight * triplet(f, y, means, of, plan.margin)

    def rectified(value: Tensor) -> list[Tensor]:
        wanted = [w for each in updates for w in each]
        *full, to_weight, to_bias = torch.autograd.grad(value, [*wanted, weight, bias])
        pairs = []
        for n, g in enumerate(full):
            x, y = a[n // 2][n % 2].detach(), b[n // 2][n % 2].detach()
            safe = g @ u[n // 2] @ u[n // 2].mT if u else g
            pairs.append(ridge(x, y, safe, 1.0, 0.01 * float(x.square().sum()) / plan.rank))
        both_of = [list(zip(*pairs[n : n + 2], strict=True)) for n in range(0, len(pairs), 2)]
        found = [torch.stack(each[k]) for k in range(2) for each in both_of]
        return [*found, to_weight, to_bias]

    def inside(i: int, step: Tensor) -> Tensor:
        if not u or i >= 2 * count or (i >= count and not plan.both_sides):
            return step
        x = u[i % count]
        root = x.shape[1] ** 0.5 if plan.root else 1.0
        return (step @ x @ x.mT if i < count else x @ (x.mT @ step)) / root

    params = [(p, plan.rate) for p in (*a, *b)] + [(p, plan.head_rate) for p in (weight, bias)]
    how = rectified if plan.rectify else None
    train(task, told, params, loss, Adam(source_eps=True), plan.schedule, 0.0, how, inside)
    after = [d.detach() for d in added(merged, dense("kv", (a, b)))]
    told.tell(a=torch.stack(a), b=torch.stack(b), weights=torch.stack(after))
    told.tell(head=weight, bias=bias)
    return after


def held_spans(method: Any, given: Given) -> dict[str, Tensor]:
    """U U^T of every block, from the second task on."""
    return {"spans": torch.stack([u @ u.mT for u in method.spans])} if method.spans else {}


def case(name: str, method: str, plan: Plan, bench: str = "cifar100", **options: Any) -> Case:
    """Options are method settings."""
    part = {"first_epochs": "train", "epochs": "train", "scenario": "bench"}
    named = {f"{part.get(key, 'method')}.{key}": value for key, value in options.items()}
    reads = both(adapters, held_spans)
    return Case(name, method, partial(drs, plan=plan), reads, prototypes, named, bench)


CLEAN = Plan(both_sides=False, root=False)
GR = replace(CLEAN, rectify=True, inside=True, rank=3)

CASES = [
    case("lora_drs", "lora_drs", Plan()),
    case(
        "lora_drs on imagenet_r",
        "lora_drs",
        Plan(head_rate=5e-4, margin=2.0, weight=0.2, schedule=lambda e, K, *at: cosine(e, 6, *at)),
        "imagenet_r",
        first_epochs=4,
    ),
    case("lora_drs on domains", "lora_drs", Plan(), scenario="domain", epochs=3),
    case("lora_drs, linear heads", "lora_drs", Plan(linear=True), classifier="linear"),
    case("lora_drs, one side", "lora_drs", Plan(both_sides=False), both_sides=False),
    case("lora_drs, energy 0.9", "lora_drs", Plan(energy=0.9), subspace_energy=0.9),
    case("lora_drs_clean", "lora_drs_clean", CLEAN),
    case("lora_drs_gr", "lora_drs_gr", GR, rank=3),
]

CASES = slow_but(CASES)
