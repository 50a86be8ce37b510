"""A node that cannot train: its tasks go elsewhere, and the sweep is finished by the others.

Each node of the site has a folder `private` of its own, under one path: what lies there on some
nodes is missing on the others.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cluster.scheduler import slurm_commands
from tests.janus.weights.weight_sets import network, save
from tests.slurm.help import differing, inline, wait

FAST = ("profile.tasks=3", "profile.cpus=1")
"""Three tasks find room on one node; SLURM fills node1 first."""


@pytest.fixture
def user(login):
    return login(orders=1)


def put(site, path: Path, node: str, text: bytes) -> None:
    """Give a node the file `path` of its private folder, which may be run."""
    source = site.root / "run" / path.name
    source.write_bytes(text)
    source.chmod(0o755)
    site.inside(node, "cp", "-p", str(source), str(path))


def clear(site, path: Path) -> None:
    for node in site.nodes:
        site.inside(node, "rm", "-f", str(path))


@pytest.fixture
def toy_weights(tmp_path) -> bytes:
    """A weight file of the toy backbone."""
    state = network(in_chans=1).state_dict()
    return Path(save(state, tmp_path / "toy.pth")).read_bytes()


@pytest.fixture
def private(site):
    """A file of the private folder, which is taken away from every node afterwards."""
    path = site.root / "private" / "file"
    yield path
    clear(site, path)


def python() -> bytes:
    """What starts the Python of these tests."""
    return f'#!/bin/sh\nexec {sys.executable} "$@"\n'.encode()


def test_a_node_without_python_is_left_out_and_the_others_finish(user, site, private, tmp_path):
    for node in ("node2", "node3"):
        put(site, private, node, python())
    submission = user.submit(*FAST, f"profile.python={private}")
    user.finish(submission, 300)
    assert differing(submission, user.store, inline(submission, tmp_path / "inline")) == []
    assert [user.store.attempts(cell.id) for cell in submission.work[0]] == [1] * 3
    assert {e["node"] for e in user.events(submission, "unfit")} == {"node1"}
    assert "node1" not in {e["node"] for e in user.events(submission, "task")}
    told = user.run("status").stdout
    assert "node1 is not fit to train" in told and str(private) in told
    assert "requeued without node1" in told


def test_a_node_without_the_weights_is_left_out(login, site, private, toy_weights):
    user = login(orders=1)
    private.write_bytes(toy_weights)  # the login node's own, for `submit`
    for node in ("node2", "node3"):
        put(site, private, node, toy_weights)
    try:
        submission = user.submit(*FAST, f"backbone.weights={private}")
        user.finish(submission, 300)
    finally:
        private.unlink()
    assert [user.store.attempts(cell.id) for cell in submission.work[0]] == [1] * 3
    unfit = user.events(submission, "unfit")
    assert {e["node"] for e in unfit} == {"node1"} and {e["why"] for e in unfit} == {"check"}
    told = user.run("status").stdout
    assert "node1 is not fit to train" in told and "wrong  weights: " in told


def test_tasks_that_no_node_can_do_end_with_a_failure_and_say_so(user, site, private):
    submission = user.submit("profile.tasks=1", f"profile.python={private}")

    def over() -> bool:
        return not any(
            r.state in slurm_commands.ALIVE | slurm_commands.COMING
            for r in slurm_commands.queue(submission.id)
        )

    wait(over, 180, "the task to give up")
    (row,) = slurm_commands.queue(submission.id)
    assert row.state == "FAILED" and row.restarts == 2
    done = user.run("status")
    assert done.returncode == 3
    assert "given up: 3 starts of this task met nodes that could not train" in done.stdout
    for node in site.nodes:
        assert f"{node} is not fit to train" in done.stdout


def test_a_node_that_does_not_see_the_store_is_left_out(user, site):
    """Its jobs cannot even open their log."""
    first = ("mount", "-t", "tmpfs", "tmpfs", str(user.folder))
    site.inside("node1", *first)
    try:
        submission = user.submit(*FAST)
        user.finish(submission, 300)
    finally:
        site.inside("node1", "umount", str(user.folder))
    assert {e["node"] for e in user.events(submission, "task")} <= {"node2", "node3"}
    assert f"node1 does not see {submission.jobs}" in user.run("status").stdout
