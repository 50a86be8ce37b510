"""A bench's split as lists of files with class and domain, the hash of the split, and its checks.

All problems of a split are found before training and reported together.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from janus import atomic_files
from janus.errors import DataError, RunError

JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")
SUFFIXES = (*JPEG, ".png", ".gif", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
JUNK = ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found")
"""Folders (in lower case) that operating systems create; ignored like hidden folders."""
LITTER = ("thumbs.db", "desktop.ini")
"""Files (in lower case) that operating systems create; ignored without a message."""
NAMED = 20
"""Most problems that an error message names; further ones are only counted."""


@dataclass(frozen=True)
class Listing:
    """The labelled files of one part (train or test) of a split. N files."""

    paths: tuple[str, ...]
    """Relative to the root, with forward slashes."""
    labels: np.ndarray
    """int64 (N,)"""
    domains: np.ndarray
    """int64 (N,)"""

    def __len__(self) -> int:
        return len(self.paths)


def listing(paths: Sequence[str], labels: Iterable[int], domains: Iterable[int] = ()) -> Listing:
    """A Listing of these values; without `domains` all files are in domain 0."""
    where = np.array(list(domains), dtype=np.int64)
    where = where if len(where) else np.zeros(len(paths), dtype=np.int64)
    return Listing(tuple(paths), np.array(list(labels), dtype=np.int64), where)


@dataclass(frozen=True)
class DataSplit:
    """Train and test files of a bench."""

    root: Path
    train: Listing
    test: Listing
    class_names: tuple[str, ...]
    domain_names: tuple[str, ...] = ("all",)
    notes: tuple[str, ...] = ()
    """Lines on files and folders that were left out."""

    def sha256(self, content: Mapping[str, str]) -> str:
        """Hash of both lists (relative paths, labels, domains) and of the files' bytes.

        `content`: the hash of the bytes by part (train, test), from `examine`.
        """
        digest = hashlib.sha256()
        for name, part in (("train", self.train), ("test", self.test)):
            rows = zip(part.paths, part.labels.tolist(), part.domains.tolist(), strict=True)
            text = "".join(f"{name}\t{p}\t{y}\t{d}\n" for p, y, d in rows)
            digest.update(os.fsencode(text))
            digest.update(f"{name}\t{content[name]}\n".encode())
        return digest.hexdigest()


def refuse(problems: Sequence[str], what: str, record: Path | None = None) -> None:
    """Raise DataError if there are `problems`. The message names the first NAMED of them.

    If there are more, all of them are written into the file `record`.
    """
    if not problems:
        return
    more = f"; and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
    if more and record is not None:
        with suppress(OSError, RunError):  # a missing record is no reason to hide the problems
            atomic_files.replace(
                record, atomic_files.text_writer("\n".join(map(_shown, problems)) + "\n")
            )
            more += f" (all are in {record})"
    raise DataError(
        f"{len(problems)} problem(s) with {what}: {'; '.join(problems[:NAMED])}{more}. Correct "
        "or remove these, then check again with: python -m janus.data check BENCH"
    )


def faults(
    part: str,
    labels: np.ndarray,
    domains: np.ndarray,
    class_names: Sequence[str],
    domain_names: Sequence[str] = (),
) -> list[str]:
    """Problems as sentences: labels out of range, classes (and named domains) without images."""
    known = (labels >= 0) & (labels < len(class_names))
    wrong = np.flatnonzero(~known)
    found = [f"label {labels[n]} of {part} image {n} is out of range" for n in wrong]
    for names, numbers in ((class_names, labels[known]), (domain_names, domains)):
        counts = np.bincount(numbers, minlength=len(names))[: len(names)]
        found += [f"no {part} images of {names[n]}" for n in np.flatnonzero(counts == 0).tolist()]
    return found


def class_folders(folder: Path) -> list[str]:
    """Names of the sub-folders, sorted, without hidden ones and JUNK.

    Raises DataError if there are none.
    """
    if not folder.is_dir():
        raise DataError(
            f"there is no folder {folder}. Give the folder of the images: bench.root=DIR. "
            "How to get them: python -m janus.data list"
        )
    names = folders_of(folder)
    if not names:
        raise DataError(
            f"{folder} holds no folders of images, one per class; see docs/benches.md, and give "
            "another bench.root"
        )
    return names


def folders_of(folder: Path) -> list[str]:
    """Names of the sub-folders, sorted, without hidden ones and JUNK; may be []."""
    return sorted(e.name for e in os.scandir(folder) if e.is_dir() and not _skipped(e.name))


def images_in(folder: Path) -> list[str]:
    """Paths of all image files below `folder`, relative to it, sorted.

    Links to folders are not followed but are in the list, so that `examine` refuses them.
    """
    found = []
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not _skipped(f))
        linked = [f for f in folders if os.path.islink(os.path.join(where, f))]
        images = [f for f in files if f.lower().endswith(SUFFIXES) and not f.startswith(".")]
        found += [
            os.path.relpath(os.path.join(where, f), folder).replace(os.sep, "/")
            for f in (*linked, *images)
        ]
    return sorted(found)


def others_in(folder: Path) -> Counter[str]:
    """Number of files below `folder` that are no images, by suffix in lower case.

    Files without a suffix are counted as "without a suffix".
    """
    found: Counter[str] = Counter()
    for _, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if not _skipped(f)]
        for name in files:
            if not (_skipped(name) or name.lower() in LITTER or name.lower().endswith(SUFFIXES)):
                found[os.path.splitext(name)[1].lower() or "without a suffix"] += 1
    return found


def _skipped(name: str) -> bool:
    return name.startswith(".") or name.lower() in JUNK


def _shown(text: str) -> str:
    """`text` with bytes of a file name that are not UTF-8 written as escapes."""
    return text.encode(errors="backslashreplace").decode()
