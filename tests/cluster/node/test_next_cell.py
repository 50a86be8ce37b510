"""Which cell comes next: every cell once, own share first, nothing held back by the dead."""

from __future__ import annotations

import pytest

from cluster.node.job import Job
from cluster.node.job_store import TaskStore
from cluster.node.next_cell import own_order, pick
from janus.errors import ClusterError
from janus.store.store import Store
from tests.cluster.claims import held_elsewhere, held_without_a_job, job, row
from tests.conftest import toy_cell


@pytest.fixture
def cells():
    return [toy_cell(order=str(n)) for n in range(6)]


def test_workers_start_apart_and_look_at_every_cell(cells):
    firsts = {own_order(cells, index, 3)[0].id for index in range(3)}
    assert len(firsts) == 3
    for index in range(3):
        order = own_order(cells, index, 3)
        assert order[:2] == [cells[index], cells[index + 3]]
        assert {c.id for c in order} == {c.id for c in cells} and len(order) == len(cells)


def finish(store, cell):
    claim = store.claim(cell)
    claim.commit({"id": cell.id}, {})
    claim.release()


def test_one_worker_takes_every_cell_once(cells, tmp_path):
    store = TaskStore(tmp_path, job())
    taken = []
    for cell in pick(own_order(cells, 0, 2), {}, store, 3, list):
        finish(store, cell)
        taken.append(cell.id)
    assert sorted(taken) == sorted(c.id for c in cells)


def test_what_others_finished_meanwhile_is_left_out(cells, tmp_path):
    store, other = TaskStore(tmp_path, job()), Store(tmp_path)
    taken = []
    for cell in pick(own_order(cells, 0, 2), {}, store, 3, list):
        finish(store, cell)
        taken.append(cell.id)
        if len(taken) == 1:
            for theirs in cells[1::2]:
                finish(other, theirs)
    assert taken == [c.id for c in cells[0::2]]


def test_cells_of_a_living_task_end_the_work_and_those_of_a_dead_one_are_taken(cells, tmp_path):
    alive, dead = job("8"), job("9")
    held_elsewhere(tmp_path, cells[0], alive)
    held_elsewhere(tmp_path, cells[1], dead)
    store = TaskStore(tmp_path, job())
    taken = []
    for cell in pick(cells[:2], {}, store, 2, lambda: [row(job()), row(alive)]):
        finish(store, cell)
        taken.append(cell)
    assert taken == [cells[1]]


def test_a_requeued_task_goes_on_with_its_own_cell_first_without_asking_anybody(cells, tmp_path):
    held_elsewhere(tmp_path, cells[0], job())

    def rows():
        raise AssertionError("no need to ask")

    store = TaskStore(tmp_path, job(restart=1))
    assert next(pick(cells, {}, store, 3, rows)) == cells[0]


def test_without_a_queue_to_ask_the_worker_ends(cells, tmp_path):
    held_elsewhere(tmp_path, cells[0], job("8"))

    def rows():
        raise ClusterError("no squeue")

    assert list(pick(cells[:1], {}, TaskStore(tmp_path, job()), 1, rows)) == []


def test_a_failed_cell_is_tried_again_only_when_it_was_submitted_again(cells, tmp_path):
    store = TaskStore(tmp_path, Job("7", "7_0", 0, "node1"))
    claim = store.claim(cells[0])
    claim.fail({"cause": "nan"})
    claim.release()
    assert list(pick(cells[:1], {}, store, 1, list)) == []
    taken = []
    for cell in pick(cells[:1], {cells[0].id: 1}, store, 1, list):
        taken.append(cell)
        again = store.claim(cell)
        again.fail({"cause": "nan"})
        again.release()
    assert taken == cells[:1]


def test_cells_of_many_dead_tasks_are_all_taken_whatever_share_is_asked_after(
    cells, tmp_path, monkeypatch
):
    monkeypatch.setattr("cluster.node.next_cell.CHECKED", 1)
    for number, cell in enumerate(cells[1:], 8):
        held_elsewhere(tmp_path, cell, job(str(number)))
    store = TaskStore(tmp_path, job())
    taken = []
    for cell in pick(cells, {}, store, 1, lambda: [row(job())]):
        finish(store, cell)
        taken.append(cell.id)
    assert sorted(taken) == sorted(c.id for c in cells)


def test_a_cell_that_its_holder_gives_back_meanwhile_is_taken(cells, tmp_path):
    claim = held_elsewhere(tmp_path, cells[0], job("8"))
    held_elsewhere(tmp_path, cells[1], job("9"))
    store, taken = TaskStore(tmp_path, job()), []

    def rows():
        claim.release()  # and job 9 is gone
        return [row(job()), row(job("8"))]

    for cell in pick(cells[:2], {}, store, 0, rows):
        finish(store, cell)
        taken.append(cell.id)
    assert sorted(taken) == sorted(c.id for c in cells[:2])


def test_each_worker_waits_for_the_held_cells_of_its_own_share(cells, tmp_path):
    for cell in cells[:2]:
        held_without_a_job(tmp_path, cell)
    store, asked, taken = TaskStore(tmp_path, job()), [], []

    def wait(held):
        asked.append(list(held))
        for cell_id in held:
            store.trust(cell_id, store.last_claim(cell_id), store.beat(cell_id))
        return held

    for cell in pick(cells[:2], {}, store, 1, list, wait):
        finish(store, cell)
        taken.append(cell)
    assert asked == [[cells[0].id]] and taken == [cells[0]], "the other waits for the other"


def test_a_share_whose_holders_live_ends_the_work(cells, tmp_path):
    held_without_a_job(tmp_path, cells[0])
    store = TaskStore(tmp_path, job())
    assert list(pick(cells[:1], {}, store, 1, list, lambda held: [])) == []
