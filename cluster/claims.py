"""The run store as tasks see it: claims carry their job, and a run that cannot go on is failed.

Beside each claim lies `attempts/<n>/job.json`: the job, its restart count, and the checkpoint it
started from. From these follow two things the store alone cannot know: whether the holder of a
silent claim is gone (SLURM says so, no lease has to pass), and whether a run moves at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cluster.job import Job
from cluster.slurm import ALIVE, Queued
from janus import atomic
from janus.config import Cell
from janus.errors import RunError
from janus.store import Claim, Store

TRIES = 3
"""Attempts in a row that may end without a new checkpoint."""


class TaskStore(Store):
    """A store whose claims remember the job that made them."""

    def __init__(self, root: str | Path, job: Job) -> None:
        super().__init__(root)
        self.job = job

    def claim(self, cell: Cell) -> Claim | None:
        """As `Store.claim`. Raises RunError (cause `no-progress`) when attempts lead nowhere."""
        claim = super().claim(cell)
        if claim is None or self.result_path(cell.id).exists():
            return claim  # finished between our look and our claim, however many looked with us
        furthest = next((path.stem for path in claim.checkpoints()), "")
        before = self.attempts_without_progress(cell.id, claim.number, furthest)
        record = {**self.job.record(), "from": furthest}
        atomic.replace(claim.attempt_dir / "job.json", atomic.json_writer(record))
        if len(before) >= TRIES:
            self._give_up(cell, claim, before, furthest)
        return claim

    def attempts_without_progress(self, cell_id: str, number: int, furthest: str) -> list[str]:
        """How the attempts before claim `number` ended that all started from `furthest`."""
        endings: list[str] = []
        for earlier in range(number - 1, 0, -1):
            folder = self.run_dir(cell_id) / "attempts" / f"{earlier:06d}"
            record = atomic.read_record(folder / "job.json")
            if record.get("from") != furthest or (folder / "failure.json").exists():
                break
            why = atomic.read_record(folder / "end.json").get("why", "ended without a word")
            endings.append(f"{record.get('name')} on {record.get('node')}: {why}")
        return endings[::-1]

    def _give_up(self, cell: Cell, claim: Claim, before: list[str], furthest: str) -> None:
        at = f"checkpoint {furthest}" if furthest else "the start"
        error = RunError(
            f"{len(before)} attempts in a row got no further than {at}: {'; '.join(before)}. "
            "Killed for memory? A time limit shorter than one save? See the tasks' logs",
            cause="no-progress",
        )
        claim.fail({"cause": error.cause, "message": str(error), "title": cell.title})
        claim.release()
        raise error

    def note_end(self, cell_id: str, why: str) -> None:
        """Write down why the last attempt, which was ours, was given up."""
        folder = self.run_dir(cell_id) / "attempts" / f"{self.last_claim(cell_id):06d}"
        atomic.replace(folder / "end.json", atomic.json_writer({"why": why}))

    def held(self, cell_id: str) -> bool:
        """Whether the last claim was not given back, by one listing; its holder may be dead."""
        files = list(self._claim_files(cell_id))
        return bool(files) and not max(files)[1].endswith(".released")

    def free_our_own(self, cell_id: str) -> bool:
        """Make a claim takeable that an earlier start of this job held; whether it was one.

        SLURM never starts a job again before it counts the earlier start as ended.
        """
        if not self.job.restart:
            return False
        holder = holder_of(self, cell_id)
        if holder is None or holder["id"] != self.job.id or holder["restart"] >= self.job.restart:
            return False
        self.trust(cell_id, self.last_claim(cell_id), self.beat(cell_id))
        return True

    def free_the_dead(self, cell_ids: Iterable[str], rows: Iterable[Queued]) -> list[str]:
        """Make claims takeable whose job SLURM no longer runs; returns their cells.

        A process that lives on all the same, cut off from SLURM, sees the higher claim number at
        its next checkpoint and stops without writing.
        """
        running = {row.id: row.restarts for row in rows if row.state in ALIVE}
        freed = []
        for cell_id in cell_ids:
            number = self.last_claim(cell_id)
            holder = holder_of(self, cell_id)
            if holder is not None and not _runs(holder, self.job, running):
                self.trust(cell_id, number, self.beat(cell_id))
                freed.append(cell_id)
        return freed


def holder_of(store: Store, cell_id: str) -> dict[str, Any] | None:
    """The job behind the last claim; None when no job wrote itself down."""
    number = store.last_claim(cell_id)
    path = store.run_dir(cell_id) / "attempts" / f"{number:06d}" / "job.json"
    record = atomic.read_record(path)
    return record if record.get("id") and isinstance(record.get("restart"), int) else None


def _runs(holder: Mapping[str, Any], us: Job, running: Mapping[str, int]) -> bool:
    """Whether the start of the job that holds a claim may still have processes."""
    if holder["id"] == us.id:
        return bool(holder["restart"] >= us.restart)
    return bool(running.get(holder["id"]) == holder["restart"])
