"""Finds duplicate images in a split: in both training and test, or in two classes."""

from __future__ import annotations

from janus.data.files.decoded import ImageFiles
from janus.data.images.images import Bench

EXAMPLES = 3
"""Number of pairs of files named in a line."""


def copies(bench: Bench) -> list[str]:
    """A line for each kind of duplicate: how many there are, and the first examples.

    Duplicates have the same bytes (SHA-256). [] for a bench whose images are not files.
    """
    files: dict[bytes, list[tuple[str, str, int]]] = {}
    for part, images in (("train", bench.train), ("test", bench.test)):
        if part not in bench.digests or not isinstance(images.store, ImageFiles):
            continue
        rows = zip(bench.digests[part], images.store.paths, images.labels.tolist(), strict=True)
        for digest, path, label in rows:
            files.setdefault(digest.tobytes(), []).append((part, path, label))
    several = [found for found in files.values() if len(found) > 1]
    leaks = [_first_unequal(found, 0) for found in several if len({f[0] for f in found}) > 1]
    disputed = [_first_unequal(found, 2) for found in several if len({f[2] for f in found}) > 1]
    lines = [
        ("are trained on and tested: test figures are too high", leaks),
        ("are in two classes", disputed),
    ]
    return [f"{len(pairs)} images {what}: {_named(pairs)}" for what, pairs in lines if pairs]


def _first_unequal(found: list[tuple[str, str, int]], column: int) -> tuple[str, str]:
    """Paths of the first file and of the first file that differs from it in `column`."""
    other = next(f for f in found if f[column] != found[0][column])
    return found[0][1], other[1]


def _named(pairs: list[tuple[str, str]]) -> str:
    shown = ", ".join(f"{a} = {b}" for a, b in sorted(pairs)[:EXAMPLES])
    return shown + (", ..." if len(pairs) > EXAMPLES else "")
