"""Claims, commits and damage: one writer, one result, nothing lost."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess

import pytest

from janus import atomic_files, metrics
from janus.errors import RunError
from janus.store.processes import process_identity, process_runs, start_time
from janus.store.store import Store
from tests.conftest import toy_cell
from tests.janus.training import apart


def result_of(cell, **more):
    return {"id": cell.id, "schema": 1, **more}


def test_a_claimed_run_cannot_be_claimed_again(tmp_path):
    store, cell = Store(tmp_path), toy_cell()
    claim = store.claim(cell)
    assert claim is not None and store.claim(cell) is None
    assert store.status(cell.id) == "running"
    claim.release()
    assert store.claim(cell).number == 2


def claim_and_end(root):
    assert Store(root).claim(toy_cell()) is not None


@pytest.mark.slow
def test_claim_of_an_ended_process_is_free_at_once(tmp_path):
    store, cell = Store(tmp_path), toy_cell()
    status, told = apart.run(claim_and_end, tmp_path)
    assert status == 0, told
    assert store.claim(cell).number == 2


def test_silent_claim_of_another_machine_is_free_after_the_lease(tmp_path, monkeypatch):
    store, cell = Store(tmp_path, lease_s=100), toy_cell()
    claim = store.claim(cell)
    foreign = {**process_identity(), "host": "elsewhere"}
    path = store.run_dir(cell.id) / "claims" / "000001.json"
    path.write_text(f'{{"owner": {str(foreign).replace(chr(39), chr(34))}}}')
    clock = {"now": 1000.0}
    monkeypatch.setattr("janus.store.claims.time.monotonic", lambda: clock["now"])
    assert store.claim(cell) is None
    clock["now"] += 90
    claim.beat({"step": 1}, every_s=0)
    assert store.claim(cell) is None  # progress seen: the lease starts again
    clock["now"] += 90
    assert store.claim(cell) is None
    clock["now"] += 20
    assert store.claim(cell).number == 2
    with pytest.raises(RunError, match="taken over"):
        claim.check()


def test_an_old_claim_cannot_commit(tmp_path):
    store, cell = Store(tmp_path), toy_cell()
    old = store.claim(cell)
    old.release()
    store.claim(cell)
    with pytest.raises(RunError) as error:
        old.commit(result_of(cell), {})
    assert error.value.cause == "claim-lost" and store.result(cell.id) is None


def test_first_result_stays(tmp_path):
    store, cell = Store(tmp_path), toy_cell()
    claim = store.claim(cell)
    claim.commit(result_of(cell, value=1), {"attempt": "first"})
    claim.commit(result_of(cell, value=1), {"attempt": "again"})  # equal: fine
    with pytest.raises(RunError, match="another result"):
        claim.commit(result_of(cell, value=2), {})
    assert store.result(cell.id)["value"] == 1
    assert store.done() == {cell.id}


def test_damaged_result_is_an_error_not_a_number(tmp_path):
    store, cell = Store(tmp_path), toy_cell()
    claim = store.claim(cell)
    claim.commit(result_of(cell), {})
    path = store.result_path(cell.id)
    path.write_text(path.read_text()[:10])
    with pytest.raises(RunError, match="damaged"):
        store.result(cell.id)


def test_a_result_that_contradicts_its_own_counts_is_an_error_that_names_both(tmp_path):
    store, cell = Store(tmp_path), toy_cell()
    counts = {"correct": [[9], [6, 9]], "total": [10, 10]}
    found = metrics.summarise(counts["correct"], counts["total"])
    path = store.result_path(cell.id)
    atomic_files.create_once(
        path, atomic_files.json_writer(result_of(cell, **counts, metrics=found))
    )
    assert store.result(cell.id)["metrics"]["acc"] == 0.75
    edited = result_of(cell, **counts, metrics=found | {"acc": 0.99})
    path.write_text(json.dumps(edited))
    with pytest.raises(RunError, match=r"acc is 0\.99, but its counts give 0\.75") as error:
        store.result(cell.id)
    assert error.value.cause == "store-damaged" and str(path) in str(error.value)


def _race(arguments):
    root, barrier = arguments
    store, cell = Store(root), toy_cell()
    barrier.wait()
    claim = store.claim(cell)
    return claim.number if claim else 0


def test_many_claimers_one_winner(tmp_path):
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager:
        barrier = manager.Barrier(8)
        with context.Pool(8) as pool:
            for round_ in range(5):
                root = tmp_path / str(round_)
                numbers = pool.map(_race, [(root, barrier)] * 8, chunksize=1)
                assert sorted(numbers) == [0] * 7 + [1]


def test_full_disk_is_one_clear_error_and_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    atomic_files.replace(path, atomic_files.json_writer({"old": 1}))

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="no space left") as error:
        atomic_files.replace(path, atomic_files.json_writer({"new": 2}))
    assert error.value.cause == "disk-full"
    assert atomic_files.read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_link_that_nfs_reports_as_failed_counts_when_it_was_made(tmp_path, monkeypatch):
    real = os.link

    def lying(source, target):
        real(source, target)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "link", lying)
    assert atomic_files.create_once(tmp_path / "a.json", atomic_files.json_writer({"a": 1}))
    assert atomic_files.read_json(tmp_path / "a.json") == {"a": 1}


def test_process_identity_tells_a_reused_pid():
    here = process_identity()
    assert process_runs(here["pid"], here["started"])
    assert not process_runs(here["pid"], "1")
    assert not process_runs(2**22 + 1, here["started"])


def test_half_written_files_are_not_results(tmp_path):
    store, cell = Store(tmp_path), toy_cell()
    path = store.result_path(cell.id)
    path.parent.mkdir(parents=True)
    path.with_name(f".{cell.id}.json.abcd.tmp").write_text("{")
    assert store.done() == set()


def foreign_claim(store, cell, **changes):
    """Claim 1, as if made elsewhere."""
    store.claim(cell)
    path = store.run_dir(cell.id) / "claims" / "000001.json"
    path.write_text(json.dumps({"owner": {**process_identity(), **changes}}))


@pytest.fixture
def machine(monkeypatch) -> dict:
    """What this machine is taken for; no container, wherever the tests run."""
    facts = {"host": "localhost", "machine": "3d12", "boot": "now", "pid_namespace": 0xEFFFFFFC}
    monkeypatch.setattr("janus.store.processes.this_machine", lambda: facts)
    return facts


def test_claim_from_before_a_reboot_is_free_at_once(tmp_path, machine):
    store, cell = Store(tmp_path), toy_cell()
    foreign_claim(store, cell, boot="another-boot")
    assert store.claim(cell).number == 2


@pytest.mark.parametrize("other", ["b7c0", "", None])
def test_another_machine_of_the_same_name_keeps_its_claim(tmp_path, machine, other):
    """None: a claim of an earlier version, which wrote no machine-id down."""
    store, cell = Store(tmp_path), toy_cell()
    foreign_claim(store, cell, boot="another-boot", machine=other)
    assert store.claim(cell) is None and store.status(cell.id) == "running"


def test_two_machines_without_an_id_of_their_own_are_two(tmp_path, machine):
    store, cell = Store(tmp_path), toy_cell()
    machine["machine"] = ""
    foreign_claim(store, cell, boot="another-boot")
    assert store.claim(cell) is None


def test_another_container_of_the_same_image_keeps_its_claim(tmp_path, machine):
    store, cell = Store(tmp_path), toy_cell()
    machine["pid_namespace"] = 4026532217
    foreign_claim(store, cell, boot="another-boot")
    assert store.claim(cell) is None


def test_a_live_process_of_this_machine_keeps_its_claim_until_it_is_suspended(
    tmp_path, monkeypatch
):
    """However long a single step takes; and the lease counts from when the process is suspended."""
    store, cell = Store(tmp_path, lease_s=100), toy_cell()
    holder = subprocess.Popen(["sleep", "600"])
    try:
        foreign_claim(store, cell, pid=holder.pid, started=start_time(holder.pid))
        clock = {"now": 0.0}
        monkeypatch.setattr("janus.store.claims.time.monotonic", lambda: clock["now"])
        for clock["now"] in (0.0, 1000.0, 2000.0):
            assert store.claim(cell) is None
        holder.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
        assert store.claim(cell) is None
        clock["now"] += 50
        assert store.claim(cell) is None and store.stalled_claim(cell.id) is None
        clock["now"] += 51
        assert store.status(cell.id) == "open"
        assert store.stalled_claim(cell.id) == [1, None]
        holder.send_signal(signal.SIGCONT)
        os.waitid(os.P_PID, holder.pid, os.WCONTINUED)
        assert store.claim(cell) is None
    finally:
        holder.kill()
        holder.wait()
    assert store.claim(cell).number == 2


def test_the_word_of_another_outweighs_a_live_process(tmp_path):
    """SLURM may have given up a node that is only cut off."""
    store, cell = Store(tmp_path), toy_cell()
    store.claim(cell)
    store.trust(cell.id, 1, None)
    assert store.claim(cell).number == 2


def test_a_worker_elsewhere_hears_of_an_end_that_only_its_driver_sees(tmp_path):
    driver, cell = Store(tmp_path), toy_cell()
    foreign_claim(driver, cell, started="1")
    assert driver.stalled_claim(cell.id) == [1, None]


def test_a_worker_takes_over_what_its_driver_saw_stall(tmp_path, monkeypatch):
    """Only the driver lives long enough to see a lease pass; a worker starts with a fresh eye."""
    driver, cell = Store(tmp_path, lease_s=60), toy_cell()
    foreign_claim(driver, cell, host="elsewhere")
    clock = {"now": 0.0}
    monkeypatch.setattr("janus.store.claims.time.monotonic", lambda: clock["now"])
    assert driver.status(cell.id) == "running" and driver.stalled_claim(cell.id) is None
    clock["now"] = 61
    assert driver.status(cell.id) == "open"
    stalled = json.loads(json.dumps(driver.stalled_claim(cell.id)))
    assert Store(tmp_path).claim(cell) is None
    worker = Store(tmp_path)
    worker.trust(cell.id, *stalled)
    assert worker.claim(cell).number == 2
    late = Store(tmp_path)
    late.trust(cell.id, *stalled)  # somebody has taken over meanwhile: the word is void
    assert late.claim(cell) is None


def test_a_stalled_claim_that_moves_again_is_not_taken(tmp_path):
    driver, cell = Store(tmp_path, lease_s=0), toy_cell()
    claim = driver.claim(cell)
    path = driver.run_dir(cell.id) / "claims" / "000001.json"
    path.write_text(json.dumps({"owner": {**process_identity(), "host": "elsewhere"}}))
    worker = Store(tmp_path)
    worker.trust(cell.id, 1, None)
    claim.beat({"step": 5}, every_s=0)
    assert worker.claim(cell) is None


def test_litter_among_the_results_is_ignored(tmp_path):
    store = Store(tmp_path)
    (tmp_path / "results").mkdir(parents=True)
    (tmp_path / "results" / ".DS_Store").write_text("")
    assert store.done() == set()
