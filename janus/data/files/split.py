"""A split as data: which file is which class of which domain, and the hash that names it.

Everything that can be wrong with it is looked for before training, and named at once.
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
"""Folders, in small letters, that systems leave beside images; no classes, as hidden ones."""
LITTER = ("thumbs.db", "desktop.ini")
"""Files of the same kind: left out without a word."""
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
class DataSplit:
    """Train and test files of a bench."""

    root: Path
    train: Listing
    test: Listing
    class_names: tuple[str, ...]
    domain_names: tuple[str, ...] = ("all",)
    notes: tuple[str, ...] = ()
    """What was left out, a line each."""

    def sha256(self, content: Mapping[str, str]) -> str:
        """Hash of both lists (paths, labels, domains) and of what the files hold: `content`, by
        part, as `examine` gives it. Wherever the root lies.
        """
        digest = hashlib.sha256()
        for name, part in (("train", self.train), ("test", self.test)):
            rows = zip(part.paths, part.labels.tolist(), part.domains.tolist(), strict=True)
            text = "".join(f"{name}\t{p}\t{y}\t{d}\n" for p, y, d in rows)
            digest.update(os.fsencode(text))
            digest.update(f"{name}\t{content[name]}\n".encode())
        return digest.hexdigest()


def refuse(problems: Sequence[str], what: str, record: Path | None = None) -> None:
    """Raise DataError naming all `problems`, if there are any: the first NAMED in the message, and
    where there are more, all of them in the file `record`.
    """
    if not problems:
        return
    more = f"; and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
    if more and record is not None:
        with suppress(OSError, RunError):  # a folder that cannot be written to is a lesser problem
            atomic_files.replace(
                record, atomic_files.text_writer("\n".join(map(_shown, problems)) + "\n")
            )
            more += f" (all are in {record})"
    raise DataError(
        f"{len(problems)} problem(s) with {what}: {'; '.join(problems[:NAMED])}{more}. Mend or "
        "remove these, then look again with: python -m janus.data check BENCH"
    )


def faults(
    part: str,
    labels: np.ndarray,
    domains: np.ndarray,
    class_names: Sequence[str],
    domain_names: Sequence[str] = (),
) -> list[str]:
    """Labels of train or test that are out of range, and classes (and, where named, domains)
    without images, as problems.
    """
    known = (labels >= 0) & (labels < len(class_names))
    wrong = np.flatnonzero(~known)
    found = [f"label {labels[n]} of {part} image {n} is out of range" for n in wrong]
    for names, numbers in ((class_names, labels[known]), (domain_names, domains)):
        counts = np.bincount(numbers, minlength=len(names))[: len(names)]
        found += [f"no {part} images of {names[n]}" for n in np.flatnonzero(counts == 0).tolist()]
    return found


def class_folders(folder: Path) -> list[str]:
    """Names of the sub-folders, sorted; hidden ones and JUNK are no classes.

    Raises DataError where there are none.
    """
    if not folder.is_dir():
        raise DataError(
            f"there is no folder {folder}. Name that of the images: bench.root=DIR; where they "
            "come from says: python -m janus.data list"
        )
    names = folders_of(folder)
    if not names:
        raise DataError(
            f"{folder} holds no folders of images, one per class; see docs/benches.md, and give "
            "another bench.root"
        )
    return names


def folders_of(folder: Path) -> list[str]:
    """Names of the sub-folders, sorted, without hidden ones and JUNK; there may be none."""
    return sorted(e.name for e in os.scandir(folder) if e.is_dir() and not _skipped(e.name))


def images_in(folder: Path) -> list[str]:
    """Image files anywhere below `folder`, relative to it, sorted. Links to folders are not
    followed but named among them: `examine` refuses these.
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
    """How many files below `folder` are no images by their suffix, by suffix in small letters;
    "without a suffix" for those that have none.
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
    """`text` with what is not UTF-8 in a file's name written as an escape."""
    return text.encode(errors="backslashreplace").decode()
