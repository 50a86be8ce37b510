"""Matrix products in float32 on a CPU by MKL or oneDNN, whichever is faster on this processor.

torch uses MKL, which reaches half of oneDNN's speed on AMD processors (`python -m
tests.perf.kernels`: "qkv, fp32"). No setting of torch selects oneDNN without also allowing it to
round to bf16, so this module calls the operator that torch.compile would use. The terms of each
sum are the same, in another order. The choice depends only on the processor, whose name every
result records.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

from janus.machine.devices import cpu_name
from janus.machine.plain_timm import plain_timm

SMALLEST = 2**13
"""Smallest number of weight entries for which oneDNN's faster product repays its overhead."""

STRIP = 128
"""Columns of a second moment computed per product on a CPU."""


@cache
def prefers_onednn() -> bool:
    """Whether this is an AMD processor and torch has oneDNN with the operator used here.

    False under JANUS_PLAIN_TIMM=1. Asked once in a process.
    """
    # by the name that `numerics` records, because equal records mean equal bytes
    if plain_timm() or not cpu_name().startswith("AMD "):
        return False
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b: (..., D), (W, D), (W,) -> (..., W). Uses oneDNN only where it is faster."""
    if not _takes(x, weight):
        return functional.linear(x, weight, bias)
    out: Tensor = _Linear.apply(x.reshape(-1, x.shape[-1]), weight, bias)
    # a view only if needed: autograd copies the gradients of views that are added to in place
    return out if x.dim() == 2 else out.view(*x.shape[:-1], -1)


def add_second_moment(total: Tensor, rows: Tensor, decay: float = 1.0) -> None:
    """total <- decay total + X^T X in float32, in place, on and above the diagonal.

    total: (D, D); rows X: (N, D), float32 or bf16. On a CPU the product is computed in strips of
    columns, each without its part below the diagonal block. On a GPU it is one product (narrow
    ones would use little of the GPU), directly on bf16 rows.
    """
    if rows.device.type == "cuda" and rows.dtype == torch.bfloat16:
        total.mul_(decay).add_(torch.mm(rows.mT, rows, out_dtype=torch.float32))
        return
    rows = rows.float()
    width = rows.shape[1]
    onednn = _takes(rows, total)
    columns = rows.mT.contiguous() if onednn else rows.mT
    strip = STRIP if rows.device.type == "cpu" else width
    for at in range(0, width, strip):
        mine, part = columns[at : at + strip], total[at : at + strip, at:]
        if onednn:
            part.mul_(decay).add_(_product(mine, columns[at:]))
        else:
            part.addmm_(mine, rows[:, at:], beta=decay)


def _takes(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and weight.numel() >= SMALLEST
        and prefers_onednn()
        and not torch.is_autocast_enabled("cpu")
        # torch.compile accepts this operator with constant weights only
        and not torch.compiler.is_compiling()
    )


def _product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """a b^T + bias for matrices; b may be a transposed view."""
    # for other layouts oneDNN uses its reference code, a thousand times slower
    if not b.is_contiguous() and not b.mT.is_contiguous():
        b = b.contiguous()
    out: Tensor = torch.ops.mkldnn._linear_pointwise(a.contiguous(), b, bias, "none", [], "")
    return out


class _Linear(Function):
    """See `linear`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x if weight.requires_grad else None, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        grad_x = _product(grad, weight.mT) if ctx.needs_input_grad[0] else None
        grad_w = _product(grad.mT, x.mT) if ctx.needs_input_grad[1] else None
        return grad_x, grad_w, grad.sum(0) if ctx.needs_input_grad[2] else None
