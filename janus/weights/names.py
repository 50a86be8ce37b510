"""Translates tensor names of a weight file to timm's: strips prefixes, maps Hugging Face's names.

    module.base_encoder.blocks.0.norm1.weight             MoCo-v3       blocks.0.norm1.weight
    vit.encoder.layer.0.layernorm_before.weight           Hugging Face  blocks.0.norm1.weight
    vit.encoder.layer.0.attention.attention.query.weight  a third of    blocks.0.attn.qkv.weight

Only names are used, never shapes. An unknown name stays as it is, and `weights/fit.py` refuses it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

WRAPPERS = (
    "state_dict_ema",  # timm prefers the average of a training run, and so do we
    "model_ema",
    "module",
    "_orig_mod",
    "state_dict",
    "model",
    "teacher",  # the network that DINO, iBOT and DINOv2 evaluate
    "target_encoder",  # the network that I-JEPA evaluates
    "base_encoder",
    "encoder_q",
    "student",
    "backbone",
    "encoder",
    "vit",
    "deit",
    "dinov2",
    "dinov2_with_registers",
)
"""Names under which training code stores a network: a key of the file, or a prefix before a dot.
If a file has several, the first one in this list holds the network."""

PRETRAINING_PARTS = frozenset(
    (
        *("student", "momentum_encoder", "encoder_k", "queue", "queue_ptr", "predictor"),
        *("projector", "decoder", "decoder_embed", "decoder_blocks", "decoder_norm"),
        *("decoder_pred", "decoder_pos_embed", "mask_token", "masked_embed", "dino_head"),
        *("ibot_head", "dino_loss", "ibot_patch_loss"),
    )
)
"""Modules that are used only for pretraining and are left out."""

HEADS = frozenset(
    (
        *("head", "head_dist", "fc", "classifier", "cls_classifier", "distillation_classifier"),
        *("pre_logits", "pooler"),
    )
)
"""Modules after the features: classifiers and poolers, which are left out."""

TIMM_CONVERTS = frozenset(("visual", "vision_encoder", "radio_model", "preprocessor", "beit3"))
"""First parts of names that timm's `checkpoint_filter_fn` translates (OpenAI, OpenCLIP, ...)."""

HUGGING_FACE = "embeddings"
"""A module of every vision transformer of Hugging Face, and of no model of timm."""

