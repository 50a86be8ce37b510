"""Speeds up bf16 autocast on a frozen transformer: cached weight casts, and a faster attention.

Casts: autocast caches the casts of trainable weights within a step, but casts frozen weights again
at every use, which moves half a gigabyte per pass of a ViT-B. Here the cast of a frozen weight is
kept until the weight changes. The values are the same as autocast's; adapters are merged into the
float32 weight.

Attention: on a CPU the backward pass of torch's fused bf16 kernel takes several times as long as
timm's unfused code (`python -m tests.perf.kernels`), so the fused kernel is used in float32 only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from janus.nn.matmul import linear


class FrozenLinear(nn.Linear):
    """An nn.Linear that multiplies by the faster library (matmul.py).

    Under autocast it keeps the cast of a frozen weight, which takes half the weight's memory.
    """

    _kept: tuple[object, Tensor, Tensor | None] | None = None

    def operands(self) -> tuple[Tensor, Tensor | None]:
        """(weight, bias) in the current precision, as a product needs them."""
        weight, bias = self.weight, self.bias
        device = weight.device.type
        if weight.requires_grad or not torch.is_autocast_enabled(device):
            return weight, bias
        dtype = torch.get_autocast_dtype(device)
        # in-place changes raise the version; `.to` and similar calls replace the memory
        of = (dtype, *((t.data_ptr(), t._version) for t in (weight, bias) if t is not None))
        if self._kept is None or self._kept[0] != of:
            # training could not use a cast made in inference mode, as prediction may run in
            with torch.inference_mode(False), torch.no_grad():
                cast = None if bias is None else bias.to(dtype)
                self._kept = of, weight.to(dtype), cast
        return self._kept[1:]

    def forward(self, x: Tensor) -> Tensor:
        """x W^T + b."""
        return linear(x, *self.operands())


def as_operand(x: Tensor) -> Tensor:
    """x cast to the autocast dtype, once for several products; x itself without autocast."""
    device = x.device.type
    return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x


def keep_casts(model: nn.Module) -> nn.Module:
    """Turn every plain Linear of the model into a FrozenLinear in place; returns the model."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = FrozenLinear
    return model


def hook_attention_kernel(model: nn.Module) -> nn.Module:
    """Make every timm attention choose its kernel at each call (a hook); returns the model."""
    from janus.machine.import_timm import timm

    for module in model.modules():
        if isinstance(module, timm.models.vision_transformer.Attention):
            module.register_forward_pre_hook(set_attention_kernel)
    return model


def set_attention_kernel(attention: Any, inputs: tuple[Tensor, ...]) -> None:
    """Use the fused kernel, except under autocast on a CPU or if timm's setting forbids it."""
    on_cpu = inputs[0].device.type == "cpu" and torch.is_autocast_enabled("cpu")
    may_fuse = vars(attention).setdefault("may_fuse", attention.fused_attn)
    attention.fused_attn = may_fuse and not on_cpu
