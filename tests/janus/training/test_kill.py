"""SIGKILL at chosen and at random instants: the restarted run ends with the same bytes."""

from __future__ import annotations

import importlib
import itertools
import os
import random
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import janus.training.loop
from janus.__main__ import run_command as command_line
from janus.store.store import Store
from janus.training.loop import run_cell
from tests.conftest import TOY, toy_cell
from tests.janus.training import apart

INSTANTS = {
    "in training": ("janus.methods.base.lora_method:LoraMethod.loss", 33),
    "in begin_task, before the new adapter": ("janus.nn.lora:LoraQKV.merge", 5),
    "in begin_task, after the merge": ("janus.nn.heads:LinearHeads.grow", 3),
    "in end_task, bases half grown": ("janus.algorithms.subspace:Basis.extend", 4),
    "in end_task, before the prototypes": ("janus.nn.heads:Prototypes.add", 4),
    "in evaluation": ("janus.evaluation.measurements:evaluate", 3),
    "while saving a checkpoint": ("janus.atomic_files:_sync", 12),
    "before the commit": ("janus.store.claims:Claim.commit", 1),
    "while keeping single images, before the link": ("janus.atomic_files:create_once", 3),
    "while committing, before the link": ("janus.atomic_files:create_once", 4),
    "after the commit, before the release": ("janus.store.claims:Claim.release", 1),
}


def die(target: str, count: int, root: Path) -> None:
    """Train, and be killed by call number `count` of `target`, an attribute of a module."""
    module, _, path = target.partition(":")
    *parents, name = path.split(".")
    owner = importlib.import_module(module)
    for parent in parents:
        owner = getattr(owner, parent)
    original, calls = getattr(owner, name), itertools.count(1)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)
    janus.training.loop.CHECK_LOSS_EVERY = 3
    run_cell(toy_cell(), Store(root), threads=1, checkpoint_s=0)


@dataclass(frozen=True)
class Whole:
    """The run that nothing disturbed."""

    result: bytes
    images: dict[str, bytes]
    """Files of single test images by name."""
    seconds: float


def images_of(store: Store) -> dict[str, bytes]:
    found = (store.root / "correct_images").rglob("*.bits")
    return {path.name: path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Whole:
    store, cell = Store(tmp_path_factory.mktemp("whole")), toy_cell()
    start = time.monotonic()
    run_cell(cell, store, threads=1)
    seconds = time.monotonic() - start
    return Whole(store.result_path(cell.id).read_bytes(), images_of(store), seconds)


@pytest.mark.slow
@pytest.mark.parametrize("instant", INSTANTS)
def test_killed_run_ends_with_the_same_bytes(instant, tmp_path, whole):
    status, told = apart.run(die, *INSTANTS[instant], tmp_path)
    assert status == -signal.SIGKILL, told
    store, cell = Store(tmp_path), toy_cell()
    run_cell(cell, store, threads=1)
    assert store.result_path(cell.id).read_bytes() == whole.result
    assert images_of(store) == whole.images and len(whole.images) == 1
    assert store.done() == {cell.id}


def typed(words: list[str]) -> None:
    sys.exit(command_line(words))


@pytest.mark.slow
def test_killed_at_random_instants_again_and_again(tmp_path, whole):
    """The command line, killed five times within the time of a whole run and then left alone."""
    words = [f"{key}={value}" for key, value in TOY.items()]
    words += ["method=janus", "threads=1", "checkpoint_s=0.2", f"store={tmp_path}", "device=cpu"]
    draw = random.Random(0)
    for _ in range(5):
        process = apart.start(typed, words)
        process.join(draw.uniform(0.0, whole.seconds))
        process.kill()
        process.join()
    status, told = apart.run(typed, words)
    assert status == 0, told
    store, cell = Store(tmp_path), toy_cell()
    assert store.result_path(cell.id).read_bytes() == whole.result
    assert images_of(store) == whole.images and len(whole.images) == 1
