"""The scripts of examples/ run as they stand, on cells that train in a second."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import TOY
from tests.janus.data import sets

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SMALL = {**TOY, "bench.tasks": 2, "train.epochs": 1}


def script(name: str):
    """The `main` of a script."""
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]


@pytest.mark.slow
def test_a_cell_is_trained_once_and_its_store_is_compared(tmp_path, capsys):
    store, train = str(tmp_path / "runs"), script("one_cell")
    first = train(store, **SMALL)
    assert "after task 2: " in capsys.readouterr().out
    assert train(store, **SMALL) == first
    other = train(store, **SMALL | {"order": 1})
    assert other["id"] != first["id"]
    table = script("read_store")(store)
    accuracy = 50 * (first["metrics"]["acc"] + other["metrics"]["acc"])
    assert "janus" in table and f"{accuracy:.2f}" in table


@pytest.mark.slow
def test_images_of_ones_own_are_checked_and_trained(tmp_path, capsys):
    parts, classes = {"train": 3, "test": 2}, ("cat", "dog", "emu", "fox")
    folder = sets.class_folders(tmp_path / "mine", parts, classes)
    result = script("own_images")(str(folder), 2, str(tmp_path / "runs"), backbone="toy")
    assert result["total"] == [4, 4]
    assert "after 2 tasks" in capsys.readouterr().out


class AllParts:
    """Commands with examples/all_parts.py, each a process of its own: registrations stay there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "mine.yaml").write_text(
            "bench: noise\nmethods: [scaled_loss, seqlora]\norders: 2\n"
        )

    def run(self, *words: str) -> str:
        words = (*words, "--include", str(EXAMPLES / "all_parts.py"))
        env = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *words], cwd=self.folder, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.mark.slow
def test_one_part_of_each_kind_from_outside_is_used(tmp_path):
    parts, store = AllParts(tmp_path), "store=runs"
    sweep = ("-m", "sweeps", "run", "mine.yaml", store, "tracker=lines")
    assert "all 4 cells of mine are done" in parts.run(*sweep)
    events = [path.read_text().split() for path in (tmp_path / "runs").glob("*.events")]
    assert len(events) == 4 and all(found[-1] == "done" for found in events)
    table = parts.run(str(EXAMPLES.parent / "analysis/compare.py"), "--columns", "worst,tasks")
    assert "Worst task" in table and "Tasks" in table and "scaled_loss" in table
    report = (str(EXAMPLES.parent / "analysis/report.py"), "--out", "report.html")
    parts.run(*report)
    assert (
        "Accuracy of the first run of each row on noise." in (tmp_path / "report.html").read_text()
    )
    submit = ("-m", "cluster", "submit", "mine.yaml", "cluster=by_hand", "store=jobs")
    assert "4 tasks: jobs" in parts.run(*submit)
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "jobs" / "results").rglob("*.json"))) < 4:
        assert time.monotonic() < deadline, [p.read_text() for p in tmp_path.rglob("*.log")]
        time.sleep(0.5)


def test_every_script_is_tested_and_short():
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert [path.stem for path in scripts] == ["all_parts", "one_cell", "own_images", "read_store"]
    for path in scripts[1:]:
        assert len(path.read_text().splitlines()) <= 40, path.name
