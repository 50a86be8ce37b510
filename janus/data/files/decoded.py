"""Benches whose images are files: all files are checked once, then decoded when needed.

The first run decodes every image to find damaged ones and to record the sizes. The record is kept
in the bench's cache folder, so that later runs start at once. If the size or time of any file has
changed, all files are checked again.
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from janus import atomic_files
from janus.config.cell import BenchConfig
from janus.data.files.grey import to_rgb
from janus.data.files.known_checksums import known_checksums
from janus.data.files.scan import Examined, examine, stamps
from janus.data.files.split import DataSplit, Listing, faults, refuse
from janus.data.images.images import Bench, Images
from janus.data.images.varied_size import VariedSizeImages, shorter_side
from janus.errors import DataError, RunError

log = logging.getLogger(__name__)


class ImageFiles(VariedSizeImages):
    """Images that worker threads decode from their files."""

    def __init__(self, root: Path, paths: tuple[str, ...], sizes: Tensor, side: int | None) -> None:
        """`sizes`: int64 (N, 2) of the files; `side`: larger images are reduced to this shorter
        side; None: never."""
        super().__init__()
        self.root, self.paths, self.side = root, paths, side
        self._sizes = torch.tensor([reduced(h, w, side) for h, w in sizes.tolist()]).view(-1, 2)

    def image(self, row: int) -> Tensor:
        """uint8 (H, W, 3). Raises DataError when the file changed since it was checked."""
        try:
            array = decode_image(self.root / self.paths[row], self.side)
        except Exception as error:
            raise DataError(f"{self.root / self.paths[row]} cannot be read: {error}") from error
        if array.shape[:2] != tuple(self._sizes[row].tolist()):
            raise DataError(f"{self.root / self.paths[row]} changed while it was in use")
        return torch.from_numpy(array)

    def sizes(self, rows: Tensor) -> Tensor:
        """int64 (B, 2)."""
        return self._sizes[rows]


def reduced(height: int, width: int, side: int | None) -> tuple[int, int]:
    """(height, width) of an image after reduction to the shorter side `side`, if it is larger."""
    if side is None or min(height, width) <= side:
        return height, width
    return shorter_side(height, width, side)


def decode_image(path: Path, side: int | None) -> np.ndarray:
    """The image as uint8 (H, W, 3), converted by `grey.to_rgb` and reduced to `side` if larger.

    Reduction is bilinear with antialiasing. Orientation tags are ignored, as in torchvision.
    """
    with Image.open(path) as image:
        picture = to_rgb(image)
    height, width = reduced(picture.height, picture.width, side)
    if (height, width) != (picture.height, picture.width):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.array(picture)


def from_files(config: BenchConfig, split: DataSplit, *, shared_test: bool = False) -> Bench:
    """The bench of `split`. Raises DataError naming every bad file and every empty class or domain.

    Under `eval=validation` the test files are not opened, and the test store stays empty.
    `shared_test`: the test images belong to no domain.
    """
    _refuse_names(split)
    parts, sums, digests = {}, known_checksums(config, {}), {}
    problems: list[str] = []
    for name, part in (("train", split.train), ("test", split.test)):
        apart = config.scenario == "domain" and not (shared_test and name == "test")
        domains = split.domain_names if apart else ()
        problems += faults(name, part.labels, part.domains, split.class_names, domains)
        sizes = torch.zeros(len(part), 2, dtype=torch.long)
        if name == "train" or config.eval == "test":
            found = _examined(config, split, part)
            problems += found.problems
            sizes, sums[name] = torch.from_numpy(found.sizes), found.content
            digests[name] = found.digests
        parts[name] = Images(
            ImageFiles(split.root, part.paths, sizes, config.stored_side),
            torch.from_numpy(part.labels),
            torch.from_numpy(part.domains),
            torch.arange(len(part)),
        )
    record = config.cache_folder / f"{config.name}-problems.txt"
    refuse(problems, f"bench {config.name} in {split.root}", record)
    if "test" not in sums:
        raise DataError(
            f"bench {config.name}: eval=validation opens no test file, and no record says what "
            f"those of the declared split hold. Look at them once with: python -m janus.data check "
            f"{config.words}"
        )
    return Bench(
        parts["train"],
        parts["test"],
        class_names=split.class_names,
        domain_names=split.domain_names,
        sha256=split.sha256(sums),
        shared_test=shared_test,
        test_sums={"test": sums["test"]},
        digests=digests,
        notes=split.notes,
    )


def _refuse_names(split: DataSplit) -> None:
    """Raise DataError for file names that are not UTF-8, as some archives give them.

    Such names can be neither printed nor recorded.
    """
    strange = [
        ascii(path)
        for path in (*split.train.paths, *split.test.paths)
        if any("\ud800" <= letter <= "\udfff" for letter in path)
    ]
    if strange:
        raise DataError(
            f"{len(strange)} file(s) in {split.root} have names that are not UTF-8, such as "
            f"{strange[0]}. Rename them, for example: convmv -f latin1 -t utf8 -r --notest "
            f"{split.root}"
        )


def _examined(config: BenchConfig, split: DataSplit, part: Listing) -> Examined:
    """Sizes and hashes of the files, from the record of an earlier check or from a new check."""
    key = hashlib.sha256(os.fsencode("\n".join(part.paths))).hexdigest()[:16]
    path = config.cache_folder / f"examined-{key}.safetensors"
    now = torch.from_numpy(stamps(split.root, part.paths))
    if (known := _known(path, now)) is not None:
        return known
    log.warning("decoding %d images of %s once, to check them", len(part), config.name)
    found = examine(split.root, part.paths)
    if found.problems:
        return found
    record = save(
        {
            "sizes": torch.from_numpy(found.sizes),
            "stamps": now,
            "digests": torch.from_numpy(found.digests),
        },
        {"content": found.content},
    )
    try:
        atomic_files.replace(path, lambda temporary: _write(temporary, record))
    except (OSError, RunError) as error:
        log.warning(
            "cannot keep what was checked in %s (%s): every run will check again; name another "
            "folder with bench.cache=DIR",
            path.parent,
            error,
        )
    return found


def _write(path: Path, record: bytes) -> None:
    path.write_bytes(record)


def _known(path: Path, now: Tensor) -> Examined | None:
    """The recorded check, if every file still has the recorded size and time; else None."""
    try:
        with safe_open(str(path), "pt") as record:
            if not torch.equal(record.get_tensor("stamps"), now):
                return None
            sizes, digests = (record.get_tensor(n).numpy() for n in ("sizes", "digests"))
            return Examined(sizes, record.metadata()["content"], [], digests)
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
