"""Killed drivers and workers: the store alone decides what is left to do, and how often."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from janus import atomic_files
from janus.config.cell import Cell
from janus.machine.devices import pick_device
from janus.store.processes import process_identity
from janus.store.store import Store
from janus.training.loop import run_cell
from sweeps.show.lost_work import HEARTBEAT_S, lost_work
from sweeps.spec.plan import plan
from sweeps.spec.sweep_file import load_sweep
from tests.helpers import chaos

Put = Callable[[str], None]


@pytest.fixture
def cell() -> Cell:
    return plan(load_sweep("smoke", ["methods=[janus]", "orders=1"]).sweep).cells[0]


def attempt(store: Store, cell: Cell, seconds: float, resumed_s: float, ends: bool = False) -> None:
    """One attempt that had `seconds` of training, `resumed_s` of them taken over."""
    claim = store.claim(cell)
    assert claim is not None
    claim.beat({"seconds": seconds, "resumed_s": resumed_s})
    if ends:
        path = claim.attempt_dir / "provenance.json"
        atomic_files.replace(path, atomic_files.json_writer({"seconds": seconds}))
    claim.release()


def test_a_cell_trained_once_repeats_nothing(store: Store, cell: Cell) -> None:
    attempt(store, cell, 30.0, 0.0, ends=True)
    found = lost_work([cell.id, "0" * 16], store)
    assert (found.cells, found.attempts, found.trained_twice, found.seconds) == (1, 1, 0, 0.0)


def test_what_a_checkpoint_kept_is_not_done_twice(store: Store, cell: Cell) -> None:
    attempt(store, cell, 30.0, 0.0)
    attempt(store, cell, 50.0, 24.0)
    attempt(store, cell, 90.0, 51.0, ends=True)  # the second one was stopped, and saved
    found = lost_work([cell.id], store)
    assert found.attempts == 3
    assert 6.0 <= found.seconds <= 6.0 + HEARTBEAT_S


@pytest.mark.parametrize("whole", [None, 50.0])
@pytest.mark.parametrize("far", [{"host": "far"}, {"machine": "another, of our name"}])
def test_another_machine_that_fell_silent_may_have_trained_for_a_lease_or_to_the_end_of_the_run(
    store: Store,
    cell: Cell,
    monkeypatch: pytest.MonkeyPatch,
    far: dict[str, str],
    whole: float | None,
) -> None:
    with monkeypatch.context() as patched:
        here = process_identity()
        patched.setattr("janus.store.claims.process_identity", lambda: here | far)
        claim = store.claim(cell)
    assert claim is not None
    claim.beat({"seconds": 30.0, "resumed_s": 0.0})
    long_ago = time.time() - 1e4
    os.utime(claim.attempt_dir / "beat.json", (long_ago, long_ago))
    store.trust(cell.id, 1, store.beat(cell.id))
    attempt(store, cell, 50.0, 24.0, ends=whole is not None)
    reached = whole or 30.0 + store.lease_s
    assert lost_work([cell.id], store).seconds == pytest.approx(reached - 24.0)


def test_a_cell_that_two_attempts_finished_counts_whole(store: Store, cell: Cell) -> None:
    attempt(store, cell, 30.0, 0.0, ends=True)
    attempt(store, cell, 31.0, 0.0, ends=True)
    found = lost_work([cell.id], store)
    assert (found.trained_twice, found.seconds) == (1, 30.0)


def without_a_driver(words: list[str], store: Store, tmp: str) -> str:
    """The same cells, trained here one after the other."""
    device = pick_device("auto")
    for cell in plan(load_sweep("smoke", words).sweep).cells:
        run_cell(cell, store, device=device, threads=1 if device == "cpu" else None)
    return ""


@pytest.mark.slow
def test_killed_drivers_and_workers_change_no_result() -> None:
    found = chaos.run(cells=8, kills=1, calmly=without_a_driver)
    assert found.drivers_killed == 1 and found.worker_killed
    assert (found.lost, found.missing, found.different) == (0, 0, 0), found
    assert found.repeated.attempts >= 8
    assert found.repeated.trained_twice == 0
