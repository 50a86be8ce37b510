"""Benches whose images are files: checked once, then decoded as they are needed.

The first run decodes every image to find damaged ones and to learn the sizes; what it found is kept
in the bench's cache folder, so that later runs start at once. A file that has changed since, in
size or in time, is reason to look at all of them again.
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
    """uint8 (H, W, 3) as `grey.to_rgb` converts it; reduced, bilinear with antialiasing,
    where asked.

    Orientation tags are not applied: torchvision's loader does not either.
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
    """Refuse names that are not UTF-8, as archives from other systems leave them. Raises
    DataError: such names can be neither printed nor kept in a record.
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
    """What the files are, from the last check of the same files or from a new one."""
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
    """What is on record, if each file still has the size and time that it had then."""
    try:
        with safe_open(str(path), "pt") as record:
            if not torch.equal(record.get_tensor("stamps"), now):
                return None
            sizes, digests = (record.get_tensor(n).numpy() for n in ("sizes", "digests"))
            return Examined(sizes, record.metadata()["content"], [], digests)
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
