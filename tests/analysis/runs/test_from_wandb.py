"""What W&B recorded, read back by wandb's own reader and set against the store."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from analysis.runs import from_wandb, load
from janus.config.cell import cell_from_dict
from janus.errors import ConfigError, DataError
from janus.store.store import Store
from janus.tracking.wandb_tracker import Tracking


def track(folder, path, rows: int = 10**6) -> None:
    """An offline run of a stored result below `folder`, by the tracker of training runs.

    `rows`: tasks after which the run was stopped.
    """
    record = json.loads(path.read_text())
    store, tracking = Store(folder), Tracking({"WANDB_MODE": "offline"})
    with tracking.observe(cell_from_dict(record["cell"]), store, {}) as tracker:
        if rows < len(record["correct"]):
            cut = ("correct", "correct_in_task", "diagnostics")
            so_far = {name: record[name][:rows] for name in cut}
            tracker.notify("start", record | so_far | {"seconds_per_task": [1.0] * rows})
        else:
            tracker.replay(record, {"seconds_per_task": [1.0] * len(record["correct"])})
    tracking.close(300.0)


@pytest.mark.slow
def test_offline_runs_and_the_store_agree(fake, tmp_path):
    cells = [fake.add("janus", [[0.9], [0.7, 0.8], [0.5, 0.6, 0.7]]), fake.add("seqlora", order=1)]
    for cell in cells:
        track(tmp_path / "w", fake.path(cell))
    found = from_wandb.read_offline(tmp_path / "w")
    runs = {run.id: run for run in load.load_runs([fake.root]).runs}
    assert {run.id for run in found} == runs.keys()
    for run in found:
        assert len(run.metrics) == 7
        assert run.metrics == pytest.approx({n: runs[run.id].metrics[n] for n in run.metrics})
        assert run.cell["order"] == runs[run.id].order
        assert run.state == "finished"
    janus = next(run for run in found if run.id == cells[0].id)
    assert janus.curve == pytest.approx([0.9, 0.75, 0.6])
    assert from_wandb.disagreements(found, {i: r.metrics for i, r in runs.items()}) == []
    stored = {run.id: dict(run.metrics) for run in runs.values()}
    stored[cells[0].id]["acc"] = 0.61
    (problem,) = from_wandb.disagreements(found, stored)
    assert f"{cells[0].id}: acc is 0.61" in problem


@pytest.mark.slow
def test_a_run_that_was_stopped_and_went_on_is_one_run(fake, tmp_path):
    path = fake.path(fake.add())
    track(tmp_path, path, rows=1)
    track(tmp_path, path, rows=3)
    (run,) = from_wandb.read_offline(tmp_path)
    assert len(run.curve) == 3
    assert run.metrics["acc"] == pytest.approx(0.6)


@pytest.mark.slow
def test_runs_read_from_wandb_are_those_of_the_store_and_unfinished_ones_are_named(fake, tmp_path):
    done, cut = fake.add("janus"), fake.add("seqlora")
    track(tmp_path / "w", fake.path(done))
    track(tmp_path / "w", fake.path(cut), rows=1)
    found = from_wandb.read_wandb(str(tmp_path / "w"))
    (run,) = found.runs
    (stored,) = [r for r in load.load_runs([fake.root]).runs if r.id == done.id]
    for name in ("bench", "method", "order", "seed", "eval", "identity"):
        assert getattr(run, name) == getattr(stored, name)
    assert run.weights_sha256 == stored.weights_sha256
    assert run.metrics == pytest.approx(stored.metrics)
    ((path, why),) = found.skipped
    assert path.name == cut.id and "not finished" in why


def test_a_tracked_run_whose_identity_was_altered_is_not_used():
    run = from_wandb.Tracked(
        "a" * 16, {}, {}, (), "finished", {"identity": '{"order": "0"}'}, {"schema": 1}, "w"
    )
    loaded = from_wandb.as_runs([run])
    assert loaded.runs == [] and "damaged" in loaded.skipped[0][1]


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
    (found,) = from_wandb.read_project("me/janus", api)
    assert found == from_wandb.Tracked("a", {"order": "0"}, {"acc": 0.8}, (0.9, 0.8), "finished")


def test_what_disagrees_is_named_and_what_still_runs_is_not():
    def run(key, state, **metrics):
        return from_wandb.Tracked(key, {}, metrics, (), state)

    stored = {"a": {"acc": 0.5, "bwt": None}, "b": {"acc": 0.5}}
    seen = [run("a", "finished", acc=0.5), run("b", "running"), run("c", "finished", acc=0.1)]
    assert from_wandb.disagreements(seen, stored) == ["c: finished in W&B, not in the store"]
    assert from_wandb.disagreements([run("b", "finished")], stored) == [
        "b: acc is 0.5 in the store and None in W&B"
    ]


@pytest.mark.slow
def test_no_folder_and_a_foreign_file_are_clear_errors(tmp_path):
    with pytest.raises(ConfigError, match="no folder"):
        from_wandb.read_offline(tmp_path / "nowhere")
    (tmp_path / "run-x.wandb").write_bytes(b"not a run")
    with pytest.raises(DataError, match="cannot read"):
        from_wandb.read_offline(tmp_path)


def test_no_login_and_no_folder_is_one_sentence(monkeypatch):
    import wandb

    def refuse():
        raise wandb.errors.UsageError("No API key configured")

    monkeypatch.setattr(wandb, "Api", refuse)
    with pytest.raises(ConfigError, match=r"a/b is no folder here, .*No API key"):
        from_wandb.read_project("a/b")
