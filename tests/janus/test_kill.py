"""SIGKILL at chosen and at random instants: the restarted run ends with the same bytes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from janus.run import run_cell
from janus.store import Store
from tests.conftest import TOY, toy_cell

ROOT = Path(__file__).resolve().parents[2]

KILLER = """
import os, signal, sys
import importlib
target, count, root, method = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
import janus.run
from janus.store import Store
from tests.conftest import toy_cell
janus.run.CHECK_LOSS_EVERY = 3
module, _, path = target.partition(":")
owner = importlib.import_module(module)
*parents, name = path.split(".")
for parent in parents:
    owner = getattr(owner, parent)
original = getattr(owner, name)
left = {"n": count}

def wrapped(*args, **kwargs):
    left["n"] -= 1
    if left["n"] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **kwargs)

setattr(owner, name, wrapped)
janus.run.run_cell(toy_cell(method), Store(root), threads=1, checkpoint_s=0)
"""

INSTANTS = {
    "in training": ("janus.methods.lora_method:LoraMethod.loss", 33),
    "in begin_task, before the new adapter": ("janus.lora:LoraQKV.merge", 5),
    "in begin_task, after the merge": ("janus.heads:LinearHeads.grow", 3),
    "in end_task, bases half grown": ("janus.subspace:Basis.extend", 4),
    "in end_task, before the prototypes": ("janus.heads:Prototypes.add", 4),
    "in evaluation": ("janus.measure:evaluate", 3),
    "while saving a checkpoint": ("janus.atomic:_sync", 12),
    "before the commit": ("janus.store:Claim.commit", 1),
    "while committing, before the link": ("janus.store:atomic.create", 3),
    "after the commit, before the release": ("janus.store:Claim.release", 1),
}


def killed(instant: str, root: Path, method: str = "janus") -> None:
    target, count = INSTANTS[instant]
    done = subprocess.run(
        [sys.executable, "-c", KILLER, target, str(count), str(root), method],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    store, cell = Store(tmp_path_factory.mktemp("whole")), toy_cell()
    run_cell(cell, store, threads=1)
    return store.result_path(cell.id).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("instant", INSTANTS)
def test_killed_run_ends_with_the_same_bytes(instant, tmp_path, whole):
    killed(instant, tmp_path)
    store, cell = Store(tmp_path), toy_cell()
    run_cell(cell, store, threads=1)
    assert store.result_path(cell.id).read_bytes() == whole
    assert store.done() == {cell.id}


@pytest.mark.slow
def test_killed_at_random_instants_again_and_again(tmp_path, whole):
    """The command line, killed five times after random delays and then left alone."""
    words = [f"{key}={value}" for key, value in TOY.items()]
    command = [sys.executable, "-m", "janus", "method=janus", "threads=1", "checkpoint_s=0.2"]
    command += [*words, f"store={tmp_path}", "device=cpu"]
    draw = random.Random(0)
    for _ in range(5):
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        time.sleep(draw.uniform(2.0, 6.0))
        process.kill()
        process.wait()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    store, cell = Store(tmp_path), toy_cell()
    assert store.result_path(cell.id).read_bytes() == whole
