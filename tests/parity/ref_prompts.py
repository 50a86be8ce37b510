"""L2P, L2P++, DualPrompt and CODA-Prompt: prompts in a frozen ViT, from the papers' formulas.

q: CLS feature of the network without prompts. Half of a prefix goes before a block's keys, half
before its values. Only the newest head is trained; the loss looks at the task's own classes. In
domain streams all tasks train the first head.
"""

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
    Head,
    Prefix,
    Schedule,
    constant,
    cosine,
    cosine_step,
    cross_entropy,
    embed,
    features,
    new_head,
    scores,
    small_head,
    train,
)


def between(low: float, shape: Sequence[int], *key: str | int) -> Tensor:
    """Uniform in [low, 1)."""
    return (low + (1 - low) * torch.rand(*shape, generator=generator(*key))).requires_grad_()


def unit(x: Tensor) -> Tensor:
    """x / |x| over the last dimension."""
    return x / x.square().sum(-1, keepdim=True).sqrt()


def task_by_task(
    given: Given,
    told: Trace,
    rates: tuple[float, float],
    schedule: Schedule,
    start: Callable[[Data], dict[str, Tensor]],
    run: Callable[[Tensor, Tensor, Data | None], tuple[Tensor, Tensor]],
    head: Callable[[Given, Data], Head] = new_head,
) -> None:
    """Train the tensors that `start` names, and a head, with Adam.

    rates: of prompts and of heads. run: (images, q, task in training or None) -> (f (B, D), key
    loss).
    """
    heads: list[Head] = []
    for task in given.tasks:
        named = start(task)
        if task.fresh:
            heads.append(head(given, task))

        def loss(x: Tensor, y: Tensor, task: Data = task) -> Tensor:
            f, pull = run(x, features(given.weights, x).detach(), task)
            return cross_entropy(scores(f, heads[-1:]), y - task.first) + pull

        params = [(p, rates[0]) for p in named.values()] + [(p, rates[1]) for p in heads[-1]]
        train(task, told, params, loss, schedule=schedule)
        told.tell(**named, head=heads[-1][0], bias=heads[-1][1])
        with torch.no_grad():
            x = task.tests
            told.tell(logits=scores(run(x, features(given.weights, x), None)[0], heads))


# ---- L2P and L2P++ -------------------------------------------------------------------------------
def l2p(
    given: Given,
    told: Trace,
    *,
    pool: int,
    length: int,
    top: int,
    tokens: bool,
    majority: bool = False,
    pairs: bool = False,
    weight: float,
    rates: tuple[float, float],
    schedule: Schedule,
) -> None:
    """Top prompts by cos(q, k_m); tokens: at the input, f their mean output; else block 1's prefix.

    majority: in training all images of a batch take the prompts that most of them select, the
    first of equally frequent ones. pairs: the key loss is a mean over all pairs of a query and the
    keys that an image took. Heads of `tokens` start normal with deviation 0.02, biases at 0.
    """
    low = -1.0 if tokens else 0.0
    prompts = between(low, (pool, length, given.width), "prompts", *given.key)
    keys = between(low, (pool, given.width), "prompt-keys", *given.key)

    def run(x: Tensor, q: Tensor, task: Data | None) -> tuple[Tensor, Tensor]:
        near = unit(q) @ unit(keys).mT
        chosen = near.topk(top, 1).indices
        if majority and task is not None:
            votes = [(-int((chosen == m).sum()), m) for m in range(pool)]
            chosen = torch.tensor([m for _, m in sorted(votes)[:top]]).expand(len(x), top)
        close = near[:, chosen] if pairs else near.gather(1, chosen)
        pull = weight * (1 - close).sum(-1).mean()
        taken = prompts[chosen]  # (B, top, length, D)
        if tokens:
            whole = torch.cat([embed(given.weights, x), taken.flatten(1, 2)], 1)
            out = features(given.weights, x, tokens=whole, every=True)
            return out[:, -top * length :].mean(1), pull
        k, v = (part.flatten(1, 2) for part in taken.chunk(2, 2))
        f = features(given.weights, x, prefix=lambda i: (k, v) if i == 0 else None)
        return f, pull

    def start(task: Data) -> dict[str, Tensor]:
        return {"prompts": prompts, "keys": keys}

    task_by_task(given, told, rates, schedule, start, run, small_head if tokens else new_head)


