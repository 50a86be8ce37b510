"""What references are written with: a plain ViT, optimisers and schedules, from their formulas.

Nothing here comes from the product. Shapes: B images, N tokens, D width, H heads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import unfold

from janus.keyed_random import generator
from tests.parity.frame import Data, Given, Trace

HEADS = 2
Prefix = tuple[Tensor, Tensor]
"""Extra keys and values (B, P, D) of one block."""


# ---- network -----------------------------------------------------------------------------------
def norm(x: Tensor, w: dict[str, Tensor], name: str) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias; eps is timm's 1e-6 unless `w` names one."""
    centred, eps = x - x.mean(-1, keepdim=True), w.get(f"{name}.eps", torch.tensor(1e-6))
    spread = (centred.square().mean(-1, keepdim=True) + eps).sqrt()
    return centred / spread * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(x: Tensor, w: dict[str, Tensor], name: str) -> Tensor:
    """x W^T + b."""
    return x @ w[f"{name}.weight"].mT + w[f"{name}.bias"]


def split_heads(x: Tensor) -> Tensor:
    """(B, N, D) -> (B, H, N, D / H)."""
    return x.reshape(*x.shape[:2], HEADS, -1).transpose(1, 2)


def embed(w: dict[str, Tensor], images: Tensor) -> Tensor:
    """Patches of 8 x 8 pixels and the CLS token, with positions: (B, 1 + patches, D)."""
    patches = unfold(images, 8, stride=8).mT  # (B, patches, C 64)
    kernel = w["patch_embed.proj.weight"].flatten(1)
    tokens = patches @ kernel.mT + w["patch_embed.proj.bias"]
    cls = w["cls_token"].expand(len(images), -1, -1)
    return torch.cat([cls, tokens], 1) + w["pos_embed"]


def features(
    w: dict[str, Tensor],
    images: Tensor,
    delta: Sequence[Tensor | None] = (),
    inputs: list[Tensor] | None = None,
    prefix: Callable[[int], Prefix | None] = lambda block: None,
    mlp: Callable[[int, Tensor, Tensor], Tensor] = lambda block, x, out: out,
    tokens: Tensor | None = None,
    final_norm: str = "norm",
    every: bool = False,
) -> Tensor:
    """CLS feature (B, D) after the final norm; with `every` the output (B, N, D) of all tokens.

    delta: of each block (3D, D) or None, added to the weight of qkv. inputs: gets the input
    (B N, D) of every block's qkv. prefix: keys and values before the tokens'. mlp: (block, the
    residual stream before norm2, the MLP's output) -> what is added to the stream. tokens: stand
    in place of `embed(w, images)`; the feature is then row 0 of the output.
    """
    x = embed(w, images) if tokens is None else tokens
    depth = sum(name.endswith("qkv.weight") for name in w)
    for i in range(depth):
        at = f"blocks.{i}"
        h = norm(x, w, f"{at}.norm1")
        if inputs is not None:
            inputs.append(h.detach().flatten(0, 1))
        qkv = linear(h, w, f"{at}.attn.qkv")
        if i < len(delta) and (change := delta[i]) is not None:
            qkv = qkv + h @ change.mT
        q, k, v = qkv.chunk(3, -1)
        if (extra := prefix(i)) is not None:
            k, v = torch.cat([extra[0], k], 1), torch.cat([extra[1], v], 1)
        q, k, v = map(split_heads, (q, k, v))
        weight = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
        mixed = (weight @ v).transpose(1, 2).flatten(2)
        x = x + linear(mixed, w, f"{at}.attn.proj")
        hidden = linear(norm(x, w, f"{at}.norm2"), w, f"{at}.mlp.fc1")
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        x = x + mlp(i, x, linear(hidden, w, f"{at}.mlp.fc2"))
    out = norm(x, w, final_norm)
    return out if every else out[:, 0]


def on_thirds(targets: str, updates: Sequence[Tensor]) -> Tensor:
    """(3D, D): the update of each target on its third of q | k | v, zero elsewhere."""
    found = dict(zip(targets, updates, strict=True))
    return torch.cat([found.get(name, torch.zeros_like(updates[0])) for name in "qkv"])


