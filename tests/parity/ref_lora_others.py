"""O-LoRA, BiLoRA, C-LoRA and SD-LoRA."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from janus.keyed_random import generator
from tests.parity.frame import DOMAINS, Case, Given, Trace, nothing, slow_but
from tests.parity.held import Watch, adapters, both, newest_head
from tests.parity.plain import (
    Adam,
    Head,
    Schedule,
    Sgd,
    add_head,
    added,
    constant,
    cosine,
    cosine_half,
    cross_entropy,
    dense,
    drop,
    features,
    milestones,
    new_adapters,
    new_head,
    on_thirds,
    tell_end,
    train,
    uniform,
)


def empty(given: Given) -> list[Tensor]:
    """No change of any block's qkv."""
    return [torch.zeros(3 * given.width, given.width)] * given.depth


def local_loss(
    given: Given, delta: Callable[[], list[Tensor]], head: Head, first: int
) -> Callable[[Tensor, Tensor], Tensor]:
    """Cross-entropy of the task's own head over its own classes."""

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(features(given.weights, x, delta()) @ head[0].mT + head[1], y - first)

    return loss


# ---- O-LoRA --------------------------------------------------------------------------------------
def olora(
    given: Given,
    told: Trace,
    *,
    l1: float = 0.5,
    l2: float = 0.0,
    squares: float = 0.0,
    rank: int = 10,
    rate: float = 5e-4,
    head_rate: float = 5e-4,
    sgd: bool = False,
    schedule: Schedule = cosine,
) -> None:
    """CE + l1 sum_i<t sum |A_t A_i^T| + l2 sum of the new factors' norms (and of squares)."""
    merged, heads, old = empty(given), list[Head](), list[list[Tensor]]()
    for task in given.tasks:
        a, b = new_adapters(given, task.index, "kv", rank)
        add_head(heads, given, task)
        local = local_loss(
            given, partial(_with, merged, partial(dense, "kv", (a, b))), heads[-1], task.first
        )
        loss = partial(_olora_loss, local, a, b, list(old), l1, l2, squares)
        params = [(p, rate) for p in (*a, *b)] + [(p, head_rate) for p in heads[-1]]
        train(task, told, params, loss, Sgd() if sgd else Adam(), schedule)
        merged = [d.detach() for d in added(merged, dense("kv", (a, b)))]
        old.append([x.detach() for x in a])
        told.tell(a=torch.stack(a), b=torch.stack(b))
        tell_end(told, given, task, merged, heads)


def _with(merged: list[Tensor], new: Callable[[], list[Tensor]]) -> list[Tensor]:
    return added(merged, new())


def _olora_loss(
    local: Any, a: Any, b: Any, old: Any, l1: float, l2: float, l3: float, x: Tensor, y: Tensor
) -> Tensor:
    value: Tensor = local(x, y)
    for block in range(len(a)):
        for t in range(2):
            for earlier in old:
                value = value + l1 * (a[block][t] @ earlier[block][t].mT).abs().sum()
            for factor in (a[block][t], b[block][t]):
                value = value + l2 * factor.norm() + l3 * factor.square().sum()
    return value


