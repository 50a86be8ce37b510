"""`gc`: delete what a store no longer needs. Results, provenance and failures are never deleted.

checkpoints of finished cells         the result is committed, nothing resumes from them
half-written files                    of writers that were killed, once they are a day old
correctness of single images          that no result names, once it is a day old
folders of killed drivers             of this machine, processes that are left included
cached features                       where `features=drop` asks for it: runs make them again
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from janus import atomic_files
from janus.errors import ConfigError
from janus.store.correct_images import FIELD
from janus.store.store import Store
from sweeps.commands.store_words import read_words
from sweeps.execution import cleanup
from sweeps.show.console import print_line

CHOICES = {"keep": ("none", "final"), "features": ("keep", "drop"), "dry": ("true", "false")}

HALF_WRITTEN_S = 86400.0
"""Files that are older have no living writer: a write, or a commit, takes seconds."""


def collect(words: Sequence[str]) -> int:
    """The action: `gc store=runs keep=none|final features=keep|drop dry=false`."""
    defaults = {"store": "runs", "keep": "none", "features": "keep", "dry": "false"}
    paths, given = read_words(words, defaults)
    if paths:
        raise ConfigError(f"unknown word {paths[0]!r}; write gc store=DIR keep=final dry=true")
    for word, choices in CHOICES.items():
        if given[word] not in choices:
            raise ConfigError(f"{word} must be {' or '.join(choices)}, got {given[word]!r}")
    store, dry = Store(given["store"]), given["dry"] == "true"
    if not store.root.is_dir():
        raise ConfigError(f"no store in {store.root}; name it with store=DIR")
    checkpoints = list(old_checkpoints(store, keep_final=given["keep"] == "final"))
    halves = list(half_written(store))
    images = unnamed_images(store)
    features = cached_features(store) if given["features"] == "drop" else []
    old = [*checkpoints, *halves, *images, *features]
    freed = sum(path.lstat().st_size for path in old)  # a link may lead nowhere
    if not dry:
        for path in old:
            path.unlink(missing_ok=True)
        cleanup.clear(store.root / "sweeps")
    print_line(
        f"{'would delete' if dry else 'deleted'} {len(checkpoints)} checkpoints of finished cells, "
        f"{len(halves)} half-written files, {len(images)} unnamed files of single images and "
        f"{len(features)} files of features, "
        f"{freed / 1e6:.1f} MB"
    )
    return 0


def old_checkpoints(store: Store, keep_final: bool) -> Iterator[Path]:
    """Checkpoints of finished cells; with `keep_final`, all but the furthest of each."""
    for cell_id in sorted(store.done()):
        yield from store.checkpoints(cell_id)[1 if keep_final else 0 :]


def cached_features(store: Store) -> list[Path]:
    """Files of cached features. A process that has one open can go on reading it after the
    deletion.
    """
    return sorted(store.features.glob("*/*.safetensors"))


def unnamed_images(store: Store) -> list[Path]:
    """Files of single test images that no result names: a run was killed before its commit.

    None where a result cannot be read: it may name any of them.
    """
    found = [path for path in (store.root / FIELD).glob("*/*.bits") if _is_old(path)]
    named = set()
    for cell_id in store.done() if found else ():
        record = atomic_files.read_record(store.result_path(cell_id))
        if not record:
            return []
        named.add(record.get(FIELD))
    return sorted(path for path in found if path.stem not in named)


def half_written(store: Store) -> Iterator[Path]:
    """Temporary files of writers that were killed."""
    yield from (path for path in store.root.rglob(".*.tmp") if path.is_file() and _is_old(path))


def _is_old(path: Path) -> bool:
    """Whether the file is so old that no running writer can still need it."""
    return time.time() - path.stat().st_mtime > HALF_WRITTEN_S