# ---- losses ------------------------------------------------------------------------------------
def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """mean of log sum_j exp z_j - z_y."""
    own = logits.gather(1, labels[:, None])[:, 0]
    return (logits.logsumexp(1) - own).mean()


# ---- schedules: factor on the rate at epoch e of K, step s of S in the epoch ---------------------
Schedule = Callable[[int, int, int, int], float]


def cosine(e: int, K: int, s: int, S: int) -> float:
    """cos(99 pi max(e - 1, 0) / (200 (K - 1))): what the authors' scheduler gives."""
    return math.cos(99 * math.pi * max(e - 1, 0) / (200 * (K - 1))) if K > 1 else 1.0


def cosine_half(e: int, K: int, s: int, S: int) -> float:
    """(1 + cos(pi e / K)) / 2: torch's CosineAnnealingLR over K epochs."""
    return (1 + math.cos(math.pi * e / K)) / 2


def constant(e: int, K: int, s: int, S: int) -> float:
    """1."""
    return 1.0


def cosine_step(e: int, K: int, s: int, S: int) -> float:
    """cos(99 pi n / (200 (K S - 1))) at step n of all K S."""
    return math.cos(99 * math.pi * (e * S + s) / (200 * (K * S - 1)))


def drop(at: int, to: float = 0.1) -> Schedule:
    """`to` from epoch `at` on."""
    return lambda e, K, s, S: to if e >= at else 1.0


def milestones(at: tuple[int, ...], factor: float) -> Schedule:
    """`factor` to the number of milestones reached."""
    return lambda e, K, s, S: factor ** sum(e >= m for m in at)


# ---- optimisers: direction of a gradient; the step is -rate times it -----------------------------
class Adam:
    """Moments 0.9 and 0.999, corrected for their start."""

    def __init__(self, eps: float = 1e-8, source_eps: bool = False) -> None:
        """source_eps: eps beside sqrt(v) itself, before the correction."""
        self.eps, self.source_eps = eps, source_eps
        self.m: dict[int, Tensor] = {}
        self.v: dict[int, Tensor] = {}
        self.t: dict[int, int] = {}

    def __call__(self, key: int, g: Tensor) -> Tensor:
        t = self.t[key] = self.t.get(key, 0) + 1
        m = self.m[key] = 0.9 * self.m.get(key, torch.zeros_like(g)) + 0.1 * g
        v = self.v[key] = 0.999 * self.v.get(key, torch.zeros_like(g)) + 0.001 * g * g
        if self.source_eps:
            return m / (v.sqrt() + self.eps) * math.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        return m / (1 - 0.9**t) / ((v / (1 - 0.999**t)).sqrt() + self.eps)


class Sgd:
    """b <- 0.9 b + g."""

    def __init__(self, momentum: float = 0.9) -> None:
        self.momentum = momentum
        self.b: dict[int, Tensor] = {}

    def __call__(self, key: int, g: Tensor) -> Tensor:
        self.b[key] = g if key not in self.b else self.momentum * self.b[key] + g
        return self.b[key]


Gradient = Callable[[Tensor], list[Tensor]]
Finish = Callable[[int, Tensor], Tensor]


def train(
    task: Data,
    told: Trace,
    params: Sequence[tuple[Tensor, float]],
    loss: Callable[[Tensor, Tensor], Tensor],
    direction: Adam | Sgd | None = None,
    schedule: Schedule = cosine,
    decay: float = 0.0,
    gradient: Gradient | None = None,
    finish: Finish = lambda index, step: step,
) -> None:
    """All epochs of a task; tells every loss.

    params: (tensor, base rate). loss: of images (B, ...) and labels (B,). decay: times the value,
    added to the gradient. gradient: of the loss, to one entry for each param; by default autograd's
    own. finish: (index of the param, step after the optimiser) -> what is taken off the param.
    """
    direction = Adam() if direction is None else direction
    tensors = [p for p, _ in params]
    for e, epoch in enumerate(task.epochs):
        for s, (x, y) in enumerate(epoch):
            value = loss(x, y)
            told.tell(loss=value)
            grads = gradient(value) if gradient else torch.autograd.grad(value, tensors)
            factor = schedule(e, len(task.epochs), s, len(epoch))
            steps = [
                finish(i, factor * rate * direction(i, g + decay * p.detach()))
                for i, ((p, rate), g) in enumerate(zip(params, grads, strict=True))
            ]
            with torch.no_grad():
                for p, step in zip(tensors, steps, strict=True):
                    p -= step


