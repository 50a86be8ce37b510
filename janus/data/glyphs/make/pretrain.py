"""Pretrains the bundled backbone `glyph_vit` and reports the accuracy of its features.

`python -m janus.data.glyphs.make.pretrain train` needs the fonts of `janus.data.glyphs.fonts` and
five to fifteen minutes on two cores; `report` needs only the two bundled files. The backbone is
trained with labels on glyphs that the bench does not contain; the classifier is then removed.

B batch, N images, C classes, D features.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor, nn
from torch.nn import functional

from janus.data.glyphs import bundle
from janus.data.glyphs.make import pretrain_set
from janus.errors import DataError, JanusError

logger = logging.getLogger(__name__)

WEIGHTS = bundle.ASSETS / "glyph_vit.safetensors"
ARCH = "vit_tiny_patch16_224"
ARCH_OPTIONS: dict[str, Any] = {
    "img_size": 32,
    "patch_size": 8,
    "in_chans": 1,
    "embed_dim": 128,
    "depth": 6,
    "num_heads": 4,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Settings of the pretraining; they are stored with the weights."""

    images_per_class: int = 175
    epochs: int = 10
    """One epoch is one pass over all drawn images."""
    batch_size: int = 128
    peak_learning_rate: float = 1e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    turn_degrees: float = 8.0
    """Half-width of the uniform random rotation in each batch (drawn images already vary)."""
    scale: float = 0.12
    shift: float = 0.08
    """Half-width of the uniform random shift, as a share of half the image side."""
    seed: int = 0


def build_vit(num_classes: int = 0) -> nn.Module:
    """The untrained backbone. With `num_classes=0` it returns the normalised CLS token [B, 128]."""
    model: nn.Module = timm.create_model(
        ARCH, pretrained=False, num_classes=num_classes, **ARCH_OPTIONS
    )
    return model


def scaled(images: Tensor) -> Tensor:
    """uint8 [B, 32, 32] to float [B, 1, 32, 32] in [-1, 1]."""
    return images.unsqueeze(1).float().div(255).sub(0.5).div(0.5)


