"""A split as data: which file is which class of which domain, and the hash that names it.

Everything that can be wrong with the files is looked for before training, and named at once.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from janus.data.ragged import usable_cores
from janus.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")
MOST_PIXELS = 100_000_000
"""Larger images are refused: decoding one takes more memory than a worker may have."""
MOST_ASPECT = 1000
"""Longer strips are refused: this one has 65 megapixels at a shorter side of 256."""
NAMED = 20
"""Problems that one message spells out; the rest are counted."""


@dataclass(frozen=True)
class Listing:
    """The labelled files of one part of a split."""

    paths: tuple[str, ...]
    """Relative to the root, with forward slashes."""
    labels: np.ndarray
    """int64 (N,)"""
    domains: np.ndarray
    """int64 (N,)"""

    def __len__(self) -> int:
        return len(self.paths)


def listing(paths: Sequence[str], labels: Iterable[int], domains: Iterable[int] = ()) -> Listing:
    """A listing; without domains, everything lies in domain 0."""
    where = np.array(list(domains), dtype=np.int64)
    where = where if len(where) else np.zeros(len(paths), dtype=np.int64)
    return Listing(tuple(paths), np.array(list(labels), dtype=np.int64), where)


@dataclass(frozen=True)
class Split:
    """Train and test files of a bench."""

    root: Path
    train: Listing
    test: Listing
    class_names: tuple[str, ...]
    domain_names: tuple[str, ...] = ("all",)

    @cached_property
    def sha256(self) -> str:
        """Hash of both lists: paths, labels and domains, wherever the root lies."""
        digest = hashlib.sha256()
        for name, part in (("train", self.train), ("test", self.test)):
            rows = zip(part.paths, part.labels.tolist(), part.domains.tolist(), strict=True)
            digest.update("".join(f"{name}\t{p}\t{y}\t{d}\n" for p, y, d in rows).encode())
        return digest.hexdigest()


def examine(root: Path, paths: Sequence[str]) -> tuple[np.ndarray, int, list[str]]:
    """Height and width of every image, int64 (N, 2), the bytes of all files, and what is wrong.

    Decodes each image once. Wrong are files that are missing, damaged, too large, or links out of
    the root; their sizes are zero.
    """
    inside = root.resolve()
    safe = {folder: _stays(root / folder, inside) for folder in {os.path.dirname(p) for p in paths}}

    def look(path: str) -> tuple[tuple[int, int], int] | str:
        file = root / path
        try:
            if not safe[os.path.dirname(path)] or (file.is_symlink() and not _stays(file, inside)):
                return f"{path} is a link out of {root}"
            count = file.stat().st_size
            with Image.open(file) as image:
                width, height = image.size
                if width * height > MOST_PIXELS:
                    return f"{path} has {width * height / 1e6:.0f} megapixels"
                if max(width, height) > MOST_ASPECT * min(width, height):
                    return f"{path} is a strip of {width} x {height} pixels"
                image.load()
        except FileNotFoundError:
            return f"{path} is missing"
        except Image.DecompressionBombError:
            return f"{path} has far too many pixels"
        except Exception as error:  # Pillow raises whatever a damaged file makes it raise
            return f"{path} cannot be decoded ({error})"
        return (height, width), count

    with ThreadPoolExecutor(usable_cores()) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # ours is the limit
        found = list(pool.map(look, paths))
    problems = [f for f in found if isinstance(f, str)]
    known = [((0, 0), 0) if isinstance(f, str) else f for f in found]
    sizes = np.array([size for size, _ in known], dtype=np.int64).reshape(-1, 2)
    return sizes, sum(count for _, count in known), problems


def _stays(path: Path, inside: Path) -> bool:
    return path.resolve().is_relative_to(inside)


def refuse(problems: Sequence[str], what: str) -> None:
    """Raise DataError naming all `problems` (the first NAMED in full), if there are any."""
    if not problems:
        return
    more = f"; and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
    raise DataError(
        f"{len(problems)} problem(s) with {what}: {'; '.join(problems[:NAMED])}{more}. Mend or "
        "remove these, then look again with: python -m janus.data check BENCH"
    )


def empty_classes(split: Split) -> list[str]:
    """Classes without training or without test images, as problems."""
    return [
        f"no {name} images of {split.class_names[c]}"
        for name, part in (("train", split.train), ("test", split.test))
        for c in np.flatnonzero(np.bincount(part.labels, minlength=len(split.class_names)) == 0)
    ]


def class_folders(folder: Path) -> list[str]:
    """Names of the sub-folders, sorted; hidden ones are no classes. Raises DataError for none."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    names = sorted(e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith("."))
    if not names:
        raise DataError(f"{folder} holds no folders of images, one per class")
    return names


def images_in(folder: Path) -> list[str]:
    """Image files anywhere below `folder`, relative to it, sorted. Links are not followed."""
    found = []
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        found += [
            os.path.relpath(os.path.join(where, f), folder).replace(os.sep, "/")
            for f in files
            if f.lower().endswith(SUFFIXES) and not f.startswith(".")
        ]
    return sorted(found)