# ---- adapters and heads --------------------------------------------------------------------------
Pairs = tuple[list[Tensor], list[Tensor]]
"""A (P, r, D) and B (P, D, r) of every block."""
Head = tuple[Tensor, Tensor]
"""Weight (C, D) and bias (C,) of one task."""


def new_adapters(given: Given, index: int, targets: str, rank: int, depth: int = 0) -> Pairs:
    """A uniform in +-1 / sqrt(D), B = 0, for all blocks or the first `depth`."""
    width, shape = given.width, (len(targets), rank, given.width)
    keys = [("lora-a", *given.key, index, i) for i in range(depth or given.depth)]
    a = [uniform(shape, width**-0.5, generator(*key)).requires_grad_() for key in keys]
    b = [torch.zeros(len(targets), width, rank).requires_grad_() for _ in keys]
    return a, b


def new_head(given: Given, task: Data, bound: float = 1.0) -> Head:
    """Weight and bias uniform in +- bound / sqrt(D)."""
    draw, limit = generator("head", *given.key, task.index), bound * given.width**-0.5
    weight = uniform((task.classes, given.width), limit, draw).requires_grad_()
    return weight, uniform((task.classes,), limit, draw).requires_grad_()


def small_head(given: Given, task: Data) -> Head:
    """Weight normal with deviation 0.02, bias 0."""
    draw = generator("head", *given.key, task.index)
    weight = 0.02 * torch.randn(task.classes, given.width, generator=draw)
    return weight.requires_grad_(), torch.zeros(task.classes, requires_grad=True)


def add_head(heads: list[Head], given: Given, task: Data) -> None:
    """A new head where the task brings classes; in domain streams the first one goes on."""
    if task.fresh:
        heads.append(new_head(given, task))


def dense(targets: str, pairs: Pairs, scale: float = 1.0) -> list[Tensor]:
    """(3D, D) of every block: s B A on the targets' thirds."""
    return [on_thirds(targets, list(scale * b @ a)) for a, b in zip(*pairs, strict=True)]


def added(*changes: Sequence[Tensor]) -> list[Tensor]:
    """Sum of changes, block by block."""
    return [torch.stack(parts).sum(0) for parts in zip(*changes, strict=True)]


def scores(f: Tensor, heads: Sequence[Head]) -> Tensor:
    """Logits of all heads side by side (B, C)."""
    return torch.cat([f @ weight.mT + bias for weight, bias in heads], 1)


def tell_end(
    told: Trace, given: Given, task: Data, delta: Sequence[Tensor], heads: Sequence[Head]
) -> None:
    """What every method with linear heads holds at a task's end."""
    weight, bias = heads[-1]
    told.tell(weights=torch.stack(list(delta)), head=weight, bias=bias)
    with torch.no_grad():
        told.tell(logits=scores(features(given.weights, task.tests, delta), heads))


# ---- draws -------------------------------------------------------------------------------------
def uniform(shape: Sequence[int], bound: float, draw: torch.Generator) -> Tensor:
    """Uniform in +- bound."""
    return (2 * torch.rand(*shape, generator=draw) - 1) * bound


# ---- prototypes ----------------------------------------------------------------------------------
@torch.no_grad()
def class_features(w: dict[str, Tensor], task: Data, delta: Sequence[Tensor] = ()) -> list[Tensor]:
    """Features (n, D) of each of the task's classes, images under the test transform."""
    f = torch.cat([features(w, x, delta) for x, _ in task.plain])
    y = torch.cat([y for _, y in task.plain])
    return [f[y == c] for c in classes_of(task)]


def classes_of(task: Data) -> Tensor:
    """Labels of the task's classes: (classes,)."""
    return torch.arange(task.first, task.first + task.classes)


def unit_means(w: dict[str, Tensor], task: Data, delta: Sequence[Tensor] = ()) -> Tensor:
    """Mean feature of each class, scaled to length 1: (classes, D)."""
    means = torch.stack([f.mean(0) for f in class_features(w, task, delta)])
    return means / means.norm(dim=1, keepdim=True)
