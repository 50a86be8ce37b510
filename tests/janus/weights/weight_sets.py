"""A tiny network with weights of its own, and its weights as other code writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from janus.config.cell import BackboneConfig
from janus.machine.import_timm import timm
from janus.nn.vit import build_recorded
from janus.weights.fit import Record

TINY: dict[str, Any] = {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
MODEL = "vit_tiny_patch16_224"
State = dict[str, Tensor]


def network(model: str = MODEL, **changes: Any) -> nn.Module:
    """A timm model of 32 pixels and two blocks, every tensor of it drawn anew."""
    kwargs = {**TINY, "img_size": 32, "in_chans": 3, "num_classes": 0} | changes
    made = timm.create_model(model, **kwargs).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, tensor in made.named_parameters():
            scale = name.endswith("weight") and tensor.ndim == 1
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator) + float(scale))
    return made


def loaded(path: Path, model: str = MODEL, **changes: Any) -> tuple[nn.Module, Record]:
    """The network that a run builds on the file."""
    given = {"model_kwargs": TINY, "image_size": 32, "channels": 3} | changes
    config = BackboneConfig(name="own", model=model, weights=str(path), **given)
    return build_recorded(config, torch.device("cpu"))


def assert_same_features(ours: nn.Module, theirs: nn.Module | Tensor, images: Tensor) -> None:
    """To 1e-6 of the largest feature."""
    with torch.no_grad():
        wanted = theirs if isinstance(theirs, Tensor) else theirs(images)
        difference = float((ours(images) - wanted).abs().max())
    assert difference <= 1e-6 * float(wanted.abs().max())


def images(side: int = 32, channels: int = 3) -> Tensor:
    return torch.rand(3, channels, side, side, generator=torch.Generator().manual_seed(5))


def save(content: Any, path: Path) -> Path:
    """By torch.save, or as .safetensors where the path says so."""
    if path.suffix == ".safetensors":
        save_file({name: tensor.clone() for name, tensor in content.items()}, path)
    else:
        torch.save(content, path)
    return path


def under(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def some(*names: str) -> State:
    """Tensors that are of no network of ours."""
    return {name: torch.ones(3) for name in names}


# ---- as other code writes them --------------------------------------------------------------
def dino(state: State) -> dict[str, Any]:
    """DINO and iBOT: the average of the student is the teacher."""
    import argparse

    heads = some("module.head.mlp.0.weight", "module.head.last_layer.weight_v")
    student = {name: -tensor for name, tensor in state.items()}
    return {
        "student": under("module.backbone.", student) | heads,
        "teacher": under("module.backbone.", state) | heads,
        "optimizer": {"state": {}, "param_groups": []},
        "epoch": 100,
        "args": argparse.Namespace(arch="vit_small"),
        "dino_loss": some("center"),
    }


def moco_v3(state: State) -> dict[str, Any]:
    other = {name: -tensor for name, tensor in state.items()}
    heads = some("module.base_encoder.head.0.weight", "module.predictor.0.weight")
    rest = under("module.momentum_encoder.", other) | heads
    return {"epoch": 300, "state_dict": rest | under("module.base_encoder.", state)}


def moco_v2(state: State) -> dict[str, Any]:
    other = {name: -tensor for name, tensor in state.items()}
    queue = some("module.queue", "module.queue_ptr")
    return {
        "state_dict": under("module.encoder_q.", state) | under("module.encoder_k.", other) | queue
    }


def mae(state: State) -> dict[str, Any]:
    rest = some(
        "mask_token", "decoder_pos_embed", "decoder_embed.weight", "decoder_blocks.0.norm1.bias"
    )
    return {"model": state | rest | some("decoder_norm.weight", "decoder_pred.bias")}


def simmim(state: State) -> dict[str, Any]:
    return {"model": under("encoder.", state | some("mask_token")) | some("decoder.0.weight")}


def dinov2_training(state: State) -> dict[str, Any]:
    rest = some("teacher.dino_head.mlp.0.weight", "teacher.ibot_head.last_layer.weight")
    other = {name: -tensor for name, tensor in state.items()}
    teacher = under("teacher.backbone.", state | some("mask_token"))
    return {"model": teacher | under("student.backbone.", other) | rest}


def timm_training(state: State) -> dict[str, Any]:
    """timm evaluates the average where there is one."""
    other = {name: -tensor for name, tensor in state.items()}
    return {"arch": MODEL, "state_dict": other, "state_dict_ema": state | some("head.weight")}


def open_clip(state: State) -> State:
    rest = some("logit_scale", "text.token_embedding.weight", "visual.head.proj.weight")
    return under("visual.trunk.", state) | rest


LAYOUTS: dict[str, Any] = {
    "plain": lambda state: state,
    "model": lambda state: {"model": state},
    "state_dict of module.": lambda state: {"state_dict": under("module.", state)},
    "model.": lambda state: under("model.", state),
    "backbone.": lambda state: under("backbone.", state),
    "encoder_q.": lambda state: under("encoder_q.", state),
    "base_encoder.": lambda state: under("base_encoder.", state),
    "teacher.": lambda state: under("teacher.", state),
    "student.": lambda state: under("student.", state),
    "_orig_mod.module.": lambda state: under("_orig_mod.module.", state),
    "module._orig_mod.": lambda state: under("module._orig_mod.", state),
    "lightning": lambda state: {"state_dict": under("model.backbone.", state), "epoch": 3},
    "beside a tensor": lambda state: {"model": state, "best": torch.tensor(0.5)},
    "heads": lambda state: (
        state
        | some(
            "head.weight", "fc.bias", "classifier.weight", "head_dist.bias", "pre_logits.fc.bias"
        )
    ),
    "dino": dino,
    "moco v3": moco_v3,
    "moco v2": moco_v2,
    "mae": mae,
    "simmim": simmim,
    "dinov2": dinov2_training,
    "timm": timm_training,
    "open_clip": open_clip,
}
"""How a state dict comes in files that are accepted."""


def hugging_face(state: State, prefix: str = "", style: str = "saved") -> State:
    """ViTModel's names: as `save_pretrained` writes them, or as `state_dict()` of version 5 has."""
    saved = style == "saved"
    at = prefix + ("encoder.layer.{}." if saved else "layers.{}.")
    top = {
        "cls_token": "embeddings.cls_token",
        "pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj": "embeddings.patch_embeddings.projection",
        "norm": "layernorm",
    }
    inner = {
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "attn.proj": "attention.output.dense" if saved else "attention.o_proj",
        "mlp.fc1": "intermediate.dense" if saved else "mlp.fc1",
        "mlp.fc2": "output.dense" if saved else "mlp.fc2",
    }
    thirds = [f"attention.attention.{x}" for x in ("query", "key", "value")]
    if not saved:
        thirds = [f"attention.{x}_proj" for x in "qkv"]
    found: State = {}
    for name, tensor in state.items():
        stem, _, kind = name.rpartition(".")
        if name in top:
            found[prefix + top[name]] = tensor
        elif stem in top:
            found[f"{prefix}{top[stem]}.{kind}"] = tensor
        else:
            _, number, rest = stem.split(".", 2)
            parts = thirds if rest == "attn.qkv" else [inner[rest]]
            for part, piece in zip(parts, tensor.chunk(len(parts)), strict=True):
                found[f"{at.format(number)}{part}.{kind}"] = piece
    return found


class Foreign:
    """A class that a reader of the file may not have."""


class Attack:
    """What a pickle can do to whoever loads it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return eval, (f"open({str(self.path)!r}, 'w')",)
