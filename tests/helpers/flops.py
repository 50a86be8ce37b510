"""Floating-point operations that a training step needs, and how fast this machine multiplies.

    naive  a plain frozen ViT: forward of every token, activation gradients of every block
    lean   what a CLS feature and the adapters' gradients need: the last block's K and V for all
           tokens and the rest for one row, no input gradient in the first block

Only products are counted (2 per multiply-add); norms, activations, softmax, optimisers and small
linear algebra are not, so that a share of the limit falls short by what they cost.

Symbols: B images, N tokens, R = B N rows, D width, H hidden width of the MLP, L blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from janus.methods.base.method import Method
from janus.nn.fourier_update import DenseQKV
from janus.nn.lora import LoraQKV
from janus.nn.matmul import linear
from tests.helpers.bed import clock

SHORTEST_S = 0.01
"""Least seconds that one look at the speed of products takes."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a vision transformer that decide its cost."""

    tokens: int
    width: int
    hidden: int
    blocks: int
    patch: int
    """Inputs of one patch: channels x side x side."""

    @classmethod
    def of(cls, model: Any) -> Shape:
        """Read off a timm ViT."""
        return cls(
            tokens=model.pos_embed.shape[1],
            width=model.embed_dim,
            hidden=model.blocks[0].mlp.fc1.out_features,
            blocks=len(model.blocks),
            patch=model.patch_embed.proj.weight[0].numel(),
        )

    # ---- the frozen network --------------------------------------------------------------------
    def naive(self, images: int) -> float:
        """Forward and activation gradients of the plain network."""
        block = 2 * self._linears(images * self.tokens) + 3 * self._attention(images, self.tokens)
        return self._embedding(images) + self.blocks * block

    def lean(self, images: int) -> float:
        """Forward and the gradients that are needed."""
        rows, square = images * self.tokens, self.width**2
        inner = 2 * self._linears(rows) + 3 * self._attention(images, self.tokens)
        keys_values, cls_row = (
            2 * rows * 2 * square,
            self._linears(images) - 2 * images * 2 * square,
        )
        last = 2 * (keys_values + cls_row) + 3 * self._attention(images, 1)
        no_input_gradient = 2 * rows * 3 * square
        return self._embedding(images) + (self.blocks - 1) * inner + last - no_input_gradient

    def _embedding(self, images: int) -> float:
        return 2 * images * (self.tokens - 1) * self.patch * self.width

    def _linears(self, rows: int) -> float:
        return 2 * rows * (4 * self.width**2 + 2 * self.width * self.hidden)

    def _attention(self, images: int, queries: int) -> float:
        return 2 * 2 * images * queries * self.tokens * self.width

    # ---- what methods add ----------------------------------------------------------------------
    def adapters(self, layer: LoraQKV, images: int) -> float:
        """Forward and gradients of one layer's adapters, and of frozen ones beside them."""
        rows = images * self.tokens
        trains_a, inner = layer.a.requires_grad, layer.block > 0
        if isinstance(layer, DenseQKV):  # the gradient of whole thirds; transforms not counted
            return 2 * rows * len(layer.targets) * self.width**2
        half = 2 * rows * self.width * layer.a.shape[0] * layer.a.shape[1]
        # both products forward; gradients of B, of what lies between, of A, of the input
        total = half * (3 + (trains_a or inner) + trains_a + inner)
        if layer.frozen is not None:
            bank = 2 * rows * self.width * layer.frozen[0].shape[0] * layer.frozen[0].shape[1]
            total += bank * (2 + (inner or layer.gains is not None) + inner)
        return total

    def estimation(self, images: int) -> float:
        """One half of x x^T of one layer's inputs."""
        return images * self.tokens * self.width * (self.width + 1)


def needed(method: Method, images: int) -> float:
    """Products that one step of a LoRA method needs."""
    shape = Shape.of(method.backbone)
    layers: list[LoraQKV] = getattr(method, "layers", [])
    total = shape.lean(images) + sum(shape.adapters(layer, images) for layer in layers)
    return total + shape.estimation(images) * len(getattr(method, "collectors", []))


class Multiplier:
    """Times the products of one block at a shape and precision: the machine's limit of the moment.

    The eight products of a block's four Linears, forward and towards their input. Taken before
    and after what it is compared with, since other work on the machine slows both.
    """

    def __init__(self, shape: Shape, images: int, precision: str, device: torch.device) -> None:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        rows, width, hidden = images * shape.tokens, shape.width, shape.hidden
        self.device = device
        pairs = [(width, 3 * width), (width, width), (width, hidden), (hidden, width)]
        self.products = []
        for inputs, outputs in pairs:
            weight = torch.randn(outputs, inputs, device=device, dtype=dtype)
            x = torch.randn(rows, inputs, device=device, dtype=dtype)
            g = torch.randn(rows, outputs, device=device, dtype=dtype)
            self.products += [(x, weight), (g, weight.mT)]
        self.work = sum(2 * a.shape[0] * b.shape[0] * b.shape[1] for a, b in self.products)
        self.rounds = 1
        self.speed()  # the first round warms up
        # a GPU has to be busy for longer than it takes to ask it
        self.rounds = max(1, round(SHORTEST_S * self.speed() / self.work))

    def speed(self, product: Callable[[Tensor, Tensor], Tensor] = linear) -> float:
        """FLOP/s, by the faster library, or of another product a b^T."""
        start = clock(self.device)
        for _ in range(self.rounds):
            for a, b in self.products:
                product(a, b)
        return self.rounds * self.work / (clock(self.device) - start)
