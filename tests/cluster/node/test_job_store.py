"""What tasks know beyond the store: whose a claim is, and whether a run moves."""

from __future__ import annotations

import pytest

from cluster.node import job_store
from cluster.node.job import Job, here
from cluster.node.job_store import TRIES, JobStore, TaskStore, holder_of
from cluster.node.worker import await_held
from cluster.record.submission import Events
from cluster.scheduler import slurm_commands
from janus.errors import ClusterError, RunError
from janus.store.store import Store
from tests.cluster.claims import held_elsewhere, held_without_a_job, job, row
from tests.conftest import toy_cell


def test_the_claim_of_a_job_that_slurm_still_runs_is_left_alone(tmp_path):
    cell, other = toy_cell(), job("8")
    held_elsewhere(tmp_path, cell, other)
    store = TaskStore(tmp_path, job())
    assert store.free_the_dead([cell.id], [row(job()), row(other)]) == []
    assert store.claim(cell) is None


@pytest.mark.parametrize("state", ["CANCELLED", "NODE_FAIL", "PENDING", None])
def test_the_claim_of_a_job_that_slurm_ended_is_free_without_a_lease(tmp_path, state):
    cell, other = toy_cell(), job("8")
    held_elsewhere(tmp_path, cell, other)
    store = TaskStore(tmp_path, job())
    assert store.claim(cell) is None
    rows = [row(job()), *([row(other, state)] if state else [])]
    assert store.free_the_dead([cell.id], rows) == [cell.id]
    assert store.claim(cell).number == 2


def test_a_requeued_job_takes_over_what_its_earlier_start_held(tmp_path):
    cell = toy_cell()
    held_elsewhere(tmp_path, cell, job())
    again = TaskStore(tmp_path, job(restart=1))
    assert again.free_the_dead([cell.id], [row(job(restart=1))]) == [cell.id]
    assert again.claim(cell).number == 2


def test_a_sibling_worker_of_the_same_start_is_alive(tmp_path):
    cell = toy_cell()
    held_elsewhere(tmp_path, cell, job())
    sibling = TaskStore(tmp_path, job())
    assert sibling.free_the_dead([cell.id], [row(job())]) == []


def test_a_process_cut_off_from_slurm_finds_that_it_lost_its_claim(tmp_path):
    cell, other = toy_cell(), job("8")
    alone = held_elsewhere(tmp_path, cell, other)
    store = TaskStore(tmp_path, job())
    store.free_the_dead([cell.id], [row(job())])
    ours = store.claim(cell)
    with pytest.raises(RunError, match="taken over"):
        alone.commit({"id": cell.id}, {})
    ours.commit({"id": cell.id}, {})
    assert store.done() == {cell.id}


@pytest.mark.parametrize("now", [[row(job(restart=1))], [row(job(), "COMPLETED")], []])
def test_a_start_that_slurm_has_given_up_takes_no_claim_from_another(tmp_path, now):
    """Two such processes would take a cell from each other for ever."""
    cell, other = toy_cell(), job("8")
    held_elsewhere(tmp_path, cell, other)
    store = TaskStore(tmp_path, job())
    assert store.free_the_dead([cell.id], now) == []
    assert store.claim(cell) is None


def tried(store, cell, checkpoint=None, why=None):
    claim = store.claim(cell)
    if checkpoint:
        claim.checkpoint_dir.mkdir(parents=True)
        (claim.checkpoint_dir / f"{checkpoint}.safetensors").touch()
    if why:
        store.note_end(cell.id, why)
    claim.release()


def test_a_run_without_progress_is_failed_with_how_its_attempts_ended(tmp_path):
    cell = toy_cell()
    for restart, why in enumerate(("stopped by USR2", "stopped by TERM", None)):
        tried(TaskStore(tmp_path, job(restart=restart)), cell, why=why)
    store = TaskStore(tmp_path, job(restart=3))
    with pytest.raises(RunError) as error:
        store.claim(cell)
    assert error.value.cause == "no-progress"
    for part in ("the start", "stopped by USR2", "stopped by TERM", "ended without a word"):
        assert part in str(error.value)
    assert store.status(cell.id) == "failed"
    assert store.failure(cell.id)["cause"] == "no-progress"


def test_every_new_checkpoint_starts_the_count_again(tmp_path):
    cell = toy_cell()
    for number in range(2 * TRIES):
        tried(TaskStore(tmp_path, job(restart=number)), cell, checkpoint=f"{number // 2:05d}")
    assert TaskStore(tmp_path, job()).claim(cell) is not None


def test_a_finished_run_that_many_claim_too_late_is_not_failed(tmp_path):
    cell, store = toy_cell(), TaskStore(tmp_path, job())
    for _ in range(TRIES):
        tried(store, cell)
    claim = Store.claim(store, cell)
    claim.commit({"id": cell.id}, {})
    claim.release()
    assert store.claim(cell) is not None and store.failure(cell.id) is None


def test_a_failed_run_that_is_submitted_again_starts_its_count_anew(tmp_path):
    cell = toy_cell()
    store = TaskStore(tmp_path, job())
    for _ in range(TRIES):
        tried(store, cell)
    with pytest.raises(RunError):
        store.claim(cell)
    assert store.claim(cell) is not None


