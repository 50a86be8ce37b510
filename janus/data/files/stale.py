"""Checks by size and time whether image files have changed since `prepare` decoded them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from janus import atomic_files
from janus.data.files.decoded import ImageFiles
from janus.data.files.scan import stamps
from janus.data.files.split import SUFFIXES, folders_of, images_in
from janus.data.images.images import Bench

NAME = "files.tsv"
"""File in the prepared folder: the root, then per file its path, size and time of change (ns)."""


def record_files(folder: Path, bench: Bench) -> None:
    """Record size and time of the files of `bench`; nothing if its images are not files."""
    lines: list[str] = []
    for images in (bench.train, bench.test):
        if isinstance(images.store, ImageFiles):
            lines[:0] = [] if lines else [str(images.store.root.resolve())]
            seen = stamps(images.store.root, images.store.paths).tolist()
            pairs = zip(images.store.paths, seen, strict=True)
            lines += [f"{path}\t{size}\t{time}" for path, (size, time) in pairs]
    if lines:
        atomic_files.replace(folder / NAME, atomic_files.text_writer("\n".join(lines) + "\n"))


def changes(folder: Path, listed: bool) -> str | None:
    """A text such as '2 changed, 1 gone, 3 new' on the files since `record_files`.

    None if nothing changed, if there is no record, or if the root is not on this machine. `listed`:
    list files define the split, so new files are not part of it.
    """
    try:
        root, *lines = (folder / NAME).read_text(encoding="utf-8").splitlines()
        rows = [line.rsplit("\t", 2) for line in lines]
        before = {path: [int(size), int(time)] for path, size, time in rows}
    except (OSError, ValueError):
        return None
    if not Path(root).is_dir():
        return None
    now = dict(zip(before, stamps(Path(root), tuple(before)).tolist(), strict=True))
    gone = sum(found == [-1, -1] for found in now.values())
    changed = sum(found != before[path] for path, found in now.items()) - gone
    new = 0 if listed else _new(Path(root), set(before))
    told = [f"{n} {word}" for n, word in ((changed, "changed"), (gone, "gone"), (new, "new")) if n]
    return ", ".join(told) if told else None


def _new(root: Path, known: set[str]) -> int:
    """Number of images not `known`, in the folders of known files and in folders beside these."""
    count = 0
    places = {os.path.dirname(path) for path in known}
    inhabited = {above for place in places for above in _and_above(place)}
    for parent in {os.path.dirname(place) for place in places if place}:
        with suppress(OSError):
            beside = {os.path.join(parent, name) for name in folders_of(root / parent)}
            count += sum(len(images_in(root / place)) for place in beside - inhabited)
    for place in places:
        with suppress(OSError):
            for name in os.listdir(root / place):
                image = name.lower().endswith(SUFFIXES) and not name.startswith(".")
                count += image and f"{place}/{name}" not in known
    return count


def _and_above(place: str) -> list[str]:
    """The folder and all folders above it, as relative paths."""
    parts = place.split("/")
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]
