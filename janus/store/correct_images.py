"""Files that say which test images a result had right: their paths, and a check of their bytes.

A result names its file in `correct_images`: the SHA-256 of the bytes, which lie at
`correct_images/ab/<sha256>.bits` of the store. They are written before the result is committed and
never edited. What is in them: `image_bits.py`. No numpy here: planners read the store.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from janus import atomic_files
from janus.errors import DataError

FIELD = "correct_images"
"""Where a result names its file. Results of earlier versions have no such field."""


def content_name(content: bytes) -> str:
    """What a result calls these bytes: their SHA-256."""
    return hashlib.sha256(content).hexdigest()


def path_of(root: Path, name: str) -> Path:
    """Where the file of this name lies in the store at `root`."""
    return root / FIELD / name[:2] / f"{name}.bits"


def keep_file(root: Path, content: bytes) -> None:
    """Write a file into a store. If it is there already, its time is set to now: `gc` deletes old
    files that no result names, and the result is written later. Raises RunError when the disk is
    full.
    """
    path = path_of(root, content_name(content))

    def write(temporary: Path) -> None:
        temporary.write_bytes(content)

    if atomic_files.create_once(path, write):
        return
    if path.read_bytes() == content:
        os.utime(path)
    else:  # damaged since
        atomic_files.replace(path, write)


def read_file(root: Path, name: str) -> bytes:
    """The bytes of a file of the store. Raises DataError where it is gone or damaged."""
    path = path_of(root, name)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if content_name(content) != name:
        raise DataError(f"{path} is damaged: its content is not the one that its name says")
    return content


def same_facts(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two results say the same; one of an earlier version names no file."""
    if FIELD in one and FIELD in other:
        return one == other
    return {**one, FIELD: None} == {**other, FIELD: None}
