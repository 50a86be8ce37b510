"""What the tests on the real SLURM share: the command line, the tiny sweep, an inline run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.record.submission import Submission, newest, read_events
from janus.config.cell import Cell
from janus.store.store import Store
from tests.slurm.site import Site

ROOT = Path(__file__).resolve().parents[2]

FIXED = {
    "backbone": "toy",
    "bench.train_per_class": 6,
    "bench.tasks": 4,
    "train.batch_size": 16,
}
SWEEP = """\
bench: glyphs
methods: [seqlora, inflora, janus]
orders: {orders}
fixed: {fixed}
"""
"""Cells of a second or so each; the accuracies mean nothing."""


@dataclass
class Login:
    """A user on the login node, with a sweep file and a store."""

    site: Site
    folder: Path
    orders: int = 8
    epochs: int = 2

    def __post_init__(self) -> None:
        self.sweep = self.folder / "tiny.yaml"
        fixed = json.dumps({**FIXED, "train.epochs": self.epochs})
        self.sweep.write_text(SWEEP.format(orders=self.orders, fixed=fixed))
        self.store = Store(self.folder / "store")
        self.env = {
            **self.site.env,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }

    def command(self, action: str, *words: str) -> list[str]:
        """The command line of an action on this sweep."""
        return [
            *(sys.executable, "-m", "cluster", action, str(self.sweep)),
            *(f"store={self.store.root}", *words),
        ]

    def run(self, action: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Type a command and wait for it."""
        return subprocess.run(
            self.command(action, *words), cwd=ROOT, env=self.env, capture_output=True, text=True
        )

    def submit(self, *words: str) -> Submission:
        """Submit; the submission that came of it."""
        done = self.run("submit", *words)
        assert done.returncode == 0, done.stderr
        return newest(self.store, "tiny")

    def events(self, submission: Submission, name: str | None = None) -> list[dict[str, Any]]:
        """What tasks wrote so far."""
        found = read_events(submission.events.glob("*.jsonl"))
        return [e for e in found if name in (None, e["event"])]

    def finish(self, submission: Submission, seconds: float = 300.0) -> None:
        """Wait until every cell has a result."""
        wanted = {cell.id for cell in submission.work[0]}
        wait(lambda: wanted <= self.store.done(), seconds, "the sweep")


def wait(what: Callable[[], Any], seconds: float, name: str) -> Any:
    """Poll until `what()` holds and return it. Raises TimeoutError that names what did not come."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name} took more than {seconds:.0f} s")
        time.sleep(0.1)
    return found


INLINE = """
import sys
from pathlib import Path
from cluster.record.submission import Submission
from janus.training.loop import run_cell
from janus.config.cell import Cell
from janus.store.store import Store
wanted = sys.argv[4].split(",")
cells = [c for c in Submission(Path(sys.argv[1])).work[0] if c.id in wanted]
for cell in cells[int(sys.argv[3])::2]:
    run_cell(cell, Store(sys.argv[2]), threads=1)
"""


def inline(submission: Submission, folder: Path, cells: Sequence[Cell] | None = None) -> Store:
    """All cells, or these, trained without a cluster: two processes with half of them each."""
    ids = ",".join(cell.id for cell in cells or submission.work[0])
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", INLINE, str(submission.folder), str(folder)]
    halves = [subprocess.Popen([*words, half, ids], env=env, cwd=ROOT) for half in ("0", "1")]
    assert [half.wait() for half in halves] == [0, 0]
    return Store(folder)


def differing(
    submission: Submission, one: Store, other: Store, cells: Sequence[Cell] | None = None
) -> list[str]:
    """Titles of the cells, of all or of these, whose results are not the same bytes."""
    return [
        cell.title
        for cell in cells or submission.work[0]
        if one.result_path(cell.id).read_bytes() != other.result_path(cell.id).read_bytes()
    ]
