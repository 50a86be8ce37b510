"""Makes the overview that `python -m janus.data check` shows: counts per task, and a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from janus.data.images.images import Bench, Images
from janus.data.images.varied_size import VariedSizeImages, centre, resize, shorter_side

SIDE = 64
"""Side of one image in the picture, in pixels."""
GAP = 8
"""Pixels between tasks."""
COLUMNS = 40
"""Images per line of the picture; a task with more classes continues in the next line."""


def shares(bench: Bench, tasks: int, domain: bool) -> list[list[int]]:
    """Class (or domain) numbers of each task in natural order."""
    units = len(bench.domain_names) if domain else len(bench.class_names)
    return [part.tolist() for part in np.array_split(np.arange(units), min(tasks, units))]


def table(bench: Bench, tasks: int, domain: bool) -> str:
    """A text table: images of each task, and the sizes of its smallest and largest class."""
    rows = [f"{'task':>4} {'train':>8} {'test':>8}  images per class (train, test)"]
    rows[0] += "; all tasks have the same test images" if bench.shared_test else ""
    for index, share in enumerate(shares(bench, tasks, domain)):
        counts = [_per_class(bench.train, share, domain)]
        everywhere = list(range(len(bench.domain_names))) if bench.shared_test else share
        counts.append(_per_class(bench.test, everywhere, domain))
        spans = " ".join(f"{int(c.min())}-{int(c.max())}" for c in counts)
        totals = " ".join(f"{int(c.sum()):>8}" for c in counts)
        names = bench.domain_names if domain else bench.class_names
        first, last = names[share[0]], names[share[-1]]
        rows.append(f"{index + 1:>4} {totals}  {spans}  {first} ... {last}")
    return "\n".join(rows)


def class_table(bench: Bench) -> str:
    """A tab-separated table: for each class (of each domain) its training and test images."""
    most = len(bench.class_names)
    found = [
        torch.bincount(i.domains * most + i.labels, minlength=most * len(bench.domain_names))
        for i in (bench.train, bench.test)
    ]
    if bench.shared_test:  # its images belong to no training domain
        found[1] = torch.bincount(bench.test.labels, minlength=most).repeat(len(bench.domain_names))
    lines = ["domain\tclass\ttrain\ttest"]
    for at, (train, test) in enumerate(torch.stack(found, 1).tolist()):
        domain, name = bench.domain_names[at // most], bench.class_names[at % most]
        lines.append(f"{domain}\t{name}\t{train}\t{test}")
    return "\n".join(lines) + "\n"


def _per_class(images: Images, share: list[int], domain: bool) -> Tensor:
    inside = torch.isin(images.domains if domain else images.labels, torch.tensor(share))
    counts = torch.bincount(images.labels[inside])
    return counts[counts > 0] if len(counts) else torch.zeros(1)


def picture(bench: Bench, tasks: int, domain: bool, path: Path) -> None:
    """Write a PNG with one training image of each class of each task, and a gap between tasks."""
    cuts = shares(bench, tasks, domain)
    labels, domains = bench.train.labels, bench.train.domains
    rows = []
    for share in cuts:
        classes = range(len(bench.class_names)) if domain else share
        picked = []
        for label in classes:
            mine = labels == label
            if domain:
                mine &= torch.isin(domains, torch.tensor(share))
            picked += mine.nonzero()[:1, 0].tolist()
        rows.append(picked)
    width = min(COLUMNS, max(len(row) for row in rows))
    canvas = np.concatenate([_lines(bench.train, row, width) for row in rows])[:-GAP]
    Image.fromarray(canvas).save(path)


def _lines(images: Images, picked: list[int], width: int) -> np.ndarray:
    """uint8 (H, W, 3): the images at `picked`, `width` per line, with a gap below the last line."""
    canvas = np.full((-(-len(picked) // width) * SIDE + GAP, width * SIDE, 3), 64, dtype=np.uint8)
    for number, at in enumerate(picked):
        y, x = SIDE * (number // width), SIDE * (number % width)
        canvas[y : y + SIDE, x : x + SIDE] = _thumbnail(images, at)
    return canvas


def _thumbnail(images: Images, at: int) -> np.ndarray:
    row = int(images.where()[at])
    if isinstance(images.store, VariedSizeImages):
        image = images.store.image(row)
    else:
        image = images.store[row].permute(1, 2, 0).expand(-1, -1, 3)
    small = resize(image.contiguous(), shorter_side(image.shape[0], image.shape[1], SIDE))
    return centre(small, SIDE).permute(1, 2, 0).numpy()
