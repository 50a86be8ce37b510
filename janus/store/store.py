"""The run store: a folder that knows what is finished, what is being worked on, and what failed.

    results/ab/<id>.json                  committed results; listing them is the set of done cells
    correct_images/ab/<sha256>.bits       which test images a result had right; the result names it
    runs/ab/<id>/cell.json                the configuration
    runs/ab/<id>/claims/<n>.json          claim number n; `<n>.released` beside it when given back
    runs/ab/<id>/attempts/<n>/            heartbeat, failure, provenance of claim n
    runs/ab/<id>/ckpt/<n>/*.safetensors   checkpoints of claim n
    features/ab/<key>.safetensors         a cache that may be deleted (see feature_cache.py)

Who may write a run is decided in `claims.py`. `commit_result.py` writes a result, once, by hard
link; it is never edited. No torch here: planners and tables read the store.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from janus import atomic_files, metrics
from janus.errors import RunError
from janus.store.claims import LEASE_S, Claims


class Store(Claims):
    """A run store in the folder `root`, which may be shared by many machines."""

    def __init__(self, root: str | Path, lease_s: float = LEASE_S) -> None:
        super().__init__(root, lease_s)
        self._sound: set[str] = set()
        """Cells whose result was read and found sound; a result is never edited."""

    def require_writable(self) -> None:
        """Raise ConfigError or OSError, with what to do, where results cannot be committed."""
        path = self.root / f".writable-{secrets.token_hex(4)}.tmp"
        try:
            atomic_files.create_once(path, atomic_files.text_writer(""))
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def done(self) -> set[str]:
        """Ids of all cells with a committed result: one directory listing per prefix."""
        found: set[str] = set()
        results = self.root / "results"
        for prefix in os.listdir(results) if results.is_dir() else []:
            if len(prefix) != 2:
                continue  # not ours: a file manager's litter, say
            for name in os.listdir(results / prefix):
                if name.endswith(".json") and not name.startswith("."):
                    found.add(name.removesuffix(".json"))
        return found

    def result(self, cell_id: str) -> dict[str, Any] | None:
        """The committed result, or None.

        Raises RunError when the file is not valid JSON, or its metrics are not those of its counts.
        """
        path = self.result_path(cell_id)
        if not os.path.lexists(path):
            return None
        record = atomic_files.read_record(path)
        why = _damage(record, cell_id)
        if why:
            raise RunError(f"{path} is damaged: {why}. {MEND}", cause=DAMAGED)
        self._sound.add(cell_id)
        return record

    def damaged(self, cell_ids: Collection[str]) -> dict[str, str]:
        """Those of the finished cells `cell_ids` whose result is damaged, with what to do.

        Up to FULL_CHECKS results are read as `result` does; of more, whether each file begins and
        ends as one. A result that this object found sound is not read again.
        """
        left = [cell_id for cell_id in cell_ids if cell_id not in self._sound]
        found: dict[str, str] = {}
        results = self.root / "results"
        for cell_id in left:
            if len(left) > FULL_CHECKS and _looks_whole(f"{results}/{cell_id[:2]}/{cell_id}.json"):
                self._sound.add(cell_id)
                continue
            try:
                self.result(cell_id)
            except RunError as error:
                found[cell_id] = str(error)
        return found

    def provenance(self, cell_id: str) -> dict[str, Any] | None:
        """How the committed result came about: timings, memory, hardware, attempts."""
        run = self.run_dir(cell_id)
        winner = atomic_files.read_record(run / "committed.json").get("attempt")
        known = type(winner) is int and winner > 0
        numbers = [winner] if known else range(self.last_claim(cell_id), 0, -1)
        for number in numbers:
            record = atomic_files.read_record(
                run / "attempts" / f"{number:06d}" / "provenance.json"
            )
            if record:
                return record
        return None

    def status(self, cell_id: str) -> str:
        """`done`, `running`, `failed` (the last attempt ended with a failure) or `open`.

        A result counts as `done` by its file name, unread: see `damaged`.
        """
        if os.path.lexists(self.result_path(cell_id)):
            return "done"
        last = self.last_claim(cell_id)
        if last and not self._is_free(cell_id, last):
            return "running"
        return "failed" if self.failure(cell_id) else "open"

    def drop_checkpoints(self, cell_id: str, keep: int = 0) -> None:
        """Delete all but the `keep` furthest checkpoints of a run that has its result."""
        if not keep:
            shutil.rmtree(self.run_dir(cell_id) / "ckpt", ignore_errors=True)
        for path in self.checkpoints(cell_id)[keep:]:
            path.unlink(missing_ok=True)


DAMAGED = "store-damaged"
"""Cause of a failure because the committed result of the cell is damaged."""

MEND = "Move it away, then the same command trains the cell again"

FULL_CHECKS = 5000
"""Most results that are read to tell whether they are sound: about two seconds."""


def _damage(record: Mapping[str, Any], cell_id: str) -> str | None:
    """What is wrong with the record of a result; None: nothing."""
    if not record:
        return "it is empty, cut short or not readable as a result"
    if record.get("id") != cell_id:
        return f"it is not the result of cell {cell_id}"
    return metrics.contradiction(record)


def _looks_whole(path: str) -> bool:
    """Whether a file begins and ends as a result does; written for ninety thousand of them."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        end = os.fstat(descriptor).st_size - 2
        first, last = os.pread(descriptor, 1, 0), os.pread(descriptor, 2, max(0, end))
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return first == b"{" and last.rstrip().endswith(b"}")
