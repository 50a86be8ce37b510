"""Work done twice, counted from the attempts in the store.

Every attempt publishes how many training seconds its run holds and how many of them it took over
from a checkpoint. What an attempt had reached and its successor did not take over was done again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from janus import atomic_files
from janus.store.store import Store

HEARTBEAT_S = 5.0
"""Heartbeats are at most this far apart while a run trains: what the last one may have missed.
But one from another machine, which was waited for in vain, may have trained on for a lease, though
no longer than the whole run takes."""


@dataclass
class LostWork:
    """Attempts at some cells, and what those that came to nothing may have cost."""

    cells: int = 0
    """Cells that were attempted at all."""
    attempts: int = 0
    trained_twice: int = 0
    """Cells trained to the end by more than one attempt."""
    seconds: float = 0.0
    """Training seconds done again, at most."""

    def __str__(self) -> str:
        text = f"{self.attempts} attempts at {self.cells} cells"
        if self.attempts > self.cells:
            text += f"; at most {self.seconds:.1f} s of training done twice"
        return text + (f"; {self.trained_twice} cells trained twice" if self.trained_twice else "")


def lost_work(cell_ids: Iterable[str], store: Store) -> LostWork:
    """Count attempts and repeated work of the cells. Failed attempts count as well."""
    found = LostWork()
    for cell_id in cell_ids:
        last = store.attempts(cell_id)
        if not last:
            continue
        found.cells += 1
        found.attempts += last
        if last > 1:
            tries = [read_attempt(store, cell_id, number) for number in range(1, last + 1)]
            _add(found, tries, store.lease_s)
    return found


def _add(found: LostWork, attempts: list[dict[str, Any]], lease_s: float) -> None:
    found.trained_twice += sum(bool(a["provenance"]) for a in attempts) > 1
    # training seconds of the whole run, where one attempt came to its end
    whole = max(atomic_files.number(a["provenance"], "seconds") for a in attempts) or float("inf")
    for attempt, successor in pairwise(attempts):
        kept = atomic_files.number(successor["beat"] or {}, "resumed_s")
        given_back = attempt["released_at"] < successor["claimed_at"]
        if attempt["beat"] is None or attempt["provenance"]:
            reached = atomic_files.number(attempt["provenance"], "seconds")
        elif stopped_in_order(attempt, successor):
            reached = kept
        else:
            silent = max(0.0, successor["claimed_at"] - attempt["beat_at"])
            known = given_back or _one_machine(attempt["owner"], successor["owner"])
            missed = min(silent, HEARTBEAT_S if known else lease_s)
            told = atomic_files.number(attempt["beat"], "seconds")
            reached = told + min(missed, max(0.0, whole - told))
        found.seconds += max(0.0, reached - kept)


def stopped_in_order(attempt: Mapping[str, Any], successor: Mapping[str, Any]) -> bool:
    """Whether the attempt stopped on request after saving everything that it had trained."""
    given_back = attempt["released_at"] < successor["claimed_at"]
    kept = atomic_files.number(successor["beat"] or {}, "resumed_s")
    beat = attempt["beat"]
    return beat is not None and given_back and kept >= atomic_files.number(beat, "seconds")


def _one_machine(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """By name and `/etc/machine-id`: names are shared."""
    return all(one.get(key) == other.get(key) for key in ("host", "machine"))


def read_attempt(store: Store, cell_id: str, number: int) -> dict[str, Any]:
    """What one attempt left: claim, release, heartbeat, and provenance where it finished."""
    run = store.run_dir(cell_id)
    attempt, claim = run / "attempts" / f"{number:06d}", run / "claims" / f"{number:06d}.json"
    facts, beat = atomic_files.read_record(claim), attempt / "beat.json"
    owner = facts.get("owner")
    released = claim.with_suffix(".released")
    return {
        "claimed_at": atomic_files.number(facts, "claimed_at"),
        "owner": owner if isinstance(owner, dict) else {},
        "released_at": released.stat().st_mtime if released.exists() else float("inf"),
        "beat": atomic_files.read_record(beat) or None,
        "beat_at": beat.stat().st_mtime if beat.exists() else 0.0,
        "provenance": atomic_files.read_record(attempt / "provenance.json"),
    }
