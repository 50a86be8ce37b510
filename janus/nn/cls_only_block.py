"""The last block of a timm ViT, computed for the one token that its features come from.

    blocks 1 .. L-1   all tokens, timm's own
    block L           K and V of all tokens; Q, attention, projection and MLP of the CLS row alone

With token pooling nothing else of the last block reaches the feature: the same function with less
arithmetic, about 6 % of a step of 12 blocks. Only for the layout that `fits` recognises, and only
inside `model(images)`: every other model, block or caller gets timm's own forward.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from janus.machine.import_timm import timm
from janus.nn.cast_cache import set_attention_kernel
from janus.nn.lora import LoraQKV, project

Attention: Any = timm.models.vision_transformer.Attention
Block: Any = timm.models.vision_transformer.Block
VisionTransformer: Any = timm.models.vision_transformer.VisionTransformer


class ClsOnlyBlock(Block):  # type: ignore[misc]
    """timm's Block; while `cls_only`, its output is the CLS row: (B, N, D) -> (B, 1, D)."""

    cls_only = False

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Row 0 of the block's output, or all rows."""
        if not self.cls_only or args or kwargs or not fits(self.attn):
            every: Tensor = super().forward(x, *args, **kwargs)
            return every
        cls = x[:, :1] + self.drop_path1(self.ls1(attend(self.attn, self.norm1(x))))
        out: Tensor = cls + self.drop_path2(self.ls2(self.mlp(self.norm2(cls))))
        return out


class ClsOnlyViT(VisionTransformer):  # type: ignore[misc]
    """timm's VisionTransformer; called as a whole, it asks the last block for its CLS row."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Images (B, C, H, W) to features (B, D)."""
        last: Any = self.blocks[-1]
        last.cls_only = True
        try:
            out: Tensor = super().forward(x, *args, **kwargs)
            return out
        finally:
            last.cls_only = False


def fits(attn: Any) -> bool:
    """Whether attention is timm's plain one: no norms, no gate, no dropout, a fused qkv."""
    if type(attn) is not Attention or attn.attn_drop.p:
        return False
    # by name: some were added by later versions of timm
    parts = (getattr(attn, name, None) for name in ("q_norm", "k_norm", "norm", "gate"))
    bare = all(part is None or isinstance(part, nn.Identity) for part in parts)
    return bare and isinstance(attn.qkv, nn.Linear | LoraQKV)


def attend(attn: Any, x: Tensor) -> Tensor:
    """Row 0 of `attn(x)`: (B, N, D) -> (B, 1, D)."""
    if isinstance(attn.qkv, LoraQKV):
        query, rest = attn.qkv.cls_and_rest(x)
    else:
        width = attn.num_heads * attn.head_dim
        query = project(attn.qkv, x[:, :1], slice(0, width))
        rest = project(attn.qkv, x, slice(width, 3 * width))
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
    """Let `model(images)` leave out what its feature does not need. Changes the model in place.

    No name, weight or state changes; `forward_features` goes on giving all tokens.
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
