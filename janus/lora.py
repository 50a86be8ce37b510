"""Low-rank adapters on slices of a vision transformer's fused qkv projection.

    x (B, N, D) --> Linear qkv (frozen) -------------------> q | k | v  (B, N, 3D)
                \\-> A (targets*r x D) -> B per target, * s ------^ added to the target thirds
                \\-> frozen adapters of earlier tasks, if any ----^ (see bank.py)

The Linear is wrapped; timm's attention is never re-implemented, so fused attention, compilation
and every timm ViT with a fused `qkv` stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from janus.errors import ConfigError
from janus.rng import generator

Tap = Callable[[int, Tensor], None]
"""Called with (block index, layer input (rows, D)) while it is installed."""


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
        self.probe: tuple[Tensor, Tensor] | None = None
        self.frozen: tuple[Tensor, Tensor] | None = None
        """A (targets, R, D) and B (targets, D, R) that add to the output and are not trained."""
        self.gains: Tensor | None = None
        """Factor (R,) of each frozen rank-one term; may carry a gradient."""
        self.routing: Tensor | None = None
        """R (targets, r, r) between A and B: the update becomes s B R A."""

    def rows(self, target: int) -> slice:
        """Output rows of the fused projection that belong to a target."""
        start = "qkv".index(self.targets[target]) * self.width
        return slice(start, start + self.width)

    def forward(self, x: Tensor) -> Tensor:
        """qkv(x) with the adapters' share added: (B, N, D) -> (B, N, 3D)."""
        if self.tap is not None:
            self.tap(self.block, x.detach().reshape(-1, self.width))
        out: Tensor = self.linear(x)
        if not self.enabled:
            return out
        self._add(out, x, self.a, self.up())
        if self.frozen is not None:
            self._add(out, x, *self.frozen, self.gains)
        if self.probe is not None:
            # adds zero; its gradient is G V without G (see `start_probe`)
            basis, zero = self.probe
            for target in range(len(self.targets)):
                out[..., self.rows(target)] += functional.linear(x @ basis, zero[target])
        return out

    def _add(
        self, out: Tensor, x: Tensor, a: Tensor, b: Tensor, gains: Tensor | None = None
    ) -> None:
        """Add B diag(gains) A x to the target thirds of `out`."""
        hidden = functional.linear(x, a.flatten(0, 1)).split(a.shape[1], dim=-1)
        for target, (low, up) in enumerate(zip(hidden, b.unbind(), strict=True)):
            gained = low if gains is None else low * gains
            out[..., self.rows(target)] += functional.linear(gained, up)

    def up(self) -> Tensor:
        """What follows A: s B, or s B R under a routing matrix; (targets, D, r)."""
        return self.scale * (self.b if self.routing is None else self.b @ self.routing)

    def start_probe(self, basis: Tensor) -> None:
        """Let the next backward also leave (dL/dW) V, (targets, D, q), in `probe[1].grad`."""
        zero = torch.zeros(len(self.targets), self.width, basis.shape[1], device=basis.device)
        self.probe = (basis, zero.requires_grad_())

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
        """The frozen weight's rows that merging may have changed, one (D, D) view per target."""
        return [self.linear.weight.data[self.rows(t)] for t in range(len(self.targets))]


Layer = TypeVar("Layer", bound=LoraQKV)


def attach(
    model: nn.Module, targets: str, rank: int, scale: float, first: int = 0
) -> list[LoraQKV]:
    """Wrap the `attn.qkv` of a timm ViT's blocks in place and return the wrappers.

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

    `first` > 0: only that many of the first blocks, all where there are fewer.
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
    """Draw A as kaiming_uniform(a=sqrt 5) does, bound 1/sqrt(D) [seen: InfLoRA]; B = 0."""
    bound = layer.width**-0.5
    draw = torch.rand(layer.a.shape, generator=generator("lora-a", *key, layer.block))
    layer.a.copy_((2 * draw - 1) * bound)
    layer.b.zero_()


class tapped:  # noqa: N801 (reads as a verb at the call: `with tapped(layers, collect):`)
    """While active, every layer's input rows are handed to `tap`."""

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