_BLOCK = r"(?:encoder\.)?layers?\.(\d+)\."
_RULES = [
    (r"embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"embeddings\.position_embeddings$", "pos_embed"),
    (r"embeddings\.distillation_token$", "dist_token"),
    (r"embeddings\.(cls_token|mask_token|register_tokens)$", r"\1"),
    (r"layernorm\.", "norm."),
    (_BLOCK + r"(?:layernorm_before|norm1)\.", r"blocks.\1.norm1."),
    (_BLOCK + r"(?:layernorm_after|norm2)\.", r"blocks.\1.norm2."),
    (_BLOCK + r"attention\.(?:output\.dense|o_proj)\.", r"blocks.\1.attn.proj."),
    (_BLOCK + r"(?:intermediate\.dense|mlp\.fc1|mlp\.weights_in)\.", r"blocks.\1.mlp.fc1."),
    (
        _BLOCK + r"(?:output\.dense|mlp\.fc2|mlp\.weights_out|mlp\.down_proj)\.",
        r"blocks.\1.mlp.fc2.",
    ),
    (_BLOCK + r"layer_scale([12])\.lambda1$", r"blocks.\1.ls\2.gamma"),
]
_PARTS = [
    (_BLOCK + r"attention\.attention\.(query|key|value)\.", r"blocks.\1.attn.qkv."),
    (_BLOCK + r"attention\.([qkv]_proj)\.", r"blocks.\1.attn.qkv."),
    (_BLOCK + r"mlp\.(gate_proj|up_proj)\.", r"blocks.\1.mlp.fc1."),
]
"""Tensors that timm stores as one: concatenated in the order of `_ORDER`."""
_ORDER = ("query", "key", "value", "q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")
_WHOLE = {"query": 3, "q_proj": 3, "gate_proj": 2}


@dataclass
class Mapped:
    """Tensors under timm's names, and how the names were changed."""

    state: dict[str, Tensor]
    stripped: str = ""
    """The prefix that was removed, with its dot."""
    renamed: dict[str, str] = field(default_factory=dict)
    """{name pattern in the file: name pattern in timm}; `*` stands for a number."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Number of tensors outside the prefix that belong to pretraining or heads, by module."""


def to_timm(state: Mapping[str, Tensor], own: Collection[str], prefix: str = "") -> Mapped:
    """`state` under timm's names. `own`: the first parts of the model's names (`blocks`, ...).

    prefix: a prefix given by the user, with its dot; removed before the known ones.
    """
    prefix = _prefix(state, own, prefix)
    found = Mapped({}, stripped=prefix)
    for name, tensor in state.items():
        if name.startswith(prefix):
            found.state[name.removeprefix(prefix)] = tensor
        elif part_outside(name, prefix) in PRETRAINING_PARTS | HEADS:
            found.left_out[part_outside(name, prefix)] += 1
        else:
            found.state[name] = tensor
    if HUGGING_FACE in _first_parts(found.state):
        _from_hugging_face(found)
    return found


def _prefix(names: Collection[str], own: Collection[str], prefix: str) -> str:
    stop = {*own, *TIMM_CONVERTS, HUGGING_FACE}
    while True:
        parts = _first_parts(n.removeprefix(prefix) for n in names if n.startswith(prefix))
        wrapper = next((w for w in WRAPPERS if w in parts), None)
        if parts & stop or wrapper is None:
            return prefix
        prefix += f"{wrapper}."


def part_outside(name: str, prefix: str) -> str:
    """The first part of `name` that differs from `prefix`: 'c' for 'a.c.d' and prefix 'a.b.'."""
    for wrapper in prefix.split("."):
        if not wrapper or not name.startswith(f"{wrapper}."):
            break
        name = name.removeprefix(f"{wrapper}.")
    return name.split(".")[0]


def _first_parts(names: Iterable[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def _from_hugging_face(found: Mapped) -> None:
    """Translate Hugging Face's names in place; a name without a rule stays."""
    pieces: dict[str, dict[str, str]] = {}
    state: dict[str, Tensor] = {}
    for name, tensor in found.state.items():
        for pattern, ours in _PARTS:
            if match := re.match(pattern, name):
                whole = match.expand(ours) + name[match.end() :]
                pieces.setdefault(whole, {})[match[2]] = name
                break
        else:
            ours = _translated(name)
            if ours in state or (ours != name and ours in found.state):
                ours = name  # the file has both names: this tensor stays left over
            state[ours] = tensor
            record_rename(found.renamed, name, ours)
    for whole, named in pieces.items():
        ordered = sorted(named, key=_ORDER.index)
        complete = len(ordered) == _WHOLE.get(ordered[0])
        if complete:
            state[whole] = torch.cat([found.state[named[part]] for part in ordered])
        for name in named.values():
            if complete:
                record_rename(found.renamed, name, whole)
            else:
                state[name] = found.state[name]
    found.state = state


def _translated(name: str) -> str:
    for pattern, ours in _RULES:
        if match := re.match(pattern, name):
            return match.expand(ours) + name[match.end() :]
    return name


def record_rename(renamed: dict[str, str], theirs: str, ours: str) -> None:
    """Record a renaming once for all blocks, with `*` in place of a number."""
    if theirs != ours:
        renamed[_pattern(theirs)] = _pattern(ours)


def _pattern(name: str) -> str:
    return re.sub(r"(?<=\.)\d+(?=\.)", "*", name)