def test_the_job_of_a_process_is_read_from_its_environment():
    array = {
        "SLURM_JOB_ID": "31",
        "SLURM_ARRAY_JOB_ID": "30",
        "SLURM_ARRAY_TASK_ID": "4",
        "SLURM_RESTART_COUNT": "2",
        "SLURMD_NODENAME": "n5",
    }
    assert here(array) == Job("31", "30_4", 2, "n5")
    assert here({"SLURM_JOB_ID": "31", "SLURMD_NODENAME": "n5"}).label == "31.r0"
    assert here({"SUBMITIT_EXECUTOR": "local", "SUBMITIT_LOCAL_JOB_ID": "99"}).name == "pid-99"


def later(monkeypatch, seconds, boot=None):
    """Let the clocks of the next looks go on; `boot`: on another machine."""
    now = job_store._clocks()
    moved = {**now, "uptime": now["uptime"] + seconds, "at": now["at"] + seconds}
    monkeypatch.setattr(job_store, "_clocks", lambda: moved | ({"boot": boot} if boot else {}))


def test_only_holders_that_end_or_that_nobody_knows_are_undecided(tmp_path):
    cells = [toy_cell(order=str(n)) for n in range(5)]
    held_without_a_job(tmp_path, cells[0])
    held_elsewhere(tmp_path, cells[1], job("8"))
    Store(tmp_path).claim(cells[2])  # a process of this machine, and it lives
    held_elsewhere(tmp_path, cells[3], job("9"))
    store = TaskStore(tmp_path, job())
    rows = [row(job("8")), row(job("9"), "COMPLETING")]
    assert store.undecided([c.id for c in cells], rows) == [cells[0].id, cells[3].id]


@pytest.mark.parametrize(
    "seconds, boot, dead",
    [(599, None, False), (601, None, True), (899, "other", False), (901, "other", True)],
)
def test_looks_at_a_silent_holder_add_up_over_processes_and_nodes(
    tmp_path, monkeypatch, seconds, boot, dead
):
    cell = toy_cell()
    held_without_a_job(tmp_path, cell, {"seconds": 3.0})
    assert TaskStore(tmp_path, job()).silent_s(cell.id) == 0.0
    later(monkeypatch, seconds, boot)
    store, looks = TaskStore(tmp_path, job("8")), iter([False, True])
    freed = store.await_free([cell.id], list, lambda: next(looks), pause_s=0)
    assert freed == ([cell.id] if dead else [])
    assert (store.claim(cell) is not None) == dead


def test_a_silent_holder_that_publishes_progress_is_left_alone(tmp_path, monkeypatch):
    cell = toy_cell()
    claim = held_without_a_job(tmp_path, cell, {"seconds": 3.0})
    store = TaskStore(tmp_path, job())
    store.silent_s(cell.id)
    claim.beat({"seconds": 8.0}, every_s=0)
    later(monkeypatch, 1000)
    assert store.silent_s(cell.id) == 0.0, "the look was at another heartbeat"
    monkeypatch.setattr(job_store.time, "sleep", lambda s: claim.beat({"seconds": 9.0}, every_s=0))
    assert store.await_free([cell.id], list, lambda: False) == []
    assert store.claim(cell) is None


@pytest.mark.parametrize("then, free", [("RUNNING", False), ("CANCELLED", True)])
def test_a_cell_of_a_job_that_slurm_is_ending_is_waited_for(tmp_path, then, free):
    cell, other = toy_cell(), job("8")
    held_elsewhere(tmp_path, cell, other)
    store, states = TaskStore(tmp_path, job()), iter(["COMPLETING", "COMPLETING", then])

    def rows():
        return [row(job()), row(other, next(states))]

    assert store.await_free([cell.id], rows, lambda: False, 0) == ([cell.id] if free else [])
    assert (store.claim(cell) is not None) == free


def test_a_cell_that_is_given_back_while_it_is_waited_for_is_taken(tmp_path):
    cell = toy_cell()
    claim = held_without_a_job(tmp_path, cell)
    store = TaskStore(tmp_path, job())
    store.claim(cell)
    claim.release()
    assert store.await_free([cell.id], list, lambda: False, 0) == [cell.id]


def test_the_claim_of_a_ray_worker_names_its_job_and_counts_no_attempt(tmp_path):
    """Ray ends its workers without a save: their attempts say nothing about the cell."""
    cell = toy_cell()
    for restart in range(TRIES):
        JobStore(tmp_path, job("8", restart)).claim(cell).release()
    store = TaskStore(tmp_path, job())
    assert holder_of(store, cell.id)["id"] == "8"
    assert store.claim(cell) is not None and store.failure(cell.id) is None


def test_without_a_queue_to_ask_only_cells_that_no_job_holds_are_waited_for(tmp_path, monkeypatch):
    def deaf(name=None):
        raise ClusterError("no squeue")

    monkeypatch.setattr(slurm_commands, "queue", deaf)
    monkeypatch.setattr(job_store.time, "sleep", lambda s: later(monkeypatch, 700))
    cells = [toy_cell(order=str(n)) for n in range(2)]
    held_without_a_job(tmp_path, cells[0])
    held_elsewhere(tmp_path, cells[1], job("8"))
    store = TaskStore(tmp_path, job())
    store.silent_s(cells[0].id)
    events = Events(tmp_path / "events.jsonl")
    freed = await_held([cell.id for cell in cells], store, events, lambda: False)
    assert freed == [cells[0].id] and store.claim(cells[1]) is None
