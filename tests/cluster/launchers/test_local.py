"""`cluster=local`: the same tasks without SLURM, and everything that looks after a submission."""

from __future__ import annotations

import os
import signal
import time

import pytest

from cluster.__main__ import main
from cluster.node.job_store import TRIES
from cluster.record.submission import newest, read_events
from janus.store.processes import process_runs
from janus.store.store import Store

SWEEP = """\
bench: glyphs
methods: [seqlora, ncm]
orders: [0]
fixed: {backbone: toy, train.epochs: 12, bench.train_per_class: 6, bench.tasks: 4,
         train.batch_size: 16}
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(tmp_path, capsys, monkeypatch):
    """Types `python -m cluster ACTION tiny ...`; returns the exit status and what was printed."""
    sweep = tmp_path / "tiny.yaml"
    sweep.write_text(SWEEP)
    monkeypatch.setattr(
        "cluster.commands.look_after.WATCH_S", 0.1
    )  # here is no controller to spare

    def run(action, *words):
        if action in ("submit", "resubmit"):
            words = ("cluster=local", "profile.tasks=1", "profile.lose_at_most_s=1000", *words)
        status = main([action, str(sweep), f"store={tmp_path}/store", *words])
        return status, capsys.readouterr().out

    yield run
    run("cancel")


def wait(what, seconds=180):
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)
    return found


def test_cells_that_fail_are_told_and_only_resubmit_failed_tries_them_again(cluster, tmp_path):
    """The worker is killed in each attempt at a cell, after its first heartbeat."""
    store = Store(tmp_path / "store")
    assert cluster("submit")[0] == 0
    cells = newest(store, "tiny").work[0]
    bad, good = (next(c.id for c in cells if c.method.name == name) for name in ("seqlora", "ncm"))
    killed = set()

    def kill():
        owner, attempt = store.owner(bad), store.last_claim(bad)
        alive = owner and process_runs(owner["pid"], owner["started"])
        if alive and attempt not in killed and store.beat(bad):
            killed.add(attempt)
            os.kill(owner["pid"], signal.SIGKILL)
        return store.status(bad) == "failed"

    wait(kill)
    assert len(killed) == TRIES and store.failure(bad)["cause"] == "no-progress"
    status, told = cluster("watch")
    assert status == 3 and "1 done" in told and "1 failed" in told
    assert "3 attempts in a row got no further than the start" in told
    assert "nothing to submit" in cluster("submit")[1]
    status, told = cluster("resubmit", "--failed")
    assert status == 0 and "1 cells, 1 tasks" in told
    assert cluster("watch")[0] == 0
    assert store.done() == {bad, good}
    wait(lambda: " done " in cluster("logs", bad[:8])[1])  # the task says so after its commit
    status, told = cluster("logs", bad[:8])
    assert status == 0 and "first-step" in told and "done" in told and "log: " in told


def test_a_cancelled_submission_saves_says_how_to_go_on_and_goes_on(cluster, tmp_path):
    store = Store(tmp_path / "store")
    cluster("submit")
    submission = newest(store, "tiny")

    def events(name):
        found = read_events(submission.events.glob("*.jsonl"))
        return [e for e in found if e["event"] == name]

    wait(lambda: events("first-step"))
    assert "to go on later" in cluster("cancel")[1]
    cell = wait(lambda: events("stopped"))[0]["cell"]
    status, told = cluster("watch")
    assert status == 3 and "cells; go on with: python -m cluster submit" in told
    assert list((store.run_dir(cell) / "ckpt").glob("*/*.safetensors"))
    cluster("submit")
    assert cluster("watch")[0] == 0
    assert store.attempts(cell) == 2
