"""`gc`: delete what a store no longer needs. Results, provenance and failures are never deleted.

checkpoints of finished cells         the result is committed, nothing resumes from them
half-written files                    of writers that were killed, once they are a day old
folders of killed drivers             of this machine, processes that are left included
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from janus.errors import ConfigError
from janus.store import Store
from sweeps import leftovers
from sweeps.console import say
from sweeps.stores import read_words

HALF_WRITTEN_S = 86400.0
"""Older temporary files have no living writer: a write takes seconds."""


def collect(words: Sequence[str]) -> int:
    """The action: `gc store=runs keep=none|final dry=false`."""
    paths, given = read_words(words, {"store": "runs", "keep": "none", "dry": "false"})
    if paths:
        raise ConfigError(f"unknown word {paths[0]!r}; write gc store=DIR keep=final dry=true")
    if given["keep"] not in ("none", "final"):
        raise ConfigError(f"keep must be none or final, got {given['keep']!r}")
    if given["dry"] not in ("true", "false"):
        raise ConfigError(f"dry must be true or false, got {given['dry']!r}")
    store, dry = Store(given["store"]), given["dry"] == "true"
    if not store.root.is_dir():
        raise ConfigError(f"no store in {store.root}")
    checkpoints = list(old_checkpoints(store, keep_final=given["keep"] == "final"))
    halves = list(half_written(store))
    freed = sum(path.stat().st_size for path in [*checkpoints, *halves])
    if not dry:
        for path in [*checkpoints, *halves]:
            path.unlink(missing_ok=True)
        leftovers.clear(store.root / "sweeps")
    say(
        f"{'would delete' if dry else 'deleted'} {len(checkpoints)} checkpoints of finished cells "
        f"and {len(halves)} half-written files, {freed / 1e6:.1f} MB"
    )
    return 0


def old_checkpoints(store: Store, keep_final: bool) -> Iterator[Path]:
    """Checkpoints of finished cells; with `keep_final`, all but the furthest of each."""
    for cell_id in sorted(store.done()):
        yield from store.checkpoints(cell_id)[1 if keep_final else 0 :]


def half_written(store: Store) -> Iterator[Path]:
    """Temporary files that nobody writes any more."""
    now = time.time()
    for path in store.root.rglob(".*.tmp"):
        if path.is_file() and now - path.stat().st_mtime > HALF_WRITTEN_S:
            yield path
