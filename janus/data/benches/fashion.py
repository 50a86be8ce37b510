"""Loads Fashion-MNIST from four gzipped IDX files (Xiao, Rasul and Vollgraf, arXiv 1708.07747).

The split's hash is made from the decompressed bytes, so that the compression does not matter.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from janus.config.cell import BenchConfig
from janus.data.files.known_checksums import known_checksums
from janus.data.images.images import Bench, Images
from janus.errors import DataError

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
INSTALL = "apt-get install dataset-fashion-mnist"
"""The Debian package of the four files; it puts them into /usr/share/datasets/fashion-mnist."""

MOST_BYTES = 1 << 32
"""Largest size that a header may announce; a larger one means that the file is damaged."""

PARTS = {"train": "train", "test": "t10k"}
FILES = {
    split: (f"{prefix}-images-idx3-ubyte.gz", f"{prefix}-labels-idx1-ubyte.gz")
    for split, prefix in PARTS.items()
}
TEST_SUMS = {
    FILES["test"][0]: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    FILES["test"][1]: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""SHA-256 of the published test files, decompressed; validation runs do not open these files."""


def load_fashion(config: BenchConfig) -> Bench:
    """Both splits, 1 x 28 x 28. Raises DataError for files that are missing or damaged.

    Under `eval=validation` the test files are not opened: their known checksums are used.
    """
    root = Path(config.root or ".").expanduser()
    wanted = [root / name for pair in FILES.values() for name in pair]
    if missing := [p.name for p in wanted if not p.is_file()]:
        raise DataError(
            f"bench {config.name}: {root} lacks {', '.join(missing)}. On Debian and Ubuntu: "
            f"{INSTALL}; elsewhere put the four files of Fashion-MNIST into a folder and name it: "
            "bench.root=DIR"
        )
    parts, sums = {}, known_checksums(config, TEST_SUMS)
    for split in ("train", "test") if config.eval == "test" else ("train",):
        names = FILES[split]
        (pixels, hash_pixels), (labels, hash_labels) = (read_idx(root / n) for n in names)
        if pixels.ndim != 3 or labels.shape != pixels.shape[:1]:
            raise DataError(
                f"{root}: {names[0]} has shape {pixels.shape}, {names[1]} {labels.shape}: these "
                "are not images and their labels"
            )
        sums |= {names[0]: hash_pixels, names[1]: hash_labels}
        parts[split] = _images(torch.from_numpy(pixels), torch.from_numpy(labels).long())
    listing = [f"{sums[name]}  {name}" for pair in FILES.values() for name in pair]
    return Bench(
        parts["train"],
        parts.get("test", parts["train"].none()),
        class_names=CLASSES,
        domain_names=("all",),
        sha256=hashlib.sha256("\n".join(listing).encode()).hexdigest(),
        test_sums={name: sums[name] for name in FILES["test"]},
    )


def _images(pixels: Tensor, labels: Tensor) -> Images:
    """The images without domains; each image forms its own group."""
    return Images(pixels[:, None], labels, torch.zeros_like(labels), torch.arange(len(labels)))


def read_idx(path: Path) -> tuple[np.ndarray, str]:
    """The uint8 array in a gzipped IDX file, and the SHA-256 of the decompressed bytes.

    IDX: two zero bytes, type (8: uint8), number of dimensions, each dimension as a big-endian
    int32, then the values.
    """
    try:
        with gzip.open(path) as stream:
            start = stream.read(4)
            if len(start) < 4 or start[:3] != b"\0\0\x08" or not 1 <= start[3] <= 3:
                raise DataError(f"{path} is not a gzipped IDX file of bytes")
            sizes = stream.read(4 * start[3])
            shape = tuple(int(n) for n in np.frombuffer(sizes, dtype=">u4"))
            count = math.prod(shape)
            if count > MOST_BYTES:
                raise DataError(f"{path} is damaged: its header announces {shape}")
            values = stream.read(count + 1)  # one byte more than expected
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}); install or copy it again") from None
    if len(values) != count:
        raise DataError(f"{path} is damaged: its header announces {shape}, which is not its size")
    digest = hashlib.sha256(start + sizes + values).hexdigest()
    return np.frombuffer(bytearray(values), dtype=np.uint8).reshape(shape), digest