# ---- DualPrompt ----------------------------------------------------------------------------------
def dualprompt(
    given: Given,
    told: Trace,
    *,
    general: tuple[int, int] = (2, 6),
    expert: tuple[int, int] = (3, 20),
    weight: float = 1.0,
    rates: tuple[float, float] = (1e-3, 1e-3),
    schedule: Schedule = cosine,
) -> None:
    """g in the first blocks, e of the task in those after; at test e of the nearest key.

    general, expert: (blocks, length). Earlier tasks' e and keys stay as they are.
    """
    (g_blocks, g_length), (e_blocks, e_length) = general, expert
    g = between(0.0, (g_blocks, g_length, given.width), "general-prompt", *given.key)
    es: list[Tensor] = []
    ks: list[Tensor] = []

    def start(task: Data) -> dict[str, Tensor]:
        key = (*given.key, task.index)
        es.append(between(0.0, (e_blocks, e_length, given.width), "expert-prompt", *key))
        ks.append(between(0.0, (given.width,), "prompt-keys", *key))
        return {"general": g, "expert": es[-1], "key": ks[-1]}

    def run(x: Tensor, q: Tensor, task: Data | None) -> tuple[Tensor, Tensor]:
        near = unit(q) @ unit(torch.stack(ks)).mT
        own = torch.full((len(x),), len(ks) - 1) if task is not None else near.argmax(1)
        e = torch.stack(es)[own]  # (B, blocks, length, D)

        def prefix(i: int) -> Prefix | None:
            if i < g_blocks:
                k, v = g[i].expand(len(x), -1, -1).chunk(2, 1)
            elif i < g_blocks + e_blocks:
                k, v = e[:, i - g_blocks].chunk(2, 1)
            else:
                return None
            return k, v

        pull = weight * (1 - near.gather(1, own[:, None])).mean()
        return features(given.weights, x, prefix=prefix), pull

    task_by_task(given, told, rates, schedule, start, run)


# ---- CODA-Prompt ---------------------------------------------------------------------------------
def orthonormal(old: Tensor, draws: Tensor) -> Tensor:
    """Gram-Schmidt of draws (n, d) against the span of old (m, d) and each other; unit rows."""
    found: list[Tensor] = []
    for v in draws:
        if len(old):
            v = v - torch.linalg.lstsq(old.mT, v[:, None]).solution[:, 0] @ old
        for u in found:
            v = v - (u @ v) * u
        found.append(unit(v))
    return torch.stack(found)


def coda(
    given: Given,
    told: Trace,
    *,
    components: int = 100,
    length: int = 8,
    blocks: int = 5,
    rates: tuple[float, float] = (1e-3, 1e-3),
    schedule: Schedule = cosine,
) -> None:
    """p = sum_m cos(q * a_m, k_m) p_m in each of the first blocks; earlier components frozen.

    Every task adds its share of the components, orthonormal and orthogonal to all before.
    """
    width = given.width
    count = min(components, width) // given.tasks[0].count
    sizes = {"prompts": length * width, "keys": width, "attention": width}
    rows: dict[str, list[Tensor]] = {name: [] for name in sizes}

    def start(task: Data) -> dict[str, Tensor]:
        for name, size in sizes.items():
            draw = generator(f"coda-{name}", *given.key, task.index)
            normal = torch.randn(count, blocks, size, generator=draw)
            old = torch.cat([torch.zeros(0, blocks, size), *rows[name]]).detach()
            made = [orthonormal(old[:, i], normal[:, i]) for i in range(blocks)]
            rows[name] = [x.detach() for x in rows[name]]
            rows[name].append(torch.stack(made, 1).requires_grad_())
        return {name: rows[name][-1] for name in sizes}

    def run(x: Tensor, q: Tensor, task: Data | None) -> tuple[Tensor, Tensor]:
        p, k, a = (torch.cat(rows[name]) for name in sizes)  # (M, blocks, d)

        def prefix(i: int) -> Prefix | None:
            if i >= blocks:
                return None
            share = (unit(q[:, None] * a[:, i]) * unit(k[:, i])).sum(-1)  # (B, M)
            keys, values = (share @ p[:, i]).reshape(len(x), length, width).chunk(2, 1)
            return keys, values

        return features(given.weights, x, prefix=prefix), torch.zeros(())

    task_by_task(given, told, rates, schedule, start, run)


# ---- what the product holds ----------------------------------------------------------------------
def prompts_of(method: Any, given: Given, **shapes: Sequence[int]) -> dict[str, Tensor]:
    """What is trained, reshaped where named, and the newest head."""
    state = method.state_dict()["trained"]
    return newest_head(method, given) | {
        name: value.reshape(shapes.get(name, value.shape)) for name, value in state.items()
    }


