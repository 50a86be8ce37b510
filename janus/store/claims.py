"""Who may write a run: claims, their heartbeats, and when a claim may be taken over.

    runs/ab/<id>/claims/<n>.json          claim number n; `<n>.released` beside it when given back
    runs/ab/<id>/attempts/<n>/beat.json   the heartbeat of claim n

Claim numbers only grow, each file is created exclusively, and the highest number owns the run: a
process that was taken for dead and continues later finds a higher number and must stop. Works on
any file system with atomic exclusive links.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from janus import atomic_files
from janus.config.cell import Cell, cell_record
from janus.errors import RunError
from janus.store.commit_result import commit_result
from janus.store.processes import has_ended, process_identity
from janus.store.run_folders import RunFolders

LEASE_S = 600.0
"""Seconds without a new heartbeat after which a claim may be taken over, where its process cannot
be seen (it runs on another machine) or is suspended. A process that ended on this machine leaves
its claim free at once; one that runs here keeps it, however long a single step takes."""


@dataclass
class Claim:
    """The right to write one run, as long as there is no claim of a higher number."""

    store: Claims
    cell_id: str
    number: int
    _last_beat: float = field(default=float("-inf"), repr=False)

    @property
    def attempt_dir(self) -> Path:
        """The folder of this claim's heartbeat, provenance and failure."""
        return self.store.run_dir(self.cell_id) / "attempts" / f"{self.number:06d}"

    @property
    def checkpoint_dir(self) -> Path:
        """Where this claim, and nobody else, writes checkpoints."""
        return self.store.run_dir(self.cell_id) / "ckpt" / f"{self.number:06d}"

    def check(self) -> None:
        """Raise RunError (cause `claim-lost`) when another process took this run over."""
        holder = self.store.last_claim(self.cell_id)
        if holder != self.number:
            raise RunError(
                f"run {self.cell_id} was taken over (claim {holder}, ours is {self.number}); "
                "this process stops without writing",
                cause="claim-lost",
            )

    def beat(self, progress: dict[str, Any], every_s: float = 5.0) -> None:
        """Write `progress` as the heartbeat, at most once in `every_s` seconds."""
        now = time.monotonic()
        if now - self._last_beat >= every_s:
            self._last_beat = now
            atomic_files.replace(
                self.attempt_dir / "beat.json", atomic_files.json_writer(progress), sync=False
            )

    def checkpoints(self) -> list[Path]:
        """Checkpoints of this claim and of those before it, furthest progress first."""
        return self.store.checkpoints(self.cell_id)

    def prune_checkpoints(self, keep: int = 2) -> None:
        """Delete all but the `keep` furthest checkpoints; safe at any moment."""
        for path in self.checkpoints()[keep:]:
            path.unlink(missing_ok=True)

    def fail(self, record: dict[str, Any]) -> None:
        """Write down why this attempt failed; the run can be claimed again."""
        atomic_files.replace(self.attempt_dir / "failure.json", atomic_files.json_writer(record))

    def commit(
        self, result: dict[str, Any], provenance: dict[str, Any], images: bytes | None = None
    ) -> None:
        """Write how the result came about, then the result itself (commit_result.py).

        Raises RunError when the claim was lost, or another, different result is there already.
        """
        self.check()
        atomic_files.replace(
            self.attempt_dir / "provenance.json", atomic_files.json_writer(provenance)
        )
        commit_result(self.store, self.cell_id, self.number, result, images)

    def release(self) -> None:
        """Release the claim: another process may then claim the run at once."""
        path = self.store.run_dir(self.cell_id) / "claims" / f"{self.number:06d}.released"
        atomic_files.create_once(path, atomic_files.json_writer({}))


