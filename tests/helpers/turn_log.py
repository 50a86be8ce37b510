"""When the turns of cells began and ended: what sweeps are timed by."""

from __future__ import annotations

import json
import time
from pathlib import Path

from janus import atomic_files
from janus.store.store import Store


class Log:
    """Lines that cells leave when their turn begins, at their first step, and at their end."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, event: str, cell_id: str, at: float | None = None) -> None:
        """Append one line; short writes are atomic."""
        with open(self.path, "a") as out:
            out.write(json.dumps([event, cell_id, at or time.time()]) + "\n")

    def times(self, event: str) -> list[tuple[str, float]]:
        """(cell, time) of every such event, in order."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        records = [json.loads(line) for line in lines]
        return [(cell_id, at) for kind, cell_id, at in records if kind == event]


def log_of_store(folder: Path) -> Log:
    """What our store knows of turns, first steps and ends, as a log."""
    store, log = Store(folder / "store"), Log(folder / "log")
    log.path.unlink(missing_ok=True)
    ends: dict[int, float] = {}
    claims = []
    for path in (store.root / "runs").glob("*/*/claims/*.json"):
        cell_id, number = path.parent.parent.name, path.stem
        record = atomic_files.read_json(path)
        attempt = path.parent.parent / "attempts" / number
        claims.append((record["claimed_at"], record["owner"]["pid"], cell_id, attempt))
    for claimed_at, pid, cell_id, attempt in sorted(claims, key=lambda c: c[0]):
        # a worker's turn begins when the cell before it was committed
        log.add("turn", cell_id, ends.get(pid, claimed_at))
        if (beat := atomic_files.read_json(attempt / "beat.json")) is not None:
            log.add("step", cell_id, beat["began_at"])
        if (attempt / "provenance.json").exists():
            ends[pid] = (attempt / "provenance.json").stat().st_mtime
            log.add("end", cell_id, ends[pid])
    return log