def pool_of(method: Any, given: Given) -> dict[str, Tensor]:
    """Prompts (M, L, D) and keys."""
    pool = len(method.state_dict()["trained"]["keys"])
    return prompts_of(method, given, prompts=(pool, -1, given.width))


def dual_of(method: Any, given: Given) -> dict[str, Tensor]:
    """G (blocks, L, D), E of the task (blocks, L, D) and its key (D,)."""
    made = method.state_dict()["trained"]
    blocks = {name: made[name].shape[-4] for name in ("general", "expert")}
    shapes = {name: (blocks[name], -1, given.width) for name in blocks}
    return prompts_of(method, given, key=(-1,), **shapes)


def components_of(method: Any, given: Given) -> dict[str, Tensor]:
    """Components (M, blocks, L D) of the task, their keys and attention vectors."""
    count, blocks = method.state_dict()["trained"]["keys"].shape[:2]
    return prompts_of(method, given, prompts=(count, blocks, -1))


def deep(blocks: int, **more: Any) -> dict[str, Any]:
    """Overrides for a network of `blocks` blocks."""
    shape = {"patch_size": 8, "embed_dim": 48, "depth": blocks, "num_heads": 2}
    return {"backbone.model_kwargs": shape, **more}


def domains(blocks: int = 2) -> dict[str, Any]:
    """Overrides for a short domain stream."""
    return deep(blocks) | DOMAINS


L2P: dict[str, Any] = {
    "pool": 10,
    "length": 5,
    "top": 5,
    "tokens": True,
    "majority": True,
    "weight": 0.1,
    "rates": (1.875e-3, 1.875e-3),
    "schedule": constant,
}
L2P_PP: dict[str, Any] = {
    "pool": 30,
    "length": 20,
    "top": 5,
    "tokens": False,
    "pairs": True,
    "weight": 1.0,
    "rates": (1e-3, 1e-3),
    "schedule": cosine,
}
GLYPHS: dict[str, Any] = {"rates": (1e-2, 5e-3), "schedule": cosine_step}

CASES = [
    Case("l2p", "l2p", partial(l2p, **L2P), pool_of, slow=True),
    Case(
        "l2p on glyphs",
        "l2p",
        partial(l2p, **L2P | GLYPHS),
        pool_of,
        options={"train.epochs": 3},
        bench="glyphs",
        slow=True,
    ),
    Case(
        "l2p, 1 of 10 by pairs of images, with ties",
        "l2p",
        partial(l2p, **L2P | {"length": 1, "top": 1}),
        pool_of,
        options={
            "method.length": 1,
            "method.top_k": 1,
            "train.batch_size": 2,
            "train.epochs": 1,
        },
    ),
    Case("l2p_pp", "l2p_pp", partial(l2p, **L2P_PP), pool_of, slow=True),
    Case(
        "l2p_pp, 2 of 3, own keys, on glyphs",
        "l2p_pp",
        partial(l2p, **L2P_PP | GLYPHS | {"pairs": False, "top": 2, "pool": 3, "weight": 0.5}),
        pool_of,
        options={
            "method.key_pairs": False,
            "method.top_k": 2,
            "method.pool": 3,
            "method.key_weight": 0.5,
        },
        bench="glyphs",
        slow=True,
    ),
    Case("dualprompt", "dualprompt", dualprompt, dual_of, options=deep(6), slow=True),
    Case(
        "dualprompt in two blocks, on glyphs",
        "dualprompt",
        partial(dualprompt, general=(1, 4), expert=(1, 2), weight=0.3, **GLYPHS),
        dual_of,
        options=deep(2)
        | {
            "method.general_length": 4,
            "method.expert_length": 2,
            "method.key_weight": 0.3,
        },
        bench="glyphs",
        slow=True,
    ),
    Case("coda_prompt", "coda_prompt", coda, components_of, options=deep(6), slow=True),
    Case("l2p on domains", "l2p", partial(l2p, **L2P), pool_of, options=domains(), slow=True),
    Case("dualprompt on domains", "dualprompt", dualprompt, dual_of, options=domains(5), slow=True),
    Case(
        "coda_prompt on domains", "coda_prompt", coda, components_of, options=domains(5), slow=True
    ),
    Case(
        "coda_prompt, 7 components in 3 blocks, on glyphs",
        "coda_prompt",
        partial(coda, components=7, length=2, blocks=3, rates=(3e-3, 5e-3), schedule=cosine_step),
        components_of,
        options={"method.components": 7, "method.length": 2},
        bench="glyphs",
        slow=True,
    ),
]
