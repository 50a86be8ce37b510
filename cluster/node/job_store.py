"""The run store as tasks see it: claims carry their job, and a run that cannot go on is failed.

Beside each claim lies `attempts/<n>/job.json`: the job, its restart count, and the checkpoint it
started from. From these follow two things the store alone cannot know: whether the holder of a
silent claim is gone (SLURM says so, no lease has to pass), and whether a run moves at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cluster.node.job import Job
from cluster.scheduler.slurm_commands import ALIVE, Queued
from janus import atomic_files
from janus.config.cell import Cell
from janus.errors import RunError
from janus.store.claims import Claim
from janus.store.processes import has_ended, process_identity
from janus.store.store import Store

TRIES = 3
"""Attempts in a row that may end without a new checkpoint."""

ENDING = {"COMPLETING", "SIGNALING", "STAGE_OUT"}
"""States of a job that SLURM is ending: one on a lost node stays so until SLURM gives it up."""

SKEW_S = 300.0
"""Most seconds by which the clocks of two nodes of one SLURM differ: munge refuses more."""


class JobStore(Store):
    """A store whose claims name the job that made them."""

    def __init__(self, root: str | Path, job: Job) -> None:
        super().__init__(root)
        self.job = job

    def claim(self, cell: Cell) -> Claim | None:
        """As `Store.claim`."""
        claim = super().claim(cell)
        if claim is not None:
            self._sign(claim)
        return claim

    def _sign(self, claim: Claim, **more: Any) -> None:
        record = {**self.job.record(), **more}
        atomic_files.replace(claim.attempt_dir / "job.json", atomic_files.json_writer(record))


class TaskStore(JobStore):
    """As `JobStore`, for the tasks of an array: attempts that end without a new checkpoint are
    counted.
    """

    def claim(self, cell: Cell) -> Claim | None:
        """As `Store.claim`. Raises RunError (cause `no-progress`) when attempts lead nowhere."""
        claim = Store.claim(self, cell)
        if claim is None or self.result_path(cell.id).exists():
            return claim  # finished between our look and our claim, however many looked with us
        furthest = next((path.stem for path in claim.checkpoints()), "")
        before = self.attempts_without_progress(cell.id, claim.number, furthest)
        self._sign(claim, **{"from": furthest})
        if len(before) >= TRIES:
            self._give_up(cell, claim, before, furthest)
        return claim

    def attempts_without_progress(self, cell_id: str, number: int, furthest: str) -> list[str]:
        """How the attempts before claim `number` ended that all started from `furthest`."""
        endings: list[str] = []
        for earlier in range(number - 1, 0, -1):
            folder = self.run_dir(cell_id) / "attempts" / f"{earlier:06d}"
            record = atomic_files.read_record(folder / "job.json")
            if record.get("from") != furthest or (folder / "failure.json").exists():
                break
            why = atomic_files.read_record(folder / "end.json").get("why", "ended without a word")
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
        atomic_files.replace(folder / "end.json", atomic_files.json_writer({"why": why}))

    def held(self, cell_id: str) -> bool:
        """Whether the last claim was not given back, by one listing; its holder may be dead."""
        files = list(self._claim_files(cell_id))
        return bool(files) and not max(files)[1].endswith(".released")

    def free_our_own(self, cell_id: str) -> bool:
        """Free the cell's claim if an earlier start of this job held it; returns whether it did.

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
        """Free the claims whose job SLURM no longer runs; returns their cells.

        A process that lives on all the same, cut off from SLURM, sees the higher claim number at
        its next checkpoint and stops without writing. Such a process frees nothing itself: two of
        them would take a cell from each other again and again.
        """
        running = {row.id: row.restarts for row in rows if row.state in ALIVE}
        if self.job.id and running.get(self.job.id) != self.job.restart:
            return []
        freed = []
        for cell_id in cell_ids:
            number = self.last_claim(cell_id)
            holder = holder_of(self, cell_id)
            if holder is not None and not _runs(holder, self.job, running):
                self.trust(cell_id, number, self.beat(cell_id))
                freed.append(cell_id)
        return freed

    def undecided(self, cell_ids: Iterable[str], rows: Iterable[Queued]) -> list[str]:
        """Held cells whose holder may be dead, which only time can show.

        SLURM is ending the job that holds them, or the holder is no job of SLURM and its process
        cannot be seen from here (a `sweeps run` on another machine): only its heartbeat can tell.
        """
        states = {(row.id, row.restarts): row.state for row in rows}
        found = []
        for cell_id in cell_ids:
            if self.status(cell_id) != "running":
                continue
            holder = holder_of(self, cell_id)
            if holder is not None:
                unknown = states.get((holder["id"], holder["restart"])) in ENDING
            else:
                unknown = has_ended(self.owner(cell_id)) is None
            found += [cell_id] if unknown else []
        return found

    def await_free(
        self,
        cell_ids: Iterable[str],
        rows: Callable[[], Sequence[Queued]],
        stop: Callable[[], bool],
        pause_s: float = 5.0,
    ) -> list[str]:
        """Wait until `undecided` cells can be taken; returns those as soon as there is one.

        Returns [] when every holder turned out to work, or when `stop` holds. A holder without
        progress for `lease_s` counts as dead.
        """
        waiting = {cell_id: self._progress(cell_id) for cell_id in cell_ids}
        while waiting and not stop():
            time.sleep(pause_s)
            jobs = any(holder_of(self, cell_id) for cell_id in waiting)
            now = rows() if jobs else ()
            freed = [cell_id for cell_id in waiting if self.status(cell_id) != "running"]
            freed += self.free_the_dead([i for i in waiting if i not in freed], now)
            for cell_id, seen in waiting.items():
                if self.silent_s(cell_id) > self.lease_s and cell_id not in freed:
                    self.trust(cell_id, *seen)
                    freed.append(cell_id)
            if freed:
                return freed
            left = self.undecided(waiting, now)
            works = {i for i in left if not holder_of(self, i) and self._progress(i) != waiting[i]}
            waiting = {i: self._progress(i) for i in left if i not in works}
        return []

    def _progress(self, cell_id: str) -> tuple[int, Any]:
        return self.last_claim(cell_id), self.beat(cell_id)

    def silent_s(self, cell_id: str) -> float:
        """Seconds for which the last claim is known to have made no progress.

        The first look at a heartbeat is kept beside it: it counts for processes that start later,
        on this node by its own clock, on another one less `SKEW_S`.
        """
        number, beat = self._progress(cell_id)
        path = self.run_dir(cell_id) / "attempts" / f"{number:06d}" / "looked.json"
        look, now = atomic_files.read_record(path), _clocks()
        if "at" not in look or look.get("beat") != beat:
            with suppress(OSError):  # a full disk: then we wait for all of the lease ourselves
                atomic_files.replace(path, atomic_files.json_writer({"beat": beat, **now}))
            return 0.0
        if look.get("boot") == now["boot"] != "unknown":
            return float(now["uptime"] - atomic_files.number(look, "uptime"))
        return float(now["at"] - atomic_files.number(look, "at") - SKEW_S)


def _clocks() -> dict[str, Any]:
    boot = process_identity()["boot"]
    return {"boot": boot, "uptime": time.monotonic(), "at": time.time()}


def holder_of(store: Store, cell_id: str) -> dict[str, Any] | None:
    """The job behind the last claim; None when no job wrote itself down."""
    number = store.last_claim(cell_id)
    path = store.run_dir(cell_id) / "attempts" / f"{number:06d}" / "job.json"
    record = atomic_files.read_record(path)
    return record if record.get("id") and isinstance(record.get("restart"), int) else None


def _runs(holder: Mapping[str, Any], us: Job, running: Mapping[str, int]) -> bool:
    """Whether the start of the job that holds a claim may still have processes."""
    if holder["id"] == us.id:
        return bool(holder["restart"] >= us.restart)
    return bool(running.get(holder["id"]) == holder["restart"])
