"""Which networks of timm each family of methods works on, tried on small random versions.

python -m tests.janus.training.backbone_table    # prints the table of docs/backbones.md
"""

from __future__ import annotations

from typing import Any

import torch

from janus.config.cell import Cell
from janus.data import load_bench as benches
from janus.data.stream import cut
from janus.errors import JanusError
from janus.training.backbone_fits import _try_one_step
from tests.conftest import toy_cell

SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 2}
NETWORKS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "ViT, AugReg and others": ("vit_tiny_patch16_224", 32, SMALL),
    "DeiT": ("deit_tiny_patch16_224", 32, SMALL),
    "DeiT, distilled": ("deit_tiny_distilled_patch16_224", 32, SMALL),
    "DeiT III": ("deit3_small_patch16_224", 32, SMALL),
    "CLIP": ("vit_base_patch16_clip_224", 32, SMALL),
    "SigLIP": ("vit_base_patch16_siglip_224", 32, SMALL),
    "DINOv2": ("vit_small_patch14_dinov2", 28, SMALL),
    "DINOv2 with registers": ("vit_small_patch14_reg4_dinov2", 28, SMALL),
    "DINOv3": ("vit_small_patch16_dinov3", 32, SMALL),
    "BEiT": ("beit_base_patch16_224", 32, SMALL),
    "EVA-02": ("eva02_tiny_patch14_224", 28, SMALL),
    "ViT with relative positions": ("vit_relpos_small_patch16_224", 32, SMALL),
    "CaiT": ("cait_xxs24_224", 32, SMALL),
    "Swin": ("swin_tiny_patch4_window7_224", 56, {}),
    "ConvNeXt": ("convnext_atto", 32, {}),
    "ResNet": ("resnet18", 32, {}),
}
"""By what people call them: (timm's name, side in pixels, arguments that make it small)."""

FAMILIES = {
    "class means": "ncm",
    "LoRA": "seqlora",
    "LoRA in a subspace": "janus",
    "prompts": "coda_prompt",
    "adapters": "ease",
    "all weights": "slca",
}
"""A method for each family."""


def cell_of(network: str, method: str) -> Cell:
    name, side, kwargs = NETWORKS[network]
    return toy_cell(
        method,
        backbone__model=name,
        backbone__model_kwargs=kwargs,
        backbone__image_size=side,
        backbone__channels=3,
        bench__train_per_class=2,
        bench__test_per_class=1,
    )


def works(network: str, method: str) -> bool:
    """Whether a step of the method succeeds on the network."""
    cell = cell_of(network, method)
    cpu = torch.device("cpu")
    try:
        _try_one_step(cell, cut(benches.load_images(cell.bench), cell, cpu), cpu)
    except (JanusError, AttributeError, TypeError, IndexError, RuntimeError, ValueError, KeyError):
        return False
    return True


def table() -> str:
    """Markdown, a row per network."""
    lines = [
        f"| network | tried as | {' | '.join(FAMILIES)} |",
        f"| :-- | :-- | {' | '.join([':-:'] * len(FAMILIES))} |",
    ]
    for network, (name, _, _) in NETWORKS.items():
        marks = ["yes" if works(network, method) else "--" for method in FAMILIES.values()]
        lines.append(f"| {network} | `{name}` | {' | '.join(marks)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
