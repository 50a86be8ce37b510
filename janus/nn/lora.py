"""LoRA: low-rank adapters on q, k and v of a vision transformer's fused qkv projection.

    x (B, N, D) --> Linear qkv (frozen) -------------------> q | k | v  (B, N, 3D)
                \\-> A (targets*r x D) -> B per target, * s ------^ added to the target thirds
                \\-> frozen adapters of earlier tasks, if any ----^ (see lora_bank.py)

The Linear is wrapped and timm's attention is not re-implemented, so fused attention, compilation
and every timm ViT with a fused `qkv` keep working. The last block may compute parts of the
projection only (cls_only_block.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from janus.errors import ConfigError
from janus.keyed_random import generator
from janus.nn import matmul
from janus.nn.cast_cache import FrozenLinear, as_operand

Tap = Callable[[int, Tensor], None]
"""A function that receives (block index, layer input (rows, D)) in every forward pass."""


class LoraQKV(nn.Module):
    """A frozen `qkv` Linear plus one trainable low-rank pair per target projection."""

    def __init__(self, linear: nn.Linear, block: int, targets: str, rank: int, scale: float):
        super().__init__()
        width = linear.in_features
        self.linear = linear
        self.block, self.targets = block, targets
        self.scale: float | Tensor = scale
        self.width = width
        self.a = nn.Parameter(torch.zeros(len(targets), rank, width))
        self.b = nn.Parameter(torch.zeros(len(targets), width, rank))
        self.enabled = True
        self.tap: Tap | None = None
        self.gradient_tap: tuple[Tensor, Tensor] | None = None
        self.frozen: tuple[Tensor, Tensor] | None = None
        """A (targets, R, D) and B (targets, D, R) that add to the output without being trained."""
        self.gains: Tensor | None = None
        """Factor (R,) of each frozen rank-one term; may carry a gradient."""
        self.routing: Tensor | None = None
        """R (targets, r, r), inserted between A and B: the update becomes s B R A."""

    def rows(self, target: int) -> slice:
        """Output rows of the fused projection that belong to the target with this number."""
        start = "qkv".index(self.targets[target]) * self.width
        return slice(start, start + self.width)

    def forward(self, x: Tensor) -> Tensor:
        """qkv(x) plus the adapters' output: (B, N, D) -> (B, N, 3D)."""
        x = as_operand(x)
        self._show(x)
        return self.part(x, slice(0, 3 * self.width))

    def cls_and_rest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """q of the CLS token (B, 1, D), and k | v of all tokens (B, N, 2D)."""
        x = as_operand(x)
        self._show(x)
        width = self.width
        return self.part(x[:, :1], slice(0, width)), self.part(x, slice(width, 3 * width))

    def _show(self, x: Tensor) -> None:
        if self.tap is not None:
            self.tap(self.block, x.detach().reshape(-1, self.width))

    def part(self, x: Tensor, rows: slice) -> Tensor:
        """Output of the adapted projection of x for `rows`, which are whole thirds (q, k, v)."""
        # one row per token: adding in place to a view would make autograd copy gradients
        tokens = x.flatten(0, -2)
        out = linear_rows(self.linear, tokens, rows)
        if self.enabled:
            out = self._adapted(out, tokens, rows)
        return out.view(*x.shape[:-1], -1)

    def _adapted(self, out: Tensor, x: Tensor, rows: slice) -> Tensor:
        """Add the adapters' output for these thirds to `out` (tokens, thirds), in place."""
        # targets are in the order q, k, v, so those of a part are neighbours
        starts = [self.rows(target).start for target in range(len(self.targets))]
        inside = [target for target, start in enumerate(starts) if rows.start <= start < rows.stop]
        if not inside:
            return out
        mine = slice(inside[0], inside[-1] + 1)
        at = [start - rows.start for start in starts[mine]]
        out = self._add(out, at, x, self.a[mine], self.up()[mine])
        if self.frozen is not None:
            a, b = self.frozen
            out = self._add(out, at, x, a[mine], b[mine], self.gains)
        if self.gradient_tap is not None:
            # adds zero; its gradient is G V without G (see `tap_gradient`)
            basis, zero = self.gradient_tap
            for start, up in zip(at, zero[mine], strict=True):
                out = add_products(out, x @ basis, up[None], [start])
        return out

    def _add(
        self,
        out: Tensor,
        at: list[int],
        x: Tensor,
        a: Tensor,
        b: Tensor,
        gains: Tensor | None = None,
    ) -> Tensor:
        """Add B diag(gains) A x to the thirds of `out` that start at columns `at`."""
        hidden = matmul.linear(x, a.flatten(0, 1))
        if gains is not None:
            hidden = (hidden.unflatten(-1, a.shape[:2]) * gains).flatten(-2)
        return add_products(out, hidden, b, at)

    def up(self) -> Tensor:
        """The factor to the left of A: s B, or s B R with a routing matrix; (targets, D, r)."""
        return self.scale * (self.b if self.routing is None else self.b @ self.routing)

    def tap_gradient(self, basis: Tensor) -> None:
        """Make backward also add (dL/dW) V, (targets, D, q), to `gradient_tap[1].grad`.

        A tap that exists is kept, because a step may have several backward passes.
        """
        if self.gradient_tap is not None:
            return
        zero = torch.zeros(len(self.targets), self.width, basis.shape[1], device=basis.device)
        self.gradient_tap = (basis, zero.requires_grad_())

    @torch.no_grad()
    def update(self) -> Tensor:
        """The adapters' full-weight update s B A: (targets, D, D)."""
        return self.up() @ self.a

    @torch.no_grad()
    def merge(self) -> None:
        """Add the adapters' update to the frozen weight and set B to zero."""
        for target, delta in enumerate(self.update()):
            self.linear.weight[self.rows(target)] += delta
        self.b.zero_()

    def slices(self) -> list[Tensor]:
        """The rows of the frozen weight that `merge` changes: one (D, D) view per target."""
        return [self.linear.weight.detach()[self.rows(t)] for t in range(len(self.targets))]


