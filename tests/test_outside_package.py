"""The example package: swept on Ray, run by the tasks of a cluster, installed, compared."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from janus.store.store import Store

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "my_method"

SWEEP = """\
{include}methods: [anchored_lora, seqlora]
orders: 1
fixed: {{backbone: toy, bench.train_per_class: 3, bench.test_per_class: 2, bench.tasks: 2,
         train.epochs: 1}}
"""

LAUNCHER = """
import os, subprocess
from janus.plugins import register_launcher

@register_launcher("by_hand")
class ByHand:
    def submit(self, submission, tasks):
        from cluster.launchers.outside_launchers import task_command
        pids = []
        for index in range(tasks):
            words, variables = task_command(submission, index, tasks)
            with open(submission.jobs / f"{index}.log", "w") as log:
                started = subprocess.Popen(words, env={**os.environ, **variables}, stdout=log,
                                           stderr=log, start_new_session=True)
            pids.append(str(started.pid))
        (submission.folder / "pids").write_text(" ".join(pids))
        return pids

    def running(self, submission):
        pids = (submission.folder / "pids").read_text().split()
        return [pid for pid in pids if os.path.exists(f"/proc/{pid}")]

    def cancel(self, submission):
        for pid in self.running(submission):
            os.kill(int(pid), 15)
"""


class Place:
    """A folder with a copy of the example and a sweep file, where commands are typed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(EXAMPLE, folder / "my_method")
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self.sweep("include: my_method/my_method\n")

    def sweep(self, include: str) -> None:
        (self.folder / "mine.yaml").write_text(SWEEP.format(include=include))

    def run(self, *words: str, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, *words], cwd=self.folder, env=self.env, capture_output=True, text=True
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def finish(self, store: str, cells: int) -> None:
        deadline = time.monotonic() + 240
        while len(Store(self.folder / store).done()) < cells:
            assert time.monotonic() < deadline, f"{store} is not finished"
            time.sleep(0.3)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def results(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("results/*/*.json")}


@pytest.mark.slow
def test_the_example_is_swept_on_ray_run_by_tasks_installed_and_compared(place):
    sweep = ("-m", "sweeps", "run", "mine.yaml", "workers=1", "device=cpu")
    place.run(*sweep, "store=ray")
    swept = results(place.folder / "ray")
    assert len(swept) == 2
    listed = json.loads((place.folder / "ray" / "sweeps" / "mine.json").read_text())
    assert listed["include"] == [str(place.folder / "my_method/my_method/__init__.py")]
    table = place.run(str(ROOT / "analysis/compare.py"), "--store", "ray", "--sweep", "mine")
    assert "anchored_lora" in table

    # the tasks import the copy: what was included is gone when they start
    submit = ("-m", "cluster", "submit", "mine.yaml", "profile.device=cpu", "profile.tasks=1")
    place.run(*submit, "cluster=local", "store=tasks")
    shutil.move(place.folder / "my_method", place.folder / "moved")
    place.finish("tasks", 2)
    assert results(place.folder / "tasks") == swept
    (record,) = (place.folder / "tasks" / "cluster").glob("*/submission.json")
    copied = json.loads(record.read_text())
    assert copied["include"] == ["outside/my_method/__init__.py"]
    assert copied["included_from"] == [str(place.folder / "my_method" / "my_method")]

    # installed: the same cells, without --include
    shutil.move(place.folder / "moved", place.folder / "my_method")
    pip = ("-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", "site")
    place.run(*pip, "./my_method", "--disable-pip-version-check")
    place.env["PYTHONPATH"] += f"{os.pathsep}{place.folder / 'site'}"
    place.sweep("")
    listed_now = place.run("-m", "janus", "--list", "methods")
    assert "anchored_lora" in listed_now
    assert str(place.folder / "site") in "".join(listed_now.split())  # a long path is wrapped
    assert "2 done" in place.run("-m", "sweeps", "plan", "mine.yaml", "store=ray")
    place.run(*sweep, "store=installed")
    assert results(place.folder / "installed") == swept


@pytest.mark.slow
def test_a_launcher_of_ones_own_runs_the_tasks(place):
    (place.folder / "launch.py").write_text(LAUNCHER)
    words = ("cluster=by_hand", "profile.device=cpu", "profile.tasks=1", "store=runs")
    submit = ("-m", "cluster", "submit", "mine.yaml", *words)
    assert place.run(*submit, "--dry", status=2) == ""
    place.run(*submit, "--include", "launch.py")
    place.finish("runs", 2)
    looks = ("-m", "cluster", "status", "mine", "store=runs")
    assert "--include PATH" in place.run(*looks)
    deadline = time.monotonic() + 60
    while "tasks: 0 of the launcher by_hand" not in place.run(*looks, "--include", "launch.py"):
        assert time.monotonic() < deadline
    assert "nothing to cancel" in place.run(
        "-m", "cluster", "cancel", "mine", "store=runs", "--include", "launch.py"
    )


@pytest.mark.slow
def test_a_changed_source_is_planned_as_new_cells(place):
    plan = ("-m", "sweeps", "run", "mine.yaml", "workers=1", "device=cpu", "store=runs")
    place.run(*plan, "methods=[anchored_lora]")
    module = place.folder / "my_method" / "my_method" / "__init__.py"
    module.write_text(module.read_text() + "# changed\n")
    told = place.run("-m", "sweeps", "plan", "mine.yaml", "methods=[anchored_lora]", "store=runs")
    assert "0 done" in told
