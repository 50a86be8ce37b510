"""The store over a file system that answers late and repeats requests, as NFS clients do."""

from __future__ import annotations

import multiprocessing
import os
import time

import pytest

from janus import atomic_files
from janus.store.store import Store
from tests.conftest import toy_cell
from tests.janus.store.nfs import mount

CELLS = 6
CLIENTS = 4


@pytest.fixture
def client(tmp_path, monkeypatch):
    return mount(tmp_path, lost=0.0, patch=monkeypatch.setattr)


def test_the_layer_hides_for_a_while_what_another_client_made(client, tmp_path):
    path = tmp_path / "a"
    assert not path.exists() and os.listdir(tmp_path) == []
    os.close(os.open(path, os.O_CREAT))  # behind the layer's back
    assert not path.exists() and os.listdir(tmp_path) == [] and client.late
    time.sleep(client.stale_s + 0.05)
    assert path.exists() and os.listdir(tmp_path) == ["a"]


def test_what_was_absent_a_moment_ago_cannot_be_opened_nor_found(client, tmp_path):
    path = tmp_path / "a.json"
    assert not path.exists() and not list(tmp_path.glob("*.json"))
    os.close(os.open(path, os.O_CREAT))
    assert atomic_files.read_json(path) is None and not list(tmp_path.glob("*.json"))
    time.sleep(client.stale_s + 0.05)
    assert path.read_text() == "" and list(tmp_path.glob("*.json")) == [path]


def test_the_layer_shows_at_once_what_this_client_made(client, tmp_path):
    assert not (tmp_path / "b").exists()
    assert atomic_files.create_once(tmp_path / "b", atomic_files.json_writer({}))
    assert (tmp_path / "b").exists()


def test_a_repeated_rename_link_or_unlink_counts_as_made(client, tmp_path):
    client.lost = 1.0
    atomic_files.replace(tmp_path / "a", atomic_files.json_writer(1))
    assert atomic_files.create_once(tmp_path / "b", atomic_files.json_writer(2))
    assert (atomic_files.read_json(tmp_path / "a"), atomic_files.read_json(tmp_path / "b")) == (
        1,
        2,
    )
    assert client.replays == 3
    client.lost = 0.0
    assert not atomic_files.create_once(
        tmp_path / "b", atomic_files.json_writer(3)
    )  # somebody else's stays


def _work(root, seed, count, results):
    """Claim, work and commit until every cell is seen done; what this client won."""
    client = mount(root, seed=seed)
    store, cells = Store(root), [toy_cell(order=str(n)) for n in range(count)]
    won, left = [], cells[seed:] + cells[:seed]
    while left:
        for cell in list(left):
            if store.result_path(cell.id).exists():
                left.remove(cell)
            elif (claim := store.claim(cell)) is not None:
                time.sleep(0.01)
                claim.beat({"step": 1}, every_s=0)
                claim.commit({"id": cell.id, "value": 1}, {"client": seed})
                claim.release()
                won.append((cell.id, claim.number))
        time.sleep(0.02)
    results.put((won, client.replays, client.late))


@pytest.mark.slow
def test_clients_that_see_each_other_late_share_the_cells_without_a_double_claim(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    workers = [
        context.Process(target=_work, args=(tmp_path, seed, CELLS, results))
        for seed in range(CLIENTS)
    ]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(10)
        assert worker.exitcode == 0
    claims = [claim for won, _, _ in found for claim in won]
    assert len(set(claims)) == len(claims), "two clients held the same claim"
    store = Store(tmp_path)
    assert store.done() == {cell_id for cell_id, _ in claims} and len(store.done()) == CELLS
    assert all(store.result(cell_id)["value"] == 1 for cell_id in store.done())
    assert sum(replays for _, replays, _ in found) > 0
    assert not list(tmp_path.rglob(".*.tmp"))