class Claims(RunFolders):
    """Who works on which run of a store. `Store` adds results and checkpoints."""

    def __init__(self, root: str | Path, lease_s: float) -> None:
        super().__init__(root)
        self.lease_s = lease_s
        self._seen: dict[tuple[str, int], tuple[Any, float]] = {}
        """By cell and claim number: the heartbeat that was seen last, and when it was new."""

    def last_claim(self, cell_id: str) -> int:
        """The highest claim number; 0 when the run was never claimed."""
        return max((n for n, _ in self._claim_files(cell_id)), default=0)

    def _claim_files(self, cell_id: str) -> Iterator[tuple[int, str]]:
        try:
            names = os.listdir(self.run_dir(cell_id) / "claims")
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in names:
            if found := _CLAIM_FILE.fullmatch(name):
                yield int(found[1]), name

    def claim(self, cell: Cell) -> Claim | None:
        """A new claim of the cell's run; None while another process holds one."""
        return self.claim_id(cell.id, cell_record(cell))

    def claim_id(self, cell_id: str, cell: Mapping[str, Any]) -> Claim | None:
        """As `claim`, for a cell of another revision of the code, whose id we cannot compute."""
        last = self.last_claim(cell_id)
        if last and not self._is_free(cell_id, last):
            return None
        run = self.run_dir(cell_id)
        if last == 0:
            atomic_files.create_once(run / "cell.json", atomic_files.json_writer(cell))
        record = {"owner": process_identity(), "claimed_at": time.time()}
        path = run / "claims" / f"{last + 1:06d}.json"
        if not atomic_files.create_once(path, atomic_files.json_writer(record)):
            return None
        return Claim(self, cell_id, last + 1)

    def _is_free(self, cell_id: str, number: int) -> bool:
        """Whether claim `number` was released, its process ended, or it made no progress."""
        ended = self._ended(cell_id, number)
        if ended is False and self._seen.get((cell_id, number), _UNSEEN)[1] != _TRUSTED:
            return False
        return bool(ended) or self._stalled(cell_id, number)

    def _ended(self, cell_id: str, number: int) -> bool | None:
        """Whether the process of claim `number` has ended; None: only its heartbeat can show it."""
        run = self.run_dir(cell_id)
        if (run / "claims" / f"{number:06d}.released").exists():
            return True
        return has_ended(_owner(run / "claims" / f"{number:06d}.json"))

    def _stalled(self, cell_id: str, number: int) -> bool:
        """Whether the heartbeat has not changed for `lease_s`, by the clock of this machine: clocks
        of other machines may differ.
        """
        path = self.run_dir(cell_id) / "attempts" / f"{number:06d}" / "beat.json"
        beat = atomic_files.read_record(path) or None
        now = time.monotonic()
        before, since = self._seen.get((cell_id, number), _UNSEEN)
        if beat != before:
            self._seen[cell_id, number] = (beat, now)
            return False
        return now - since > self.lease_s

    def stalled_claim(self, cell_id: str) -> list[Any] | None:
        """[number, last heartbeat] of the last claim, if it may be taken over; None if not.

        A driver hands it to the worker that is to take the run over: see `trust`.
        """
        last = self.last_claim(cell_id)
        if not last or not self._is_free(cell_id, last):
            return None
        if self._ended(cell_id, last):
            return [last, self.beat(cell_id)]
        return [last, self._seen[cell_id, last][0]]

    def trust(self, cell_id: str, number: int, beat: Any) -> None:
        """Accept that another process saw claim `number` make no progress since heartbeat `beat`.

        The claim can then be taken over at once, as long as its heartbeat is still that one. This
        holds even if the process of the claim runs here: SLURM may have given up a node that only
        lost its network.
        """
        self._seen[cell_id, number] = (beat, _TRUSTED)

    def owner(self, cell_id: str) -> dict[str, Any]:
        """Host, pid and so on of the last claim."""
        last = self.last_claim(cell_id)
        return _owner(self.run_dir(cell_id) / "claims" / f"{last:06d}.json")

    def holder(self, cell_id: str) -> str:
        """The process of the last claim, in words."""
        owner = self.owner(cell_id)
        if not {"pid", "host"} <= set(owner):
            return "another process"
        return f"process {owner['pid']} on {owner['host']}"

    def failure(self, cell_id: str) -> dict[str, Any] | None:
        """Why the last attempt failed, or None."""
        last = self.last_claim(cell_id)
        path = self.run_dir(cell_id) / "attempts" / f"{last:06d}" / "failure.json"
        return atomic_files.read_record(path) or None

    def beat(self, cell_id: str) -> dict[str, Any] | None:
        """The last heartbeat of the last attempt, or None."""
        last = self.last_claim(cell_id)
        path = self.run_dir(cell_id) / "attempts" / f"{last:06d}" / "beat.json"
        return atomic_files.read_record(path) or None

    def attempts(self, cell_id: str) -> int:
        """How often the run was claimed."""
        return self.last_claim(cell_id)


_CLAIM_FILE = re.compile(r"([0-9]{6,9})\.(json|released)")


def _owner(claim: Path) -> dict[str, Any]:
    """The process that a claim file names; {} when the file is damaged."""
    owner = atomic_files.read_record(claim).get("owner")
    return owner if isinstance(owner, dict) else {}


_TRUSTED = float("-inf")
"""In place of the time since which a heartbeat is known: another process watched it long enough."""

_UNSEEN: tuple[Any, float] = (object(), 0.0)
"""A heartbeat that is like no other, and its time."""