def linear_rows(linear: nn.Linear, x: Tensor, rows: slice) -> Tensor:
    """Some output rows of a Linear: (..., D) -> (..., rows)."""
    if rows == slice(0, linear.out_features):
        out: Tensor = linear(x)
        return out
    weight: Tensor = linear.weight
    bias: Tensor | None = linear.bias
    if isinstance(linear, FrozenLinear):
        weight, bias = linear.operands()
    return matmul.linear(x, weight[rows], None if bias is None else bias[rows])


class _AddProducts(Function):
    """See `add_products`."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, hidden: Tensor, up: Tensor, at: list[int]) -> Tensor:
        ctx.save_for_backward(hidden, up)
        ctx.at = at
        ctx.mark_dirty(out)
        for start, part, b in zip(at, hidden.split(up.shape[2], dim=1), up, strict=True):
            out[:, start : start + len(b)].addmm_(part, b.mT)
        return out

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        hidden, up = ctx.saved_tensors
        parts = hidden.split(up.shape[2], dim=1)
        thirds = [grad[:, start : start + up.shape[1]] for start in ctx.at]
        grad_hidden = grad_up = None
        if ctx.needs_input_grad[1]:
            grad_hidden = torch.cat([g @ b for g, b in zip(thirds, up, strict=True)], dim=1)
        if ctx.needs_input_grad[2]:
            grad_up = torch.stack([g.mT @ part for g, part in zip(thirds, parts, strict=True)])
        return grad, grad_hidden, grad_up, None


def add_products(out: Tensor, hidden: Tensor, up: Tensor, at: list[int]) -> Tensor:
    """Add hidden_p up_p^T to the columns of `out` (N, W) that start at at[p], in place.

    hidden: (N, P r), parts of r columns one after another; up: (P, D, r). A custom autograd
    function, because the backward pass of `out[..., rows] += product` copies the whole gradient
    twice per slice.
    """
    added: Tensor = _AddProducts.apply(out, hidden.to(out.dtype), up.to(out.dtype), at)
    return added


Layer = TypeVar("Layer", bound=LoraQKV)


def attach_lora(
    model: nn.Module, targets: str, rank: int, scale: float, first: int = 0
) -> list[LoraQKV]:
    """Wrap `attn.qkv` in the blocks of a timm ViT in place; returns the wrappers.

    `first` as in `wrap`. Raises ConfigError when the model has no fused qkv or the rank does not
    fit its width.
    """
    width = qkv_width(model)
    if not 1 <= rank <= width:
        raise ConfigError(f"method.rank must be between 1 and the width {width}, got {rank}")
    return wrap(model, lambda linear, block: LoraQKV(linear, block, targets, rank, scale), first)


def qkv_width(model: nn.Module) -> int:
    """Input width D of the blocks' fused qkv. Raises ConfigError when the model has none."""
    blocks = getattr(model, "blocks", None)
    if blocks is None or not all(hasattr(b, "attn") and hasattr(b.attn, "qkv") for b in blocks):
        raise ConfigError(
            f"{type(model).__name__} has no blocks[i].attn.qkv to adapt; choose a timm ViT "
            "(vit_*) as backbone.model"
        )
    return int(blocks[0].attn.qkv.in_features)


def wrap(model: nn.Module, make: Callable[[nn.Linear, int], Layer], first: int = 0) -> list[Layer]:
    """Replace the blocks' `attn.qkv` by `make(qkv, block index)`, on the same device.

    `first` > 0: only in that many of the first blocks (in all blocks if there are fewer).
    """
    qkv_width(model)
    layers = []
    blocks = list(cast(Iterable[Any], model.blocks))
    for index, block in enumerate(blocks[: first or None]):
        layer = make(block.attn.qkv, index)
        layer.to(block.attn.qkv.weight.device)
        block.attn.qkv = layer
        layers.append(layer)
    return layers


@torch.no_grad()
def start_a(layer: LoraQKV, key: tuple[str | int, ...]) -> None:
    """Draw A like kaiming_uniform(a=sqrt 5), bound 1/sqrt(D) [seen: InfLoRA]; set B to 0."""
    bound = layer.width**-0.5
    draw = torch.rand(layer.a.shape, generator=generator("lora-a", *key, layer.block))
    layer.a.copy_((2 * draw - 1) * bound)
    layer.b.zero_()


class tapped:  # noqa: N801 (reads as a verb at the call: `with tapped(layers, collect):`)
    """Context manager: while it is active, `tap` receives the input rows of every layer."""

    def __init__(self, layers: list[LoraQKV], tap: Tap) -> None:
        self.layers, self.tap = layers, tap

    def __enter__(self) -> None:
        for layer in self.layers:
            layer.tap = self.tap

    def __exit__(self, *exception: object) -> None:
        for layer in self.layers:
            layer.tap = None


def parameters(layers: list[LoraQKV]) -> Iterator[nn.Parameter]:
    """All A and B."""
    for layer in layers:
        yield layer.a
        yield layer.b
