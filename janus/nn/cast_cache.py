"""What makes bf16 autocast worth its while on a frozen transformer.

Casts: autocast keeps those of trainable weights within a step, and casts frozen ones again for each
use, half a gigabyte of traffic per pass of a ViT-B. Here a cast stays until the weight changes. The
numbers are autocast's own; float32 stays the master that adapters are merged into.

Attention: on a CPU, the backward pass of torch's fused bf16 kernel takes several times as long as
timm's own unfused code (`python -m tests.perf.kernels`), and is used in float32 only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from janus.nn.matmul import linear


class FrozenLinear(nn.Linear):
    """nn.Linear by the faster library (products.py); under autocast, a frozen weight's cast is kept
    beside it (half its memory)."""

    _kept: tuple[object, Tensor, Tensor | None] | None = None

    def operands(self) -> tuple[Tensor, Tensor | None]:
        """(weight, bias) as a product under the current precision takes them."""
        weight, bias = self.weight, self.bias
        device = weight.device.type
        if weight.requires_grad or not torch.is_autocast_enabled(device):
            return weight, bias
        dtype = torch.get_autocast_dtype(device)
        # in-place changes count the version up; `.to` and the like replace the memory
        of = (dtype, *((t.data_ptr(), t._version) for t in (weight, bias) if t is not None))
        if self._kept is None or self._kept[0] != of:
            # prediction may run in inference mode, whose tensors no later training could use
            with torch.inference_mode(False), torch.no_grad():
                cast = None if bias is None else bias.to(dtype)
                self._kept = of, weight.to(dtype), cast
        return self._kept[1:]

    def forward(self, x: Tensor) -> Tensor:
        """x W^T + b."""
        return linear(x, *self.operands())


def as_operand(x: Tensor) -> Tensor:
    """x as products under the current autocast take it: cast once for all that read it."""
    device = x.device.type
    return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x


def keep_casts(model: nn.Module) -> nn.Module:
    """Turn every plain Linear of the model into a FrozenLinear, in place; the model itself."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = FrozenLinear
    return model


def hook_attention_kernel(model: nn.Module) -> nn.Module:
    """Let every timm attention choose its kernel in each pass; the model itself."""
    from janus.machine.import_timm import timm

    for module in model.modules():
        if isinstance(module, timm.models.vision_transformer.Attention):
            module.register_forward_pre_hook(set_attention_kernel)
    return model


def set_attention_kernel(attention: Any, inputs: tuple[Tensor, ...]) -> None:
    """Fused unless under autocast on a CPU, or where timm was told not to fuse."""
    on_cpu = inputs[0].device.type == "cpu" and torch.is_autocast_enabled("cpu")
    may_fuse = vars(attention).setdefault("may_fuse", attention.fused_attn)
    attention.fused_attn = may_fuse and not on_cpu
