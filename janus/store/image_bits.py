"""Which test images a run had right after each task: one bit an image, as bytes.

`analysis/blocks/image_comparisons.py` compares two methods image by image with them. Images are
numbered as in the bench's test set, whatever the order of classes, so that runs of different orders
and methods are paired by image. Where the files lie: `correct_images.py`. No torch, no pickle here.

    one line of JSON    schema, images (N), tasks (T), after, test_set, task_bytes
    N * task_bytes      the task of each image, from 0: unsigned integers, little-endian;
                        task_bytes is 0 where all tasks share one test set
    one row per task in `after`, ceil(N / 8) bytes each: bit 7 of its first byte is image 0; 1 means
                        right among all classes seen; 0 wrong, or of a task still to come
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from janus.errors import DataError
from janus.store import correct_images

SCHEMA = 1


@dataclass(frozen=True)
class ImageBits:
    """The bits of one run. N test images, T tasks, R measurements."""

    test_set: str
    """Name of the test set and its order (see `name_of_test_set`); where it is equal, images are
    numbered alike."""
    images: int
    """N."""
    tasks: int
    """T."""
    task: NDArray[np.integer[Any]] | None
    """(N,): the task that each image belongs to; None where all tasks share one test set."""
    after: tuple[int, ...]
    """(R,): the tasks, from 0, after which a row was measured."""
    rows: NDArray[np.uint8]
    """(R, ceil(N / 8)): packed bits."""

    def right(self, row: int = -1) -> NDArray[np.bool_]:
        """(N,): whether each image was right at one measurement, the last one by default."""
        return np.unpackbits(self.rows[row], count=self.images).view(np.bool_)

    def counts(self) -> list[list[int] | None]:
        """The matrix of correct counts that these bits give, as `correct` of a result."""
        found: list[list[int] | None] = [None] * self.tasks
        for number, t in enumerate(self.after):
            right = self.right(number)
            if self.task is None:
                found[t] = [int(right.sum())]
                continue
            per_task = np.bincount(self.task[right], minlength=self.tasks)
            if per_task[t + 1 :].any():
                raise DataError(f"images of later tasks are right after task {t + 1}")
            found[t] = per_task[: t + 1].tolist()
        return found


def name_of_test_set(split: str, labels: NDArray[Any], domains: NDArray[Any]) -> str:
    """SHA-256 of what numbers the images: the split's hash, labels (N,) and domains (N,)."""
    digest = hashlib.sha256(split.encode())
    for numbers in (labels, domains):
        digest.update(np.ascontiguousarray(numbers, dtype="<i8").tobytes())
    return digest.hexdigest()


def encode(found: ImageBits) -> bytes:
    """The bytes of the file: the same for the same bits, on every machine."""
    width = 0 if found.task is None else 1 if found.tasks <= 256 else 2
    header = {
        "schema": SCHEMA,
        "images": found.images,
        "tasks": found.tasks,
        "after": list(found.after),
        "test_set": found.test_set,
        "task_bytes": width,
    }
    line = json.dumps(header, sort_keys=True, separators=(",", ":")) + "\n"
    task = b"" if found.task is None else found.task.astype(f"<u{width}").tobytes()
    return line.encode() + task + found.rows.tobytes()


def decode_bits(content: bytes) -> ImageBits:
    """The bits in the bytes of a file. Raises DataError saying why they are no such file."""
    line, _, body = content.partition(b"\n")
    try:
        header = json.loads(line)
        schema, test_set = header["schema"], str(header["test_set"])
        images, tasks, width = (int(header[key]) for key in ("images", "tasks", "task_bytes"))
        after = tuple(int(t) for t in header["after"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"it has no header ({error!r})") from None
    if schema != SCHEMA:
        raise DataError(f"schema {schema!r}; this version reads {SCHEMA}")
    row = -(-images // 8)
    if width not in (0, 1, 2) or len(body) != images * width + len(after) * row:
        raise DataError(f"it has {len(body)} bytes for {len(after)} rows of {images} images")
    task = np.frombuffer(body, f"<u{width}", images) if width else None
    if any(not 0 <= t < tasks for t in after) or (task is not None and (task >= tasks).any()):
        raise DataError(f"it names a task beyond its {tasks}")
    rows = np.frombuffer(body, np.uint8, offset=images * width).reshape(len(after), row)
    return ImageBits(test_set, images, tasks, task, after, rows)


def load_bits(root: Path, name: str, correct: Sequence[Sequence[int] | None]) -> ImageBits:
    """The bits that a result names. Raises DataError where they are not those of its counts.

    correct: the result's matrix of correct counts.
    """
    content = correct_images.read_file(root, name)
    try:
        found = decode_bits(content)
        counts = found.counts()
    except DataError as error:
        path = correct_images.path_of(root, name)
        raise DataError(f"{path} is damaged: {error}") from None
    if counts != [None if row is None else list(row) for row in correct]:
        path = correct_images.path_of(root, name)
        raise DataError(f"{path} is damaged: its images do not add up to the result's counts")
    return found
