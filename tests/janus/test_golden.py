"""Fingerprints of training: when these move, results move, and a revision must be bumped.

Loose enough for another processor (relative 2e-3), tight enough for any change of the algorithm.
After an intended change: bump `revision` in the method's YAML (or CORE_REVISION), then
    python -m tests.janus.test_golden
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from janus.backbone import build
from janus.config import CORE_REVISION
from janus.data import bench as benches
from janus.data.tasks import cut
from janus.methods import make
from janus.methods.base import Context
from tests.conftest import toy_cell

PATH = Path(__file__).with_name("golden.json")
METHODS = ["janus", "seqlora", "inflora", "lora_gpm", "ncm"]
CPU = torch.device("cpu")


def fixed(name: str) -> dict[str, float]:
    """Values of our own, so that a bench's tuned values may change without touching this."""
    if name == "ncm":
        return {}
    energy = {} if name == "seqlora" else {"method__subspace_energy": 0.95}
    return {"method__lr": 1e-3, "method__head_lr": 5e-3, **energy}


def fingerprint(name: str) -> dict[str, object]:
    """Two tasks through the contract: every tenth loss and a few logits afterwards."""
    torch.set_num_threads(1)
    cell = toy_cell(name, order="1", seed=3, **fixed(name))
    stream = cut(benches.load(cell.bench), cell, CPU)
    method = make(Context(cell, build(cell.backbone, CPU), CPU))
    losses = []
    for task in stream.tasks[:2]:
        method.begin_task(task)
        for epoch in range(task.epochs if method.trains else 0):
            for batch in task.train_batches(epoch):
                total = sum(method.loss(batch).values())
                total.backward()
                method.update()
                losses.append(float(total.detach()))
        method.end_task(task)
    with torch.no_grad():
        batch = next(stream.tasks[0].plain_batches())
        logits = method.predict(batch.images)[0]
    return {
        "core": CORE_REVISION,
        "revision": cell.method.revision,
        "losses": losses[::10],
        "logits": [float(x) for x in logits[:3, ::10].flatten()],
    }


@pytest.mark.parametrize("name", METHODS)
def test_results_change_only_with_a_revision(name):
    stored = json.loads(PATH.read_text())[name]
    found = fingerprint(name)
    assert (found["core"], found["revision"]) == (stored["core"], stored["revision"]), (
        "revision bumped: write the new fingerprint with python -m tests.janus.test_golden"
    )
    for key in ("losses", "logits"):
        assert found[key] == pytest.approx(stored[key], rel=2e-3, abs=2e-3), (
            f"{name} computes something else than before: bump its revision"
        )


if __name__ == "__main__":
    PATH.write_text(json.dumps({n: fingerprint(n) for n in METHODS}, indent=1) + "\n")
