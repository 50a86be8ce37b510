"""Runs a frozen vision transformer with prompts, and computes the query that selects prompts.

    query   plain pass, no gradient          -> CLS feature q (B, D)
    prefix  extra keys and values in blocks  -> CLS feature (B, D)
    tokens  extra tokens beside the image's  -> their mean output (B, D)

timm's attention is not re-implemented. The sequence of a block with a prefix gets one extra token
per prefix vector at its end; the qkv output of these tokens is replaced by (0, key, value), and
their attention output is cut off. So fused attention, query and key norms, gates and every timm
ViT with a fused `qkv` keep working, and a pass without prefix is timm's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from janus.errors import ConfigError
from janus.keyed_random import generator


class PrefixQKV(nn.Module):
    """A frozen `qkv` Linear whose last L output tokens are prefix keys and values."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear
        self.prefix: Tensor | None = None
        """Projected keys and values (B or 1, 2, L, A), A = heads * head width; None: no prefix."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, N + L, D) -> (B, N + L, 3A); the last L inputs are ignored."""
        if self.prefix is None:
            out: Tensor = self.linear(x)
            return out
        out = self.linear(x[:, : x.shape[1] - self.prefix.shape[2]])
        keys, values = self.prefix.to(out.dtype).unbind(1)
        slots = torch.cat([torch.zeros_like(keys), keys, values], dim=-1)
        return torch.cat([out, slots.expand(len(x), -1, -1)], dim=1)


class PrefixAttention(nn.Module):
    """timm's attention module; every token also attends to the prefix set in `qkv.prefix`."""

    def __init__(self, attn: nn.Module) -> None:
        super().__init__()
        self.qkv = PrefixQKV(attn.qkv)  # type: ignore[arg-type]
        attn.qkv = self.qkv
        self.attn = attn

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        if self.qkv.prefix is None:
            plain: Tensor = self.attn(x, *args, **kwargs)
            return plain
        slots = x.new_zeros(len(x), self.qkv.prefix.shape[2], x.shape[2])
        out: Tensor = self.attn(torch.cat([x, slots], dim=1), *args, **kwargs)
        return out[:, : x.shape[1]]


class PromptedViT:
    """Runs one frozen timm ViT plain, with prefixes, or with prompt tokens."""

    def __init__(self, model: nn.Module, blocks: Sequence[int]) -> None:
        """Wrap `attn` in place in the given `blocks`, which can then take a prefix.

        Raises ConfigError when the model has no fused qkv.
        """
        self.model = model
        self.layers: list[PrefixAttention] = []
        every: Any = model.blocks
        for index in blocks:
            block = every[index]
            if not isinstance(getattr(block.attn, "qkv", None), nn.Linear):
                raise ConfigError(
                    f"{type(model).__name__} has no fused blocks[{index}].attn.qkv to prefix; "
                    "choose a timm ViT (vit_*) as backbone.model"
                )
            block.attn = PrefixAttention(block.attn)
            self.layers.append(block.attn)

    @torch.no_grad()
    def query(self, images: Tensor) -> Tensor:
        """CLS features (B, D) of the network without prompts, in float32, without gradient."""
        found: Tensor = self.model(images)
        return found.float()

    def prefixed(self, images: Tensor, prefixes: Sequence[Tensor]) -> Tensor:
        """CLS features (B, D) with one prefix (B or 1, 2, L, A) per wrapped block."""
        try:
            for layer, prefix in zip(self.layers, prefixes, strict=True):
                layer.qkv.prefix = prefix if prefix.shape[2] else None
            out: Tensor = self.model(images)
            return out
        finally:
            for layer in self.layers:
                layer.qkv.prefix = None

    def beside_tokens(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Mean output (B, D) of `tokens` (B or 1, L, D), which enter the first block.

        They are appended after the image's tokens: their position does not matter to attention,
        and CLS stays first.
        """

        def append(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            x = args[0]
            extra = tokens.to(x.dtype).expand(len(x), -1, -1)
            return torch.cat([x, extra], dim=1), *args[1:]

        model: Any = self.model
        handle = model.blocks[0].register_forward_pre_hook(append)
        try:
            out: Tensor = model.forward_features(images)
        finally:
            handle.remove()
        return out[:, -tokens.shape[1] :].mean(1)


def depth(model: nn.Module) -> int:
    """Number of transformer blocks. Raises ConfigError for a model that has none."""
    blocks = getattr(model, "blocks", None)
    if blocks is None:
        raise ConfigError(
            f"{type(model).__name__} has no blocks to prompt; choose a timm ViT (vit_*) as "
            "backbone.model"
        )
    return len(blocks)


def half(length: int) -> int:
    """Number of keys (= of values) of a prefix of `length`. Raises ConfigError if that is odd."""
    if length % 2:
        raise ConfigError(
            f"a prefix is half keys, half values: its length must be even, got {length}; "
            f"choose {length - 1} or {length + 1}"
        )
    return length // 2


def cosine(query: Tensor, keys: Tensor) -> Tensor:
    """Cosines (B, M) of queries (B, D) to keys (M, D), in float32 also under autocast."""
    with torch.autocast(query.device.type, enabled=False):
        return functional.normalize(query, dim=-1) @ functional.normalize(keys, dim=-1).mT


def uniform(shape: Sequence[int], low: float, high: float, *key: str | int) -> Tensor:
    """Draw start values uniformly in [low, high] from the generator of `key`."""
    return low + (high - low) * torch.rand(*shape, generator=generator(*key))
