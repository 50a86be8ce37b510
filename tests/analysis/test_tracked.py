"""What W&B recorded, read back by wandb's own reader and set against the store."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from analysis import load, tracked
from janus.errors import ConfigError, DataError

TRACK = """
import json, sys, wandb
folder, path, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])
record = json.load(open(path))
settings = wandb.Settings(x_disable_stats=True, console="off", silent=True)
run = wandb.init(mode="offline", dir=folder, id=record["id"], project="janus",
                 config={"cell": record["cell"]}, settings=settings)
for task, row in list(enumerate(record["correct"]))[:rows]:
    run.log({"task": task, "accuracy": sum(row) / sum(record["total"][: task + 1])})
if rows >= len(record["total"]):
    run.summary["metrics"] = record["metrics"]
run.finish()
"""


def track(folder, path, rows: int = 3) -> None:
    """An offline run of a stored result, in a process of its own as a training run is."""
    command = [sys.executable, "-c", TRACK, str(folder), str(path), str(rows)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.slow
def test_offline_runs_and_the_store_agree(fake, tmp_path):
    cells = [fake.add("janus", [[0.9], [0.7, 0.8], [0.5, 0.6, 0.7]]), fake.add("seqlora", order=1)]
    for cell in cells:
        track(tmp_path, fake.path(cell))
    found = tracked.read_offline(tmp_path)
    runs = {run.id: run for run in load.load([fake.root]).runs}
    assert {run.id for run in found} == runs.keys()
    for run in found:
        assert run.metrics == pytest.approx(runs[run.id].metrics)
        assert run.cell["order"] == runs[run.id].order
        assert run.state == "finished"
    janus = next(run for run in found if run.id == cells[0].id)
    assert janus.curve == pytest.approx([0.9, 0.75, 0.6])
    assert tracked.disagreements(found, {i: r.metrics for i, r in runs.items()}) == []
    fake.edit(cells[0], lambda r: r["metrics"].update(acc=0.61))
    stored = {run.id: run.metrics for run in load.load([fake.root]).runs}
    (problem,) = tracked.disagreements(found, stored)
    assert f"{cells[0].id}: acc is 0.61" in problem


@pytest.mark.slow
def test_a_run_that_was_stopped_and_went_on_is_one_run(fake, tmp_path):
    path = fake.path(fake.add())
    track(tmp_path, path, rows=1)
    track(tmp_path, path, rows=3)
    (run,) = tracked.read_offline(tmp_path)
    assert len(run.curve) == 3
    assert run.metrics["acc"] == pytest.approx(0.6)


def test_a_project_online_is_read_the_same_way():
    history = [{"task": 0, "accuracy": 0.9}, {"task": 1, "accuracy": 0.8}, {"task": 3}]
    run = SimpleNamespace(
        id="a",
        config={"cell": {"order": "0"}},
        summary={"metrics": {"acc": 0.8, "bwt": None}},
        state="finished",
        scan_history=lambda keys: history,
    )
    api = SimpleNamespace(runs=lambda project: [run] if project == "me/janus" else [])
    (found,) = tracked.read_project("me/janus", api)
    assert found == tracked.Tracked("a", {"order": "0"}, {"acc": 0.8}, (0.9, 0.8), "finished")


def test_what_disagrees_is_named_and_what_still_runs_is_not():
    def run(key, state, **metrics):
        return tracked.Tracked(key, {}, metrics, (), state)

    stored = {"a": {"acc": 0.5, "bwt": None}, "b": {"acc": 0.5}}
    seen = [run("a", "finished", acc=0.5), run("b", "running"), run("c", "finished", acc=0.1)]
    assert tracked.disagreements(seen, stored) == ["c: finished in W&B, not in the store"]
    assert tracked.disagreements([run("b", "finished")], stored) == [
        "b: acc is 0.5 in the store and None in W&B"
    ]


def test_no_folder_and_a_foreign_file_are_clear_errors(tmp_path):
    with pytest.raises(ConfigError, match="no folder"):
        tracked.read_offline(tmp_path / "nowhere")
    (tmp_path / "run-x.wandb").write_bytes(b"not a run")
    with pytest.raises(DataError, match="cannot read"):
        tracked.read_offline(tmp_path)
