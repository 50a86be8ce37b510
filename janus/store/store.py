"""The run store: a folder that knows what is finished, what is being worked on, and what failed.

    results/ab/<id>.json                  committed results; listing them is the set of done cells
    correct_images/ab/<sha256>.bits       which test images a result had right; the result names it
    runs/ab/<id>/cell.json                the configuration
    runs/ab/<id>/claims/<n>.json          claim number n; `<n>.released` beside it when given back
    runs/ab/<id>/attempts/<n>/            heartbeat, failure, provenance of claim n
    runs/ab/<id>/ckpt/<n>/*.safetensors   checkpoints of claim n
    features/ab/<key>.safetensors         a cache that may be deleted (see features.py)

Claim numbers only grow, each is created exclusively, and the highest one owns the run: a process
that was taken for dead and wakes up finds a higher number and must stop. A result is committed
once, by hard link, and never edited. Works on any file system with atomic exclusive links.
No torch here: planners and tables read the store.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from janus import atomic_files, metrics
from janus.config.cell import Cell, cell_record
from janus.errors import RunError
from janus.store import correct_images
from janus.store.processes import has_ended, process_identity

LEASE_S = 600.0
"""Seconds without progress after which a claim counts as dead, where its process cannot be seen
(another machine) or is suspended. One that ended on this machine leaves its claim free at once; one
that lives here keeps it, however long a single step takes."""


@dataclass
class Claim:
    """The right to write one run, as long as nobody holds a higher number."""

    store: Store
    cell_id: str
    number: int
    _last_beat: float = field(default=float("-inf"), repr=False)

    @property
    def attempt_dir(self) -> Path:
        """Where this claim leaves its heartbeat, provenance and failure."""
        return self.store.run_dir(self.cell_id) / "attempts" / f"{self.number:06d}"

    @property
    def checkpoint_dir(self) -> Path:
        """Where this claim, and nobody else, writes checkpoints."""
        return self.store.run_dir(self.cell_id) / "ckpt" / f"{self.number:06d}"

    def check(self) -> None:
        """Raise RunError (cause `claim-lost`) when somebody took this run over."""
        holder = self.store.last_claim(self.cell_id)
        if holder != self.number:
            raise RunError(
                f"run {self.cell_id} was taken over (claim {holder}, ours is {self.number}); "
                "this process stops without writing",
                cause="claim-lost",
            )

    def beat(self, progress: dict[str, Any], every_s: float = 5.0) -> None:
        """Publish training progress, at most once in `every_s` seconds."""
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
        """Note why this attempt ended; the run can be claimed again."""
        atomic_files.replace(self.attempt_dir / "failure.json", atomic_files.json_writer(record))

    def commit(
        self, result: dict[str, Any], provenance: dict[str, Any], images: bytes | None = None
    ) -> None:
        """Make `result` the cell's result. The first commit wins; an equal second one is fine.

        `images`: the file that `result` names in `correct_images`; it is there before the result.
        Raises RunError when another, different result is there already.
        """
        self.check()
        if images is not None:
            correct_images.keep(self.store.root, images)
        atomic_files.replace(
            self.attempt_dir / "provenance.json", atomic_files.json_writer(provenance)
        )
        path = self.store.result_path(self.cell_id)
        if not atomic_files.create(path, atomic_files.json_writer(result)):
            if not correct_images.same_facts(atomic_files.read_record(path), result):
                raise RunError(
                    f"{path} already holds another result for the same cell; the first stays. "
                    "Compare `numerics` in the attempts' provenance.json",
                    cause="result-differs",
                )
            return
        atomic_files.create(
            self.store.run_dir(self.cell_id) / "committed.json",
            atomic_files.json_writer({"attempt": self.number}),
        )

    def release(self) -> None:
        """Give the run back."""
        path = self.store.run_dir(self.cell_id) / "claims" / f"{self.number:06d}.released"
        atomic_files.create(path, atomic_files.json_writer({}))


class Store:
    """A run store in the folder `root`, which may be shared by many machines."""

    def __init__(self, root: str | Path, lease_s: float = LEASE_S) -> None:
        self.root = Path(root).expanduser().resolve()
        self.lease_s = lease_s
        self._seen: dict[tuple[str, int], tuple[Any, float]] = {}
        self._sound: set[str] = set()
        """Cells whose result was read and found sound; a result is never edited."""

    def result_path(self, cell_id: str) -> Path:
        """Where the committed result of a cell lies."""
        return self.root / "results" / cell_id[:2] / f"{cell_id}.json"

    def require_writable(self) -> None:
        """Raise ConfigError or OSError, with what to do, where results cannot be committed."""
        path = self.root / f".writable-{secrets.token_hex(4)}.tmp"
        try:
            atomic_files.create(path, atomic_files.text_writer(""))
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    @property
    def features(self) -> Path:
        """The folder of cached features."""
        return self.root / "features"

    def run_dir(self, cell_id: str) -> Path:
        """The folder of a run."""
        return self.root / "runs" / cell_id[:2] / cell_id

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

    def last_claim(self, cell_id: str) -> int:
        """The highest claim number, 0 when the run was never claimed."""
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
        """Try to become the one writer of the cell's run; None while somebody else is."""
        return self.claim_id(cell.id, cell_record(cell))

    def claim_id(self, cell_id: str, cell: Mapping[str, Any]) -> Claim | None:
        """As `claim`, for a cell of another revision of the code, whose id we cannot compute."""
        last = self.last_claim(cell_id)
        if last and not self._is_free(cell_id, last):
            return None
        run = self.run_dir(cell_id)
        if last == 0:
            atomic_files.create(run / "cell.json", atomic_files.json_writer(cell))
        record = {"owner": process_identity(), "claimed_at": time.time()}
        path = run / "claims" / f"{last + 1:06d}.json"
        if not atomic_files.create(path, atomic_files.json_writer(record)):
            return None
        return Claim(self, cell_id, last + 1)

    def _is_free(self, cell_id: str, number: int) -> bool:
        """Whether claim `number` was released, its process ended, or it made no progress."""
        ended = self._ended(cell_id, number)
        if ended is False and self._seen.get((cell_id, number), _UNSEEN)[1] != _TOLD:
            return False
        return bool(ended) or self._stalled(cell_id, number)

    def _ended(self, cell_id: str, number: int) -> bool | None:
        """Whether nobody works under claim `number` any more; None: only its progress can tell."""
        run = self.run_dir(cell_id)
        if (run / "claims" / f"{number:06d}.released").exists():
            return True
        return has_ended(_owner(run / "claims" / f"{number:06d}.json"))

    def _stalled(self, cell_id: str, number: int) -> bool:
        """Judged by the progress counter against our own clock: skewed clocks do not matter."""
        path = self.run_dir(cell_id) / "attempts" / f"{number:06d}" / "beat.json"
        beat = atomic_files.read_record(path) or None
        now = time.monotonic()
        before, since = self._seen.get((cell_id, number), _UNSEEN)
        if beat != before:
            self._seen[cell_id, number] = (beat, now)
            return False
        return now - since > self.lease_s

    def stalled_claim(self, cell_id: str) -> list[Any] | None:
        """[number, last heartbeat] of a claim that this store object saw end, or make no progress.

        For a driver to hand to the worker that shall take over: see `trust`.
        """
        last = self.last_claim(cell_id)
        if not last or not self._is_free(cell_id, last):
            return None
        if self._ended(cell_id, last):
            return [last, self.beat(cell_id)]
        return [last, self._seen[cell_id, last][0]]

    def trust(self, cell_id: str, number: int, beat: Any) -> None:
        """Take another observer's word that claim `number` stalled at `beat`.

        The claim counts as dead only while its heartbeat still is that one. The word outweighs a
        process that lives here: SLURM may have given up a node that only lost its network.
        """
        self._seen[cell_id, number] = (beat, _TOLD)

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

    def status(self, cell_id: str) -> str:
        """`done`, `running`, `failed` (the last attempt ended with a failure) or `open`.

        `done` is told by the name alone: see `damaged`.
        """
        if os.path.lexists(self.result_path(cell_id)):
            return "done"
        last = self.last_claim(cell_id)
        if last and not self._is_free(cell_id, last):
            return "running"
        return "failed" if self.failure(cell_id) else "open"

    def failure(self, cell_id: str) -> dict[str, Any] | None:
        """Why the last attempt failed, or None."""
        last = self.last_claim(cell_id)
        path = self.run_dir(cell_id) / "attempts" / f"{last:06d}" / "failure.json"
        return atomic_files.read_record(path) or None

    def beat(self, cell_id: str) -> dict[str, Any] | None:
        """Last published progress of the last attempt."""
        last = self.last_claim(cell_id)
        path = self.run_dir(cell_id) / "attempts" / f"{last:06d}" / "beat.json"
        return atomic_files.read_record(path) or None

    def attempts(self, cell_id: str) -> int:
        """How often the run was claimed."""
        return self.last_claim(cell_id)

    def checkpoints(self, cell_id: str) -> list[Path]:
        """Checkpoints of all attempts at a run, furthest progress first."""
        named = (self.run_dir(cell_id) / "ckpt").glob("*/*.safetensors")
        found = (path for path in named if not path.is_dir())  # which could not be deleted as one
        return sorted(found, key=lambda p: (p.name, p.parent.name), reverse=True)

    def drop_checkpoints(self, cell_id: str, keep: int = 0) -> None:
        """Delete all but the `keep` furthest checkpoints of a run that has its result."""
        if not keep:
            shutil.rmtree(self.run_dir(cell_id) / "ckpt", ignore_errors=True)
        for path in self.checkpoints(cell_id)[keep:]:
            path.unlink(missing_ok=True)


_CLAIM_FILE = re.compile(r"([0-9]{6,9})\.(json|released)")

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


def _owner(claim: Path) -> dict[str, Any]:
    """The process that a claim file names; {} when the file is damaged."""
    owner = atomic_files.read_record(claim).get("owner")
    return owner if isinstance(owner, dict) else {}


_TOLD = float("-inf")
"""In place of the time since when a heartbeat is known: somebody else watched it long enough."""

_UNSEEN: tuple[Any, float] = (object(), 0.0)
"""A heartbeat that is like no other, and its time."""