# ---- BiLoRA --------------------------------------------------------------------------------------
def bilora(
    given: Given,
    told: Trace,
    *,
    n: int = 3000,
    alpha: float = 300.0,
    rate: float = 5e-4,
    head_rate: float = 5e-4,
    sgd: bool = False,
    first_rate: float = 1.0,
    schedule: Schedule = cosine,
) -> None:
    """dW = alpha Re IFFT2(Theta), Theta zero but for n real coefficients at random places."""
    width, merged, heads = given.width, empty(given), list[Head]()
    for task in given.tasks:
        draw = generator("bilora-support", *given.key, task.index)
        places = torch.randperm(width**2, generator=draw)[: min(n, width**2 // task.count)]
        theta = [torch.zeros(2, len(places), requires_grad=True) for _ in range(given.depth)]
        add_head(heads, given, task)
        new = partial(_spectral, theta, places, width, alpha)
        local = local_loss(given, partial(_with, merged, new), heads[-1], task.first)
        share = first_rate if task.index == 0 else 1.0
        params = [(p, share * rate) for p in theta]
        params += [(p, share * head_rate) for p in heads[-1]]
        train(task, told, params, local, Sgd() if sgd else Adam(), schedule)
        told.tell(theta=torch.stack(theta), places=places)
        merged = [d.detach() for d in added(merged, new())]
        tell_end(told, given, task, merged, heads)


def _spectral(theta: list[Tensor], places: Tensor, width: int, alpha: float) -> list[Tensor]:
    found = []
    for values in theta:
        grid = torch.zeros(2, width**2).index_add(1, places, values).view(2, width, width)
        found.append(on_thirds("kv", list(alpha * torch.fft.ifft2(grid).real)))
    return found


def coefficients(method: Any, given: Given) -> dict[str, Tensor]:
    """Coefficients (L, 2, n), their places in the flat D x D grid, and the newest head."""
    return newest_head(method, given) | {
        "theta": method.coefficients,
        "places": method.positions,
    }


def merged_spectral(method: Any, given: Given) -> dict[str, Tensor]:
    """(L, 3D, D): what the qkv differ by, the newest update included."""
    places, width = method.positions, given.width
    grid = torch.zeros(*method.coefficients.shape[:2], width**2)
    grid[..., places] = method.coefficients.detach()
    wide = grid.view(*grid.shape[:2], width, width)
    alpha = method.context.settings["alpha"]
    new = [on_thirds("kv", list(alpha * torch.fft.ifft2(g).real)) for g in wide]
    start = [given.weights[f"blocks.{x.block}.attn.qkv.weight"] for x in method.layers]
    old = [x.linear.weight - w for x, w in zip(method.layers, start, strict=True)]
    return {"weights": torch.stack(added(old, new))}


# ---- C-LoRA --------------------------------------------------------------------------------------
def c_lora(
    given: Given,
    told: Trace,
    *,
    penalty: float = 0.01,
    share: float = 0.99,
    stopped: bool = True,
    rank: int = 10,
    rate: float = 5e-4,
    head_rate: float = 5e-4,
) -> None:
    """W = W0 + B (R_old + R_new) A; CE + l (|U^T R_new|^2 + |R_new V|^2)."""
    a, b = new_adapters(given, 0, "kv", rank)
    for i, x in enumerate(b):
        draw = generator("c-lora-b", *given.key, i)
        x.data.copy_(uniform(tuple(x.shape), rank**-0.5, draw))
    old = [torch.zeros(2, rank, rank) for _ in b]
    heads: list[Head] = []
    for task in given.tasks:
        new = [torch.zeros(2, rank, rank, requires_grad=True) for _ in b]
        add_head(heads, given, task)
        delta = partial(_routed, a, b, old, new, stopped)
        local = local_loss(given, delta, heads[-1], task.first)
        used = [[_leading(r, share) for r in block] for block in old] if task.index else []
        loss = partial(_c_lora_loss, local, new, used, penalty)
        params = [(p, rate) for p in (*a, *b, *new)] + [(p, head_rate) for p in heads[-1]]
        train(task, told, params, loss)
        told.tell(a=torch.stack(a), b=torch.stack(b), routing=torch.stack(new))
        tell_end(told, given, task, [d.detach() for d in delta()], heads)
        old = [o + n.detach() for o, n in zip(old, new, strict=True)]


def _leading(r: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Fewest left and right singular vectors with `share` of the squared singular values."""
    u, s, vt = torch.linalg.svd(r)
    k = int((s.square().cumsum(0) < share * s.square().sum()).sum()) + 1
    return u[:, :k], vt[:k].mT


def _routed(a: Any, b: Any, old: Any, new: Any, stopped: bool) -> list[Tensor]:
    found = []
    for x, y, o, n in zip(a, b, old, new, strict=True):
        fixed = y.detach() @ o @ x.detach() if stopped else y @ o @ x
        found.append(on_thirds("kv", list(fixed + y @ n @ x)))
    return found


def _c_lora_loss(local: Any, new: Any, used: Any, penalty: float, x: Tensor, y: Tensor) -> Tensor:
    value: Tensor = local(x, y)
    for block, bases in zip(new, used, strict=False):
        for r, (u, v) in zip(block, bases, strict=True):
            value = value + penalty * ((u.mT @ r).square().sum() + (r @ v).square().sum())
    return value


def routing(method: Any, given: Given) -> dict[str, Tensor]:
    """R_new (L, 2, r, r)."""
    return {"routing": method.new}


# ---- SD-LoRA -------------------------------------------------------------------------------------
def sd_lora(
    given: Given,
    told: Trace,
    *,
    ranks: tuple[int, int, int] = (10, 10, 10),
    rate: float = 8e-3,
    head_rate: float = 8e-3,
    magnitude: float = 0.8,
    absorb: float | None = None,
    schedule: Schedule = constant,
) -> None:
    """W0 + m_t B_t A_t + sum_i<t m_i B_i A_i / (|B_i| |A_i|) on Q and V; one m per task.

    absorb (KD): a direction that the old ones reproduce but for this share of its square is
    dropped, and their magnitudes start with what they reproduce it by.
    """
    kept, shares, heads = list[list[Tensor]](), list[float](), list[Head]()
    for task in given.tasks:
        a, b = new_adapters(given, task.index, "qv", ranks[task.index])
        if task.fresh:
            weight, bias = new_head(given, task, 3**0.5)
            heads.append((weight, bias.detach().zero_().requires_grad_()))
        m = (magnitude * torch.tensor([*shares, 1.0])).requires_grad_()
        delta = partial(_scaled, a, b, list(kept), m)
        local = local_loss(given, delta, heads[-1], task.first)
        params = [(p, rate) for p in (*a, *b, m)] + [(p, head_rate) for p in heads[-1]]
        train(task, told, params, local, Sgd(), schedule)
        told.tell(a=torch.stack(a), b=torch.stack(b), magnitudes=m)
        tell_end(told, given, task, [d.detach() for d in delta()], heads)
        unit = [_unit(x.detach(), y.detach()) for x, y in zip(a, b, strict=True)]
        if absorb is not None and kept:
            old = torch.stack([torch.stack(d).flatten() for d in kept], 1)
            flat = torch.stack(unit).flatten()
            fit = torch.linalg.lstsq(old, flat[:, None], driver="gelsd").solution[:, 0]
            residual = (old @ fit - flat).square().sum() / flat.square().sum()
            if float(residual) < absorb:
                shares = [s + float(c) for s, c in zip(shares, fit, strict=True)]
                continue
        kept.append(unit)
        shares.append(1.0)


def _unit(a: Tensor, b: Tensor) -> Tensor:
    """B A / (|B|_F |A|_F) of each target: (2, D, D)."""
    size = a.flatten(1).norm(dim=1) * b.flatten(1).norm(dim=1)
    return b @ a / size[:, None, None]


def _scaled(a: Any, b: Any, kept: list[list[Tensor]], m: Tensor) -> list[Tensor]:
    found = []
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        change = m[-1] * y @ x
        for n, direction in enumerate(kept):
            change = change + m[n] * direction[i]
        found.append(on_thirds("qv", list(change)))
    return found


def refreshed(method: Any, given: Given) -> dict[str, Tensor]:
    """As `adapters`, once a forward pass has handed the layers what the last step changed."""
    with torch.no_grad():
        method.features(given.tasks[-1].epochs[0][0][0])
    return adapters(method, given)


def magnitudes(method: Any, given: Given) -> dict[str, Tensor]:
    """m_1..m_t."""
    return {"magnitudes": method.magnitudes}


# ---- cases ---------------------------------------------------------------------------------------
def case(
    name: str,
    method: str,
    reference: Callable[..., None],
    watch: Watch,
    bench: str = "cifar100",
    kept: Watch = nothing,
    **options: Any,
) -> Case:
    """Options are overrides, dots written as double underscores."""
    named = {key.replace("__", "."): value for key, value in options.items()}
    return Case(name, method, reference, watch, kept, named, bench)


SPECTRAL = both(coefficients, merged_spectral)
DIRECTIONS = both(refreshed, magnitudes)
ROUTED = both(refreshed, routing)

ON_DOMAINS = {key.replace(".", "__"): value for key, value in DOMAINS.items()}

CASES = [
    case("olora", "olora", olora, adapters),
    case(
        "olora, other penalties",
        "olora",
        partial(olora, l1=0.1, l2=0.1, squares=0.05),
        adapters,
        method__orthogonality=0.1,
        method__l2=0.1,
        method__ridge=0.05,
    ),
    case("olora on domainnet", "olora",
         partial(olora, rank=30, sgd=True, rate=5e-3, head_rate=1e-2, schedule=drop(5)),
         adapters, "domainnet"),
    case("olora on domains", "olora", olora, adapters, **ON_DOMAINS),
    case("sd_lora on domains", "sd_lora", sd_lora, DIRECTIONS, **ON_DOMAINS),
    case("bilora", "bilora", bilora, SPECTRAL, train__first_epochs=8),
    case("bilora, few coefficients", "bilora", partial(bilora, n=100, alpha=30.0), SPECTRAL,
         train__first_epochs=4, method__coefficients=100, method__alpha=30.0),
    case("bilora on domainnet", "bilora",
         partial(bilora, sgd=True, rate=5e-3, head_rate=5e-3, schedule=cosine_half, first_rate=0.1),
         SPECTRAL, "domainnet"),
    case("c_lora", "c_lora", c_lora, ROUTED),
    case("c_lora, open, other penalty", "c_lora",
         partial(c_lora, stopped=False, penalty=1.0, share=0.6), ROUTED,
         method__old_gradients="open", method__penalty=1.0, method__routing_energy=0.6),
    case("sd_lora", "sd_lora", sd_lora, DIRECTIONS),
    case("sd_lora on imagenet_r", "sd_lora", partial(sd_lora, rate=1e-2, head_rate=1e-2),
         DIRECTIONS, "imagenet_r"),
    case("sd_lora on domainnet", "sd_lora",
         partial(sd_lora, rate=2e-2, head_rate=2e-2, schedule=milestones((4, 6, 8), 0.005)),
         DIRECTIONS, "domainnet", train__epochs=10),
    case("sd_lora_rr", "sd_lora_rr", partial(sd_lora, ranks=(10, 8, 6)), DIRECTIONS,
         method__reduce_every=1),
    case("sd_lora_rr, as published", "sd_lora_rr", sd_lora, DIRECTIONS),
    case("sd_lora_kd", "sd_lora_kd", partial(sd_lora, absorb=9e-4), DIRECTIONS),
    case(
        "sd_lora_kd, nearly absorbed",
        "sd_lora_kd",
        partial(sd_lora, absorb=0.99992),
        DIRECTIONS,
        method__distill_threshold=0.99992,
    ),
    case("sd_lora_kd, all absorbed", "sd_lora_kd", partial(sd_lora, absorb=2.0), DIRECTIONS,
         method__distill_threshold=2.0),
]  # fmt: skip

CASES = slow_but(CASES, "bilora")
