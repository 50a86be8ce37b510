"""What the product's methods hold, by the names that references use. Reads, never computes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.parity.frame import Given, Watch


def newest_head(method: Any, given: Given) -> dict[str, Tensor]:
    """The head in training."""
    head = method.heads.parts[-1]
    return {"head": head.weight, "bias": head.bias}


def adapters(method: Any, given: Given) -> dict[str, Tensor]:
    """A (L, P, r, D), B (L, P, D, r), the change of qkv (L, 3D, D), and the newest head."""
    return newest_head(method, given) | {
        "a": torch.stack([x.a for x in method.layers]),
        "b": torch.stack([x.b for x in method.layers]),
        "weights": torch.stack([change(x, given) for x in method.layers]),
    }


@torch.no_grad()
def change(layer: Any, given: Given) -> Tensor:
    """(3D, D): what a block's qkv differs by from the network before any adapter."""
    start = given.weights[f"blocks.{layer.block}.attn.qkv.weight"]
    whole = layer.linear.weight - start
    updates = layer.update()
    if layer.frozen is not None:
        a, b = layer.frozen
        updates = updates + (b if layer.gains is None else b * layer.gains) @ a
    for target, update in enumerate(updates):
        whole[layer.rows(target)] += update
    return whole


def protected(method: Any, given: Given) -> dict[str, Tensor]:
    """V V^T (L, D, D) and q (L,) of every block."""
    return {
        "protected": torch.stack([b.v @ b.v.mT for b in method.bases]),
        "sizes": torch.tensor([b.v.shape[1] for b in method.bases]),
    }


def prototypes(method: Any, given: Given) -> dict[str, Tensor]:
    """Unit class means (classes seen, D)."""
    return {"prototypes": method.prototypes.means}


def both(*watches: Watch | None) -> Watch:
    """What all of them read."""

    def read(method: Any, given: Given) -> dict[str, Any]:
        return {k: v for watch in watches if watch for k, v in watch(method, given).items()}

    return read
