"""Fingerprints of training: when these move, results move, and a revision must be bumped.

Loose enough for another processor (relative 2e-3), tight enough for any change of the algorithm.
After an intended change: bump `revision` in the method's YAML (or CORE_REVISION), then
    python -m tests.janus.test_golden NAME
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from janus.config.cell import CORE_REVISION
from janus.config.method_spec import method_spec
from janus.data import load_bench as benches
from janus.data.stream import cut, joined
from janus.methods import make_method
from janus.methods.base.method import Context
from janus.nn.vit import build_backbone
from tests.conftest import toy_cell
from tests.janus.methods import zoo

FOLDER = Path(__file__).with_name("golden")
"""One file per method."""
CPU = torch.device("cpu")


FIXED = {"lr": 1e-3, "head_lr": 5e-3, "subspace_energy": 0.95}
"""Values of our own, so that a bench's tuned values may change without touching this."""


def fingerprint(name: str) -> dict[str, object]:
    """Two tasks through the contract: every tenth loss and a few logits afterwards."""
    torch.set_num_threads(1)
    settings = method_spec(name).settings
    fixed = {f"method__{key}": value for key, value in FIXED.items() if key in settings}
    cell = toy_cell(name, order="1", seed=3, **fixed)
    stream = cut(benches.load_images(cell.bench), cell, CPU)
    method = make_method(Context(cell, build_backbone(cell.backbone, CPU), CPU))
    losses = []
    for task in (joined(stream),) if method.joint else stream.tasks[:2]:
        method.begin_task(task)
        for epoch in range(method.epochs(task)):
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


@zoo.each_method
def test_results_change_only_with_a_revision(name):
    stored = json.loads((FOLDER / f"{name}.json").read_text())
    found = fingerprint(name)
    assert (found["core"], found["revision"]) == (stored["core"], stored["revision"]), (
        "revision bumped: write the new fingerprint with python -m tests.janus.test_golden"
    )
    for key in ("losses", "logits"):
        assert found[key] == pytest.approx(stored[key], rel=2e-3, abs=2e-3), (
            f"{name} computes something else than before: bump its revision"
        )


if __name__ == "__main__":
    for name in sys.argv[1:] or zoo.METHODS:
        (FOLDER / f"{name}.json").write_text(json.dumps(fingerprint(name), indent=1) + "\n")