def jitter(inputs: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """The images, each with a small random rotation, scale and shift; outside is background."""
    count = inputs.shape[0]

    def symmetric(width: float) -> Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * width

    angle = symmetric(math.radians(recipe.turn_degrees))
    scale = 1 + symmetric(recipe.scale)
    matrix = torch.stack(
        [
            torch.stack([angle.cos() * scale, -angle.sin() * scale, symmetric(recipe.shift)], 1),
            torch.stack([angle.sin() * scale, angle.cos() * scale, symmetric(recipe.shift)], 1),
        ],
        dim=1,
    )
    grid = functional.affine_grid(matrix, list(inputs.shape), align_corners=False)
    # Zero padding would be mid grey in [-1, 1]: add one so that it is black.
    return functional.grid_sample(inputs + 1, grid, align_corners=False) - 1


def pretrain_backbone(recipe: Recipe) -> tuple[nn.Module, dict[str, str]]:
    """Draw the pretraining set and train; returns the model and the metadata to store with it."""
    started = time.perf_counter()
    pixels, targets, characters = pretrain_set.render_characters(
        recipe.images_per_class, recipe.seed
    )
    logger.info("%d images of %d characters", len(pixels), len(characters))
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    images, labels = torch.from_numpy(pixels), torch.from_numpy(targets)
    model = build_vit(len(characters))
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": decayed},
        {"params": plain, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        groups,
        lr=recipe.peak_learning_rate,
        weight_decay=recipe.weight_decay,
    )
    steps = recipe.epochs * math.ceil(len(images) / recipe.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.peak_learning_rate, total_steps=steps, pct_start=0.15
    )
    for epoch in range(recipe.epochs):
        accuracy = _one_epoch(model, images, labels, optimizer, schedule, recipe, generator)
        seconds = time.perf_counter() - started
        logger.info("epoch %d: training accuracy %.3f, %.0f s", epoch + 1, accuracy, seconds)
    metadata = {
        "arch": ARCH,
        "arch_options": json.dumps(ARCH_OPTIONS),
        "recipe": json.dumps(asdict(recipe)),
        "epochs": str(recipe.epochs),
        "images": str(len(images)),
        "characters": str(len(characters)),
        "seed": str(recipe.seed),
        "data_sha256": hashlib.sha256(pixels.tobytes() + targets.tobytes()).hexdigest(),
    }
    return model, metadata


def _one_epoch(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    recipe: Recipe,
    generator: torch.Generator,
) -> float:
    """Train on all images once; returns the accuracy measured during training."""
    model.train()
    right = 0
    order = torch.randperm(len(images), generator=generator)
    for batch in torch.split(order, recipe.batch_size):
        inputs = jitter(scaled(images[batch]), recipe, generator)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(inputs)
        loss = functional.cross_entropy(
            logits.float(), labels[batch], label_smoothing=recipe.label_smoothing
        )
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        right += int((logits.argmax(1) == labels[batch]).sum())
    return right / len(images)


def save_backbone(model: nn.Module, metadata: dict[str, str], path: Path) -> None:
    """Write the backbone in half precision, without its classifier."""
    state = {
        name: value.detach().half().contiguous()
        for name, value in model.state_dict().items()
        if not name.startswith("head.")
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(serialize(state, metadata=metadata))


def load_vit(path: Path | None = None) -> nn.Module:
    """The pretrained backbone in float32 and evaluation mode. Raises DataError if it is missing."""
    path = WEIGHTS if path is None else path
    if not path.is_file():
        raise DataError(
            f"{path} is missing; 'python -m janus.data.glyphs.make.pretrain train' makes it again."
        )
    model = build_vit()
    model.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return model.eval()


@torch.no_grad()
def features(model: nn.Module, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Frozen features [N, D] of uint8 images [N, 32, 32]."""
    batches = torch.split(torch.from_numpy(images), 500)
    return np.concatenate([model(scaled(batch)).double().numpy() for batch in batches])


def nearest_mean(
    train_ND: NDArray[np.float64],
    train_labels: NDArray[np.int64],
    test_ND: NDArray[np.float64],
    test_labels: NDArray[np.int64],
) -> float:
    """Test accuracy of the nearest class mean by cosine; features are L2-normalised first."""
    unit = train_ND / np.linalg.norm(train_ND, axis=1, keepdims=True)
    means_CD = np.stack([unit[train_labels == c].mean(0) for c in np.unique(train_labels)])
    means_CD /= np.linalg.norm(means_CD, axis=1, keepdims=True)
    return float(np.mean((test_ND @ means_CD.T).argmax(1) == test_labels))


Score = Callable[
    [NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]], float
]


def linear_probe(
    train_ND: NDArray[np.float64],
    train_labels: NDArray[np.int64],
    test_ND: NDArray[np.float64],
    test_labels: NDArray[np.int64],
) -> float:
    """Test accuracy of multinomial logistic regression on standardised features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train_ND)
    probe = LogisticRegression(C=0.05, max_iter=1000)
    probe.fit(scaler.transform(train_ND), train_labels)
    return float(probe.score(scaler.transform(test_ND), test_labels))


def measure_accuracies() -> dict[str, float]:
    """Test accuracies on the bench, as fractions, by input and classifier."""
    data = bundle.load_glyphs()

    def seen(model: nn.Module | None) -> list[NDArray[np.float64]]:
        return [
            images.reshape(len(images), -1) / 255.0 if model is None else features(model, images)
            for images in (data.train_images, data.test_images)
        ]

    def scored(parts_ND: list[NDArray[np.float64]], score: Score = nearest_mean) -> float:
        return score(parts_ND[0], data.train_labels, parts_ND[1], data.test_labels)

    untrained = []
    for seed in range(3):
        torch.manual_seed(seed)
        untrained.append(scored(seen(build_vit().eval())))
    pretrained_ND = seen(load_vit())
    return {
        "raw pixels, nearest class mean": scored(seen(None)),
        "untrained ViT (mean of 3 seeds), nearest class mean": float(np.mean(untrained)),
        "pretrained ViT, nearest class mean": scored(pretrained_ND),
        "pretrained ViT, linear probe": scored(pretrained_ND, linear_probe),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m janus.data.glyphs.make.pretrain", description=__doc__
    )
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("train", help="pretrain the backbone (needs the fonts)")
    command.add_argument("--out", type=Path, default=WEIGHTS)
    command.add_argument("--epochs", type=int, default=Recipe().epochs)
    commands.add_parser("report", help="print accuracies of frozen features on the bench")
    commands.add_parser("readme", help="write the assets' README from files, fonts and report")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if options.command == "train":
            model, metadata = pretrain_backbone(Recipe(epochs=options.epochs))
            save_backbone(model, metadata, options.out)
        elif options.command == "report":
            for what, accuracy in measure_accuracies().items():
                print(f"{100 * accuracy:5.1f} %  {what}")
        else:
            from janus.data.glyphs.make.readme import write_readme

            write_readme(measure_accuracies(), WEIGHTS)
    except JanusError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
