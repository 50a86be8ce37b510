"""What `python -m janus.data check` shows of a bench: counts per task and one picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from janus.data.images import Bench, Images
from janus.data.ragged import Ragged, centre, resize, shorter_side

SIDE = 64
"""Pixels of one image in the picture."""
COLUMNS = 40
"""Classes of a task that the picture shows at most."""


def shares(bench: Bench, tasks: int, domain: bool) -> list[list[int]]:
    """Class (or domain) numbers of each task in natural order."""
    units = len(bench.domain_names) if domain else len(bench.class_names)
    return [part.tolist() for part in np.array_split(np.arange(units), min(tasks, units))]


def table(bench: Bench, tasks: int, domain: bool) -> str:
    """Images of each task, and the smallest and largest class in it."""
    rows = [f"{'task':>4} {'train':>8} {'test':>8}  images per class (train, test)"]
    for index, share in enumerate(shares(bench, tasks, domain)):
        counts = [_per_class(images, share, domain) for images in (bench.train, bench.test)]
        spans = " ".join(f"{int(c.min())}-{int(c.max())}" for c in counts)
        totals = " ".join(f"{int(c.sum()):>8}" for c in counts)
        names = bench.domain_names if domain else bench.class_names
        first, last = names[share[0]], names[share[-1]]
        rows.append(f"{index + 1:>4} {totals}  {spans}  {first} ... {last}")
    return "\n".join(rows)


def _per_class(images: Images, share: list[int], domain: bool) -> Tensor:
    inside = torch.isin(images.domains if domain else images.labels, torch.tensor(share))
    counts = torch.bincount(images.labels[inside])
    return counts[counts > 0] if len(counts) else torch.zeros(1)


def picture(bench: Bench, tasks: int, domain: bool, path: Path) -> None:
    """Write a PNG with a row per task and one training image of each of its classes."""
    cuts = shares(bench, tasks, domain)
    labels, domains = bench.train.labels, bench.train.domains
    rows = []
    for share in cuts:
        classes = range(len(bench.class_names)) if domain else share
        picked = []
        for label in list(classes)[:COLUMNS]:
            mine = labels == label
            if domain:
                mine &= torch.isin(domains, torch.tensor(share))
            picked += mine.nonzero()[:1, 0].tolist()
        rows.append([_thumbnail(bench.train, at) for at in picked])
    width = max(len(row) for row in rows)
    canvas = np.full((len(rows) * SIDE, width * SIDE, 3), 64, dtype=np.uint8)
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            canvas[y * SIDE : (y + 1) * SIDE, x * SIDE : (x + 1) * SIDE] = image
    Image.fromarray(canvas).save(path)


def _thumbnail(images: Images, at: int) -> np.ndarray:
    row = int(images.where()[at])
    if isinstance(images.store, Ragged):
        image = images.store.image(row)
    else:
        image = images.store[row].permute(1, 2, 0).expand(-1, -1, 3)
    small = resize(image.contiguous(), shorter_side(image.shape[0], image.shape[1], SIDE))
    return centre(small, SIDE).permute(1, 2, 0).numpy()
