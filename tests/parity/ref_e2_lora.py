"""E2-LoRA from its formulas: SVD of the drift itself, and a loop over shares of energy."""

from __future__ import annotations

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
    constant,
    cosine_step,
    cross_entropy,
    drop,
    features,
    scores,
    small_head,
    train,
)
from tests.parity.ref_slca import Gaussian, align

PARTS = ("attn.qkv", "mlp.fc1")


def names(given: Given) -> list[str]:
    """Adapted weights, in the product's order."""
    return [f"blocks.{i}.{part}.weight" for i in range(given.depth) for part in PARTS]


class Layer:
    """The factors of one weight: [(A, B, energies)] of old tasks, and A, B in training."""

    def __init__(self, weight: Tensor) -> None:
        self.out, self.width = weight.shape
        self.old: list[tuple[Tensor, Tensor, Tensor]] = []
        self.a = self.b = torch.zeros(0)

    def before(self) -> Tensor:
        """Sum of B A over old tasks."""
        return sum((b @ a for a, b, _ in self.old), torch.zeros(self.out, self.width))

    def now(self) -> Tensor:
        """With the current task's."""
        return self.before() + self.b @ self.a


def wanted(energies: Tensor, share: float, left: int) -> int:
    """1 + the number of leading directions with at most `share` of the energy together."""
    total, held, count = float(energies.sum()), 0.0, 0
    for value in energies.tolist():
        held += value
        if held > share * total:
            break
        count += 1
    return min(count + 1, left)


def release(layer: Layer, t: int, energy: float) -> Tensor:
    """Cut old tasks to at most (t - 1) O / t directions in all; returns what they give away."""
    share = energy
    while True:
        ranks = [wanted(e, share, len(a)) for a, _, e in layer.old]
        if sum(ranks) <= (t - 1) * layer.out // t:
            break
        share -= 1 - energy
    free = torch.cat([b[:, k:] for (_, b, _), k in zip(layer.old, ranks, strict=True)], 1)
    layer.old = [(a[:k], b[:, :k], e) for (a, b, e), k in zip(layer.old, ranks, strict=True)]
    return free


def turn(layer: Layer, x: Tensor, first: bool) -> None:
    """U by an SVD of the centred drift x (B A)^T; completed inside span(B)."""
    a, b = layer.a.detach(), layer.b.detach()
    inside = torch.eye(layer.out) if first else b
    y = x @ (inside.mT @ b @ a).mT
    y = y - y.mean(0)
    _, sizes, right = torch.linalg.svd(y, full_matrices=len(y) < y.shape[1])
    energies = torch.zeros(y.shape[1])
    energies[: len(sizes)] = sizes.square() / (len(y) - 1)
    u = inside @ right.mT
    rank = len(a)
    layer.old.append(((u.mT @ b @ a)[:rank], u[:, :rank], energies[:rank]))


def inputs(w: dict[str, Tensor], images: Tensor, given: Given) -> list[Tensor]:
    """What every adapted weight multiplies: the input of qkv, and that of fc1."""
    found: list[Tensor] = []
    stream: list[Tensor] = []

    def note(block: int, x: Tensor, out: Tensor) -> Tensor:
        stream.append(x)
        return out

    features(w, images, inputs=found, mlp=note)
    both = []
    for i in range(given.depth):
        x = stream[i]
        centred = x - x.mean(-1, keepdim=True)
        h = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        h = h * w[f"blocks.{i}.norm2.weight"] + w[f"blocks.{i}.norm2.bias"]
        both += [found[i], h.flatten(0, 1)]
    return both


def kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 mean over images of sum p (log p - log q)."""
    p, q = (teacher / temperature).softmax(1), (student / temperature).softmax(1)
    return temperature**2 * (p * (p.log() - q.log())).sum(1).mean()


def e2_lora(
    given: Given,
    told: Trace,
    *,
    rate: float = 5e-4,
    head_rate: float = 0.01,
    decay: float = 5e-4,
    energy: float = 0.99999,
    weight: float = 0.25,
    temperature: float = 2.0,
    identity: bool = False,
    aligned: bool = True,
    schedule: Schedule,
    fresh_norm: bool = True,
    restart: bool = False,
) -> None:
    """See janus/methods/e2_lora.py for the steps."""
    base = dict(given.weights)
    if fresh_norm:
        base["norm.weight"], base["norm.bias"] = torch.ones(given.width), torch.zeros(given.width)
    layers = [Layer(base[name]) for name in names(given)]
    heads: list[Head] = []
    classes: list[Gaussian] = []

    def network(change: str) -> dict[str, Tensor]:
        updates = [getattr(layer, change)() for layer in layers]
        return base | {n: base[n] + u for n, u in zip(names(given), updates, strict=True)}

    for task in given.tasks:
        first = task.index == 0 and not identity
        for i, layer in enumerate(layers):
            if task.index:
                layer.b = release(layer, task.index + 1, energy)
                layer.a = torch.zeros(layer.b.shape[1], layer.width)
            elif identity:
                layer.a, layer.b = torch.zeros(layer.out, layer.width), torch.eye(layer.out)
            else:
                draw = torch.rand(
                    layer.out, layer.width, generator=generator("e2-lora-a", *given.key, i)
                )
                layer.a = (2 * draw - 1) / layer.width**0.5
                layer.b = torch.zeros(layer.out, layer.out)
            layer.a.requires_grad_()
            layer.b.requires_grad_(first)
        if task.fresh:
            heads.append(small_head(given, task))
        head = tuple(p.detach().requires_grad_() for p in heads.pop())
        heads.append(head)
        begun = network("before")

        def loss(
            x: Tensor, y: Tensor, task: Data = task, head: Head = head, w=begun, heads=heads
        ) -> Tensor:
            f = features(network("now"), x)
            value = cross_entropy(scores(f, [head]), y - task.first)
            if not task.index or not weight:
                return value
            old = heads[:-1] or heads
            with torch.no_grad():
                teacher = scores(features(w, x), old)
            return value + weight * kl(scores(f, old), teacher, temperature)

        factors = [p for x in layers for p in ((x.a, x.b) if first else (x.a,))]
        params = [(p, rate) for p in factors] + [(p, head_rate) for p in head]
        train(task, told, params, loss, Sgd(), schedule, decay)
        told.tell(head=head[0], bias=head[1])
        told.tell(change=torch.cat([x.now().detach().flatten() for x in layers]))
        with torch.no_grad():
            images = task.extra[0][0][0]
            for layer, x in zip(layers, inputs(network("now"), images, given), strict=True):
                turn(layer, x, first)
            for layer in layers:
                layer.a, layer.b = torch.zeros(0, layer.width), torch.zeros(layer.out, 0)
            f = torch.cat([features(network("before"), x) for x, _ in task.plain])
        told.tell(
            kept=torch.cat([x.before().flatten() for x in layers]),
            energies=torch.cat([e for x in layers for _, _, e in x.old]),
            ranks=torch.tensor([len(a) for x in layers for a, _, _ in x.old]),
        )
        y = torch.cat([y for _, y in task.plain])
        classes += [
            gaussian(f[y == c], task.index, c) for c in range(task.first, task.first + task.classes)
        ]
        if aligned and task.index:
            heads = align(given, heads, classes, task.index, epochs=3, norm=0.0)
        with torch.no_grad():
            told.tell(logits=scores(features(network("before"), task.tests), heads))


def gaussian(f: Tensor, task: int, label: int) -> Gaussian:
    """As SLCA's, with 2e-4 I."""
    far = f - f.mean(0)
    spread = far.mT @ far / (len(f) - 1) + 2e-4 * torch.eye(f.shape[1])
    return f.mean(0), torch.linalg.cholesky(spread), task, label


# ---- what the product holds ----------------------------------------------------------------------
def trained(method: Any, given: Given) -> dict[str, Tensor]:
    """The newest head, and the change of every adapted weight."""
    updates = [x.fixed + x.b @ x.a - x.linear.weight for x in method.layers]
    return newest_head(method, given) | {"change": torch.cat([u.flatten() for u in updates])}


def kept(method: Any, given: Given) -> dict[str, Tensor]:
    """What finished tasks change, their energies, and how many directions each has."""
    pairs = [pair for x in method.layers for pair in x.finished]
    return {
        "kept": torch.cat([(x.fixed - x.linear.weight).flatten() for x in method.layers]),
        "energies": torch.cat([pair.energies for pair in pairs]),
        "ranks": torch.tensor([len(pair.a) for pair in pairs]),
    }


def case(name: str, bench: str = "cifar100", options: dict[str, Any] | None = None, **plan: Any):
    """E2-LoRA over 6 epochs."""
    return Case(
        name, "e2_lora", partial(e2_lora, **plan), trained, kept, options or {}, bench, slow=True
    )


CASES = [
    case("e2_lora", schedule=drop(5)),
    case(
        "e2_lora from the identity, tight energy",
        "domainnet_domains",
        {"bench.scenario": "class", "method.energy": 0.99, "method.final_norm": "pretrained"},
        identity=True,
        energy=0.99,
        schedule=constant,
        fresh_norm=False,
    ),
    case(
        "e2_lora on glyphs, heads as trained",
        "glyphs",
        {"method.classifier": "linear", "method.temperature": 3.0, "method.distill": 0.5},
        rate=5e-3,
        weight=0.5,
        temperature=3.0,
        aligned=False,
        schedule=cosine_step,
        fresh_norm=False,
    ),
    case(
        "e2_lora, five tasks",
        options={"bench.tasks": 5, "method.lr": 5e-3},
        rate=5e-3,
        schedule=drop(5),
    ),
    case("e2_lora on domains", options=DOMAINS, schedule=drop(2)),
]
