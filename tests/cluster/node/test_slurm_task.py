"""How a task ends, and with which exit status; its workers are stand-ins."""

from __future__ import annotations

import pytest

from cluster.node import slurm_task
from cluster.node.job import StopFlag
from cluster.node.node_check import UNFIT
from cluster.node.slurm_task import CRASHES, SlurmTask, TaskWorkers
from cluster.record.submission import Events, read_events
from janus.store.store import Store
from tests.cluster.claims import submitted
from tests.conftest import toy_cell


@pytest.fixture
def submission(tmp_path):
    return submitted(tmp_path, [toy_cell()])


def ran(submission, monkeypatch, tmp_path, status, says="", job="7_0.r0"):
    """Why the workers of a task ended, and its exit status: each ends at once with `status`."""
    program = tmp_path / "worker"
    program.write_text(f"#!/bin/sh\n{says}\nexit {status}\n")
    program.chmod(0o755)
    monkeypatch.setattr(slurm_task.sys, "executable", str(program))
    events = Events(submission.events / f"{job}.jsonl", job=job, node="node1")
    return TaskWorkers(submission, 0, 1, StopFlag(), events).run()


def checks(submission):
    return [e for e in read_events(submission.events.glob("*.jsonl")) if e["event"] == "check"]


def test_workers_that_find_nothing_to_take_end_the_task_well(submission, monkeypatch, tmp_path):
    assert ran(submission, monkeypatch, tmp_path, 0) == ("nothing left to take", 0)


def test_a_node_whose_workers_are_unfit_is_left_while_there_is_work(
    submission, monkeypatch, tmp_path
):
    assert ran(submission, monkeypatch, tmp_path, UNFIT)[1] == UNFIT
    claim = Store(submission.store).claim(submission.work[0][0])
    claim.fail({"cause": "nan"})
    claim.release()
    assert ran(submission, monkeypatch, tmp_path, UNFIT)[1] == 0


def test_a_node_where_every_worker_dies_before_it_trains_is_unfit(
    submission, monkeypatch, tmp_path
):
    assert ran(submission, monkeypatch, tmp_path, 9)[1] == UNFIT
    (found,) = checks(submission)
    assert found["node"] == "node1" and not found["ok"]
    assert f"{CRASHES} workers died here before a first training step" in found["lines"][0]


def test_workers_that_die_after_they_trained_are_no_fault_of_the_node(
    submission, monkeypatch, tmp_path
):
    says = f"""echo '{{"at": 1, "event": "first-step"}}' >>{submission.events}/7_0.r0-0.jsonl"""
    assert ran(submission, monkeypatch, tmp_path, 9, says)[1] == 1
    assert not checks(submission)


def test_a_task_on_a_node_that_fails_its_check_exits_with_unfit(submission, monkeypatch):
    monkeypatch.setattr(slurm_task, "check_imports", lambda code: None)
    monkeypatch.setattr(slurm_task, "verify_snapshot", lambda code: None)
    monkeypatch.setattr(
        slurm_task, "check_node", lambda cells, store: (["Python: 3"], ["data: gone"])
    )
    before = [
        slurm_task.signal.getsignal(n)
        for n in (slurm_task.signal.SIGTERM, slurm_task.signal.SIGUSR2)
    ]
    with pytest.raises(SystemExit) as ended:
        SlurmTask(str(submission.folder), 0, 1)()
    for number, handler in zip(
        (slurm_task.signal.SIGTERM, slurm_task.signal.SIGUSR2), before, strict=True
    ):
        slurm_task.signal.signal(number, handler)
    assert ended.value.code == UNFIT
    (found,) = checks(submission)
    assert found["lines"] == ["data: gone"] and found["fine"] == ["Python: 3"]
