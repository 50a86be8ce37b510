"""A sweep with `tracker=wandb`: every cell is logged, and nothing is left running."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from analysis.runs import from_wandb
from janus.store.store import Store
from janus.tracking.wandb_tracker import is_complete
from sweeps.spec.plan import plan
from sweeps.spec.sweep_file import load_sweep
from tests.sweeps.sweep_processes import (
    PAIRS,
    processes,
    run,
    short_tmp,
    start,
    wait_for_worker,
)

__all__ = ["short_tmp"]
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")


def test_every_cell_of_a_tracked_sweep_is_logged_as_the_store_has_it(
    store: Store, tiny: list[str], short_tmp: str
) -> None:
    words = [*PAIRS, *tiny, "tracker=wandb", f"store={store.root}"]
    status, out = run(words, short_tmp)  # checks that no process and no file is left
    assert status == 0, out
    planned = {p.cell.id: p for p in plan(load_sweep("smoke", words).sweep).entries}
    found = {run.id: run for run in from_wandb.read_offline(store.root)}
    assert found.keys() == planned.keys()
    stored = {i: (store.result(i) or {})["metrics"] for i in planned}
    assert from_wandb.disagreements(found.values(), stored) == []
    for cell_id, seen in found.items():
        assert seen.config["sweep"] == "smoke" and seen.config["row"] == planned[cell_id].row
        assert is_complete(store.run_dir(cell_id))


def test_a_killed_worker_of_a_tracked_sweep_leaves_one_run_and_no_process(
    store: Store, short_tmp: str
) -> None:
    small = ["backbone=toy", "bench.train_per_class=20", "bench.tasks=4", "train.epochs=3"]
    words = ["methods=[janus]", "orders=1", "workers=1", *small, "tracker=wandb"]
    words.append(f"store={store.root}")
    (planned,) = plan(load_sweep("smoke", words).sweep).entries
    process = start(words, short_tmp)
    os.kill(wait_for_worker(store, [planned.cell.id]), signal.SIGKILL)
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0, out
    assert processes(short_tmp) == {}
    (seen,) = from_wandb.read_offline(Path(store.root))
    assert seen.id == planned.cell.id and len(seen.curve) == 4
