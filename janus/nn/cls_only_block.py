"""Computes the last block of a timm ViT for the CLS token only, from which the feature is taken.

    blocks 1 .. L-1   all tokens, by timm's own code
    block L           K and V of all tokens; Q, attention, projection and MLP of the CLS row only

With token pooling the other rows of the last block do not reach the feature, so the result is the
same and a step of 12 blocks takes about 6 % less arithmetic. Applied only if `is_plain_attention`
accepts the attention, and only inside `model(images)`; everything else runs timm's own forward.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from janus.machine.import_timm import timm
from janus.nn.cast_cache import set_attention_kernel
from janus.nn.lora import LoraQKV, linear_rows

Attention: Any = timm.models.vision_transformer.Attention
Block: Any = timm.models.vision_transformer.Block
VisionTransformer: Any = timm.models.vision_transformer.VisionTransformer


class ClsOnlyBlock(Block):  # type: ignore[misc]
    """timm's Block; while `cls_only` is set it returns the CLS row: (B, N, D) -> (B, 1, D)."""

    cls_only = False

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Row 0 of the block's output if `cls_only`, else all rows."""
        if not self.cls_only or args or kwargs or not is_plain_attention(self.attn):
            every: Tensor = super().forward(x, *args, **kwargs)
            return every
        cls = x[:, :1] + self.drop_path1(self.ls1(attend(self.attn, self.norm1(x))))
        out: Tensor = cls + self.drop_path2(self.ls2(self.mlp(self.norm2(cls))))
        return out


class ClsOnlyViT(VisionTransformer):  # type: ignore[misc]
    """timm's VisionTransformer, whose `forward` computes only the CLS row of the last block."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Images (B, C, H, W) to features (B, D)."""
        last: Any = self.blocks[-1]
        last.cls_only = True
        try:
            out: Tensor = super().forward(x, *args, **kwargs)
            return out
        finally:
            last.cls_only = False


def is_plain_attention(attn: Any) -> bool:
    """Whether this is timm's plain attention: no norms, gate or dropout, and a fused qkv."""
    if type(attn) is not Attention or attn.attn_drop.p:
        return False
    # by name, because later versions of timm added some of them
    parts = (getattr(attn, name, None) for name in ("q_norm", "k_norm", "norm", "gate"))
    bare = all(part is None or isinstance(part, nn.Identity) for part in parts)
    return bare and isinstance(attn.qkv, nn.Linear | LoraQKV)


def attend(attn: Any, x: Tensor) -> Tensor:
    """Row 0 of `attn(x)`: (B, N, D) -> (B, 1, D)."""
    if isinstance(attn.qkv, LoraQKV):
        query, rest = attn.qkv.cls_and_rest(x)
    else:
        width = attn.num_heads * attn.head_dim
        query = linear_rows(attn.qkv, x[:, :1], slice(0, width))
        rest = linear_rows(attn.qkv, x, slice(width, 3 * width))
    heads = (attn.num_heads, attn.head_dim)
    q = query.unflatten(-1, heads).transpose(1, 2)
    k, v = rest.unflatten(-1, (2, *heads)).permute(2, 0, 3, 1, 4).unbind(0)
    set_attention_kernel(attn, (x,))
    if attn.fused_attn:
        found = functional.scaled_dot_product_attention(q, k, v)
    else:
        found = (q * attn.scale @ k.mT).softmax(-1) @ v
    out: Tensor = attn.proj_drop(attn.proj(found.transpose(1, 2).flatten(2)))
    return out


def compute_cls_only(model: nn.Module) -> nn.Module:
    """Make `model(images)` compute only the CLS row of the last block. Changes the model in place.

    Names, weights and state stay the same; `forward_features` still returns all tokens. A model of
    another architecture is returned unchanged.
    """
    vit: Any = model
    if (
        type(vit) is VisionTransformer
        and vit.global_pool == "token"
        and vit.attn_pool is None
        and isinstance(vit.norm, nn.LayerNorm | nn.Identity)
        and type(vit.blocks[-1]) is Block
    ):
        vit.blocks[-1].__class__ = ClsOnlyBlock
        vit.__class__ = ClsOnlyViT
    return model
