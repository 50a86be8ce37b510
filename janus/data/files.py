"""Benches whose images are files: checked once, then decoded as they are needed.

The first run decodes every image to find damaged ones and to learn the sizes; what it found is kept
in the bench's cache folder, so that later runs start at once.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from janus import atomic
from janus.config import BenchConfig
from janus.data.images import Bench, Images
from janus.data.listing import Listing, Split, empty_classes, examine, refuse
from janus.data.ragged import Ragged, shorter_side
from janus.errors import DataError, RunError

log = logging.getLogger(__name__)


class Files(Ragged):
    """Images decoded from their files by worker threads."""

    def __init__(self, root: Path, paths: tuple[str, ...], sizes: Tensor, side: int | None) -> None:
        """`sizes`: int64 (N, 2) as stored; `side`: shorter side to which larger ones are cut."""
        super().__init__()
        self.root, self.paths, self.side = root, paths, side
        self._sizes = torch.tensor([reduced(h, w, side) for h, w in sizes.tolist()]).view(-1, 2)

    def image(self, row: int) -> Tensor:
        """uint8 (H, W, 3). Raises DataError when the file changed since it was checked."""
        try:
            array = decode(self.root / self.paths[row], self.side)
        except Exception as error:
            raise DataError(f"{self.root / self.paths[row]} cannot be read: {error}") from error
        if array.shape[:2] != tuple(self._sizes[row].tolist()):
            raise DataError(f"{self.root / self.paths[row]} changed while it was in use")
        return torch.from_numpy(array)

    def sizes(self, rows: Tensor) -> Tensor:
        """int64 (B, 2)."""
        return self._sizes[rows]


def reduced(height: int, width: int, side: int | None) -> tuple[int, int]:
    """Size after images with a shorter side above `side` are reduced to it."""
    if side is None or min(height, width) <= side:
        return height, width
    return shorter_side(height, width, side)


def decode(path: Path, side: int | None) -> np.ndarray:
    """uint8 (H, W, 3) as Pillow decodes it; reduced, bilinear with antialiasing, where asked.

    Orientation tags are not applied: torchvision's loader does not either.
    """
    with Image.open(path) as image:
        picture = image.convert("RGB")
    height, width = reduced(picture.height, picture.width, side)
    if (height, width) != (picture.height, picture.width):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.array(picture)


def from_files(config: BenchConfig, split: Split) -> Bench:
    """The bench of `split`. Raises DataError naming every bad file and every empty class.

    Under `eval=validation` the test files are not opened, and the test store stays empty.
    """
    parts = {}
    problems = empty_classes(split)
    for name, part in (("train", split.train), ("test", split.test)):
        opened = name == "train" or config.eval == "test"
        sizes = torch.zeros(len(part), 2, dtype=torch.long)
        if opened:
            sizes, wrong = _sizes(config, split, part)
            problems += wrong
        parts[name] = Images(
            Files(split.root, part.paths, sizes, config.stored_side),
            torch.from_numpy(part.labels),
            torch.from_numpy(part.domains),
            torch.arange(len(part)),
        )
    refuse(problems, f"bench {config.name} in {split.root}")
    return Bench(
        parts["train"],
        parts["test"],
        class_names=split.class_names,
        domain_names=split.domain_names,
        sha256=split.sha256,
    )


def _sizes(config: BenchConfig, split: Split, part: Listing) -> tuple[Tensor, list[str]]:
    """Image sizes and problems, from the last check of the same files or from a new one."""
    key = hashlib.sha256("\n".join(part.paths).encode()).hexdigest()[:16]
    path = config.cache_folder / f"checked-{key}.safetensors"
    if (known := _known(path, split.root, part)) is not None:
        return known, []
    log.warning("decoding %d images of %s once, to check them", len(part), config.name)
    sizes, count, problems = examine(split.root, part.paths)
    found = torch.from_numpy(sizes)
    if problems:
        return found, problems
    try:
        record = save({"sizes": found}, {"bytes": str(count)})
        atomic.replace(path, lambda temporary: _write(temporary, record))
    except (OSError, RunError) as error:
        log.warning(
            "cannot keep what was checked in %s (%s): every run will check again; name another "
            "folder with bench.cache=DIR",
            path.parent,
            error,
        )
    return found, []


def _write(path: Path, record: bytes) -> None:
    path.write_bytes(record)


def _known(path: Path, root: Path, part: Listing) -> Tensor | None:
    """The sizes on record, if the files still add up to the same bytes."""
    try:
        with safe_open(str(path), "pt") as record:
            sizes: Tensor = record.get_tensor("sizes")
            count = int(record.metadata()["bytes"])
        now = sum((root / p).stat().st_size for p in part.paths)
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    return sizes if (len(sizes), count) == (len(part), now) else None
