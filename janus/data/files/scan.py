"""Checks every image file once before training: can it be decoded, its size, its hash."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from janus.data.files.grey import MARK, is_deep, to_rgb
from janus.data.images.varied_size import usable_cores

MOST_PIXELS = 100_000_000
"""Most pixels of an image; decoding a larger one may need more memory than a worker has."""
MOST_ASPECT = 1000
"""Largest ratio of an image's sides; with it a shorter side of 256 means 65 megapixels."""

BLOCK = 1024
"""Images given to the threads at a time; DomainNet's 400,000 at once would take 700 MB."""

PROGRESS_S = 30.0
"""Seconds between two progress messages."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Examined:
    """The result of checking the files of one part (train or test) of a split. N files."""

    sizes: np.ndarray
    """int64 (N, 2): height and width; zero for bad files"""
    content: str
    """SHA-256 over the digests of all files, in order"""
    problems: list[str]
    digests: np.ndarray
    """uint8 (N, 32): SHA-256 of each file; zero for bad files"""


def stamps(root: Path, paths: Sequence[str]) -> np.ndarray:
    """int64 (N, 2): size in bytes and time of the last change (ns) of each file; -1 if missing."""
    found = np.full((len(paths), 2), -1, dtype=np.int64)
    for row, path in enumerate(paths):
        with suppress(OSError):
            state = os.stat(root / path)
            found[row] = state.st_size, state.st_mtime_ns
    return found


def examine(root: Path, paths: Sequence[str]) -> Examined:
    """Read and decode each image once.

    Bad files are missing, damaged, too large, not regular files, or links out of the root.
    """
    inside = root.resolve()
    safe = {folder: _stays(root / folder, inside) for folder in {os.path.dirname(p) for p in paths}}

    def look(path: str) -> tuple[tuple[int, int], bytes] | str:
        file = root / path
        try:
            if not safe[os.path.dirname(path)] or (file.is_symlink() and not _stays(file, inside)):
                return f"{path} is a link out of {root}"
            if not stat.S_ISREG(file.stat().st_mode):
                return f"{path} is no file: images behind linked folders are not read"
            with open(file, "rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").digest()
                stream.seek(0)
                size, deep = _decoded(stream)
            if deep:
                digest = hashlib.sha256(digest + MARK).digest()
        except FileNotFoundError:
            return f"{path} is missing"
        except Image.DecompressionBombError:
            return f"{path} has far too many pixels"
        except Exception as error:  # for a damaged file Pillow may raise any exception
            return f"{path} cannot be decoded ({error})"
        return f"{path} {size}" if isinstance(size, str) else (size, digest)

    with ThreadPoolExecutor(usable_cores()) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MOST_PIXELS is the limit
        found: list[tuple[tuple[int, int], bytes] | str] = []
        told = time.monotonic()
        for start in range(0, len(paths), BLOCK):
            found += pool.map(look, paths[start : start + BLOCK])
            if time.monotonic() - told > PROGRESS_S:
                log.warning("%d of %d images are checked", len(found), len(paths))
                told = time.monotonic()
    problems = [f for f in found if isinstance(f, str)]
    known = [((0, 0), bytes(32)) if isinstance(f, str) else f for f in found]
    sizes = np.array([size for size, _ in known], dtype=np.int64).reshape(-1, 2)
    joined = b"".join(digest for _, digest in known)
    digests = np.frombuffer(joined, dtype=np.uint8).reshape(-1, 32).copy()
    return Examined(sizes, hashlib.sha256(joined).hexdigest(), problems, digests)


def _decoded(stream: BinaryIO) -> tuple[tuple[int, int] | str, bool]:
    """((height, width) or a text on what is wrong with the size, whether grey levels were scaled).

    Raises ValueError for grey levels of unknown scale, and what Pillow raises for a damaged file.
    """
    with Image.open(stream) as image:
        width, height = image.size
        if width * height > MOST_PIXELS:
            return f"has {width * height / 1e6:.0f} megapixels", False
        if max(width, height) > MOST_ASPECT * min(width, height):
            return f"is a strip of {width} x {height} pixels", False
        image.load()
        if deep := is_deep(image):
            to_rgb(image)
    return (height, width), deep


def _stays(path: Path, inside: Path) -> bool:
    return path.resolve().is_relative_to(inside)
