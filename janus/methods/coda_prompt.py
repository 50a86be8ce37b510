"""CODA-Prompt (Smith et al., CVPR 2023): prompts assembled from components by attention.

In every prompted block, with components p_m, keys k_m and attention vectors a_m (m over all tasks
so far) and the query q:

    p = sum_m cos(q * a_m, k_m) p_m          (* element-wise)

A task adds M / T components, trains them and leaves the old ones frozen. New vectors are drawn
normal and orthonormalised against all old ones of their block (Gram-Schmidt), so that a task
starts in directions nobody uses. M = 100, length 8 (4 keys, 4 values), blocks 0-4, no
orthogonality penalty [seen: CODA-Prompt's scripts, which set its weight to 0]. Loss: CE alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from janus.data.stream import Task
from janus.errors import ConfigError
from janus.keyed_random import generator
from janus.methods.base.method import Context
from janus.methods.base.prompt_method import Choice, PromptMethod
from janus.nn.prompts import depth, half


def assembly_weights(query: Tensor, attention: Tensor, keys: Tensor) -> Tensor:
    """cos(q * a_m, k_m) for queries (B, D) and vectors (M, S, D): (B, M, S).

    (q * a) . k = q . (a * k) and |q * a|^2 = q^2 . a^2, so the product q * a, which would be
    (B, M, S, D), is never formed.
    """
    with torch.autocast(query.device.type, enabled=False):
        keys = torch.nn.functional.normalize(keys, dim=-1)
        dots = torch.einsum("bd,msd->bms", query, attention * keys)
        squares = torch.einsum("bd,msd->bms", query.square(), attention.square())
        weights: Tensor = dots * squares.clamp_min(1e-24).rsqrt()
        return weights


def orthonormal_start(old: Tensor | None, draw: Tensor) -> Tensor:
    """Gram-Schmidt of `draw` (n, S, K) against `old` (m, S, K) and itself, per block S.

    Unit rows, orthogonal to the span of the old ones even where training has made these oblique.
    Needs m + n <= K.
    """
    rows = draw.double().movedim(0, -1)  # (S, K, n)
    if old is not None:
        basis = torch.linalg.qr(old.double().movedim(0, -1)).Q
        for _ in range(2):  # twice: one projection leaves the rounding of what it removes
            rows = rows - basis @ (basis.mT @ rows)
    q, r = torch.linalg.qr(rows)
    # QR leaves signs open; Gram-Schmidt's diagonal is positive
    signs = r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    started: Tensor = (q * signs).movedim(-1, 0).to(draw.dtype)
    return started


class CodaPrompt(PromptMethod):
    """`prompts` (M, S, 2, L, D), `keys` and `attention` (M, S, D) over S blocks."""

    def __init__(self, context: Context) -> None:
        self.blocks = min(context.settings["blocks"], depth(context.backbone))
        super().__init__(context)

    def prompted_blocks(self) -> Sequence[int]:
        """The first blocks."""
        return range(self.blocks)

    def components(self, task: Task) -> int:
        """New components of a task: an equal share of those that can be orthogonal."""
        width, wanted = self.context.width, self.context.settings["components"]
        share = int(min(wanted, width) // task.count)
        if share == 0:
            raise ConfigError(
                f"method.components={wanted} (at most the width {width} can be orthogonal) gives "
                f"{task.count} tasks less than one component each; choose method.components >= "
                f"{task.count}, or at most {width} tasks"
            )
        return share

    def start_prompts(self, task: Task) -> dict[str, Tensor]:
        """Freeze the last task's components and start new ones, orthogonal to all before."""
        width, length = self.context.width, half(self.context.settings["length"])
        started, count = {}, self.components(task)
        shapes = {"prompts": (2, length, width), "keys": (width,), "attention": (width,)}
        for name, shape in shapes.items():
            self.freeze(name)
            draw_key = generator(f"coda-{name}", *self.context.key, task.index)
            draw = torch.randn(count, self.blocks, *shape, generator=draw_key)
            old = self.frozen[name].flatten(2).cpu() if name in self.frozen else None
            started[name] = orthonormal_start(old, draw.flatten(2)).view_as(draw)
        return started

    def choose(self, query: Tensor, training: bool) -> Choice:
        """The weighted sum of all components, per image and block; the same in training."""
        weights = assembly_weights(query, self.every("attention"), self.every("keys"))
        prompts = torch.einsum("bms,msxld->sbxld", weights, self.every("prompts"))
        return Choice(prompts.unbind(0))
