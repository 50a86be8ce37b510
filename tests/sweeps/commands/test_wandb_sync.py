"""What `sync` uploads, in which order, and how it knows that it did; no W&B and no network."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from janus.errors import ConfigError
from janus.store.store import Store
from sweeps.commands import wandb_sync as syncing
from sweeps.commands.wandb_sync import bring_up_to_date, find_waiting, sync
from sweeps.spec.cell_list import write_list
from sweeps.spec.plan import plan
from sweeps.spec.sweep_file import load_sweep

Put = Callable[[str], None]


@pytest.fixture(autouse=True)
def no_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


class Sweep:
    """A planned sweep in a store, with run folders as the tracker leaves them."""

    def __init__(self, store: Store, put: Put, orders: int = 4) -> None:
        self.store, self.put = store, put
        planned = plan(load_sweep("smoke", ["methods=[seqlora]", f"orders={orders}"]).sweep).entries
        self.ids = [p.cell.id for p in planned]
        write_list(store, "smoke", "python -m sweeps run smoke", planned)
        entries = [{"id": p.cell.id, "title": p.title, "row": p.row} for p in planned]
        self.record = {"name": "smoke", "cells": entries}

    def folder(self, cell_id: str, name: str, age_s: float = 3600.0) -> Path:
        """A folder of wandb's with a file last written to `age_s` ago."""
        folder = self.store.run_dir(cell_id) / "wandb" / f"{name}-{cell_id}"
        folder.mkdir(parents=True)
        file = folder / f"run-{cell_id}.wandb"
        file.touch()
        os.utime(file, (time.time() - age_s,) * 2)
        return folder

    def tracked(self, cell_id: str) -> Path:
        """A finished cell, all of it logged offline."""
        self.put(cell_id)
        folder = self.folder(cell_id, "offline-run-20260101_000000")
        (folder.parent / "complete").touch()
        return folder


@pytest.fixture
def smoke(store: Store, put_result: Put) -> Sweep:
    return Sweep(store, put_result)


class FakeUpload:
    """Marks folders as `wandb sync` does, but for those that `refused` names."""

    def __init__(self, refused: Sequence[Path] = ()) -> None:
        self.refused = set(refused)
        self.calls: list[list[Path]] = []
        self.at_once = self.most = 0
        self.lock = threading.Lock()

    def __call__(self, folders: Sequence[Path]) -> str:
        with self.lock:
            self.calls.append(list(folders))
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        time.sleep(0.01)
        for folder in folders:
            for file in folder.glob("run-*.wandb"):
                if folder not in self.refused:
                    file.with_suffix(".wandb.synced").touch()
        with self.lock:
            self.at_once -= 1
        return "out of quota" if self.refused else ""


def test_every_tracked_run_is_uploaded_once(smoke: Sweep) -> None:
    folders = [smoke.tracked(cell_id) for cell_id in smoke.ids]
    upload = FakeUpload()
    assert bring_up_to_date(smoke.store, smoke.record, upload) == 0
    assert sorted(f for call in upload.calls for f in call) == sorted(folders)
    again = FakeUpload()
    assert bring_up_to_date(smoke.store, smoke.record, again) == 0
    assert again.calls == []


def test_many_runs_are_uploaded_side_by_side_in_batches(
    store: Store, put_result: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syncing, "BATCH", 3)
    smoke = Sweep(store, put_result, orders=20)
    for cell_id in smoke.ids:
        smoke.tracked(cell_id)
    upload = FakeUpload()
    assert bring_up_to_date(store, smoke.record, upload) == 0
    assert sorted(map(len, upload.calls)) == [2, 3, 3, 3, 3, 3, 3]
    assert 1 < upload.most <= syncing.PROCESSES


def test_what_is_not_marked_was_not_uploaded_whatever_the_command_says(
    smoke: Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [smoke.tracked(cell_id) for cell_id in smoke.ids]
    assert bring_up_to_date(smoke.store, smoke.record, FakeUpload(folders[:1])) == 3
    out, err = capsys.readouterr()
    assert "uploaded 3 of 4 runs" in out
    assert str(folders[0]) in err and "out of quota" in err
    second = FakeUpload()
    assert bring_up_to_date(smoke.store, smoke.record, second) == 0
    assert second.calls == [[folders[0]]]


def test_the_attempts_of_one_run_go_together_oldest_first(smoke: Sweep) -> None:
    cell_id = smoke.ids[0]
    late = smoke.folder(cell_id, "offline-run-20260102_000000")
    early = smoke.folder(cell_id, "offline-run-20260101_000000")
    (found,) = find_waiting(smoke.store, smoke.ids)
    assert found.folders == (early, late)


def test_what_went_online_since_is_not_uploaded_from_before(smoke: Sweep) -> None:
    """All of a run was sent anew when it went on online; its offline part would come twice."""
    cell_id = smoke.ids[0]
    smoke.folder(cell_id, "offline-run-20260101_000000")
    online = smoke.folder(cell_id, "run-20260102_000000")
    after = smoke.folder(cell_id, "offline-run-20260103_000000")
    (found,) = find_waiting(smoke.store, smoke.ids)
    assert found.folders == (online, after)


def test_a_cell_that_is_being_trained_is_left_alone(smoke: Sweep) -> None:
    planned = plan(load_sweep("smoke", ["methods=[seqlora]", "orders=4"]).sweep).entries
    claim = Store(smoke.store.root).claim(planned[0].cell)
    assert claim is not None
    smoke.folder(planned[0].cell.id, "offline-run-20260101_000000")
    assert find_waiting(smoke.store, smoke.ids) == []
    claim.release()
    assert len(find_waiting(smoke.store, smoke.ids)) == 1


def test_a_file_that_may_still_be_written_to_is_left_for_the_next_time(smoke: Sweep) -> None:
    smoke.put(smoke.ids[0])
    folder = smoke.folder(smoke.ids[0], "offline-run-20260101_000000", age_s=5.0)
    assert find_waiting(smoke.store, smoke.ids) == []
    (folder.parent / "complete").touch()
    assert len(find_waiting(smoke.store, smoke.ids)) == 1


def test_without_a_key_nothing_is_tried(smoke: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    request = load_sweep("smoke", [f"store={smoke.store.root}"])
    with pytest.raises(ConfigError, match="wandb login"):
        sync(request, "")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_MODE", "offline")
    with pytest.raises(ConfigError, match="unset it"):
        sync(request, "")


def test_the_tracker_is_no_part_of_a_cell(tmp_path: Path) -> None:
    plain, tracked = (load_sweep("smoke", words) for words in ([], ["tracker=wandb"]))
    assert (plain.execution.tracker, tracked.execution.tracker) == ("none", "wandb")
    assert [p.cell.id for p in plan(plain.sweep).entries] == [
        p.cell.id for p in plan(tracked.sweep).entries
    ]
    with pytest.raises(ConfigError, match="none or wandb"):
        load_sweep("smoke", ["tracker=mlflow"])


@pytest.mark.slow
def test_cells_trained_before_are_written_from_their_results_and_really_uploaded(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two cells that nothing was logged of; the real client, a server on the loopback."""
    from analysis.runs import from_wandb
    from janus.training.loop import run_cell
    from tests.conftest import TOY
    from tests.janus.tracking.fake_wandb import serving

    toy = [f"{key}={value}" for key, value in TOY.items() if key != "bench"]
    words = ["methods=[ncm]", "orders=2", *toy, f"store={store.root}"]
    planned = plan(load_sweep("smoke", words).sweep).entries
    write_list(store, "smoke", "", planned)
    for p in planned:
        run_cell(p.cell, store, threads=1)
    with serving() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        assert sync(load_sweep("smoke", words), "") == 0
        assert set(server.runs) == {p.cell.id for p in planned}
        for p in planned:
            run, result = server.runs[p.cell.id], store.result(p.cell.id) or {}
            assert run.fields["groupName"] == "smoke" and run.exit_code == 0
            assert run.summary()["metrics"] == pytest.approx(result["metrics"])
            curve = [row["accuracy"] for row in run.history() if "accuracy" in row]
            assert len(curve) == TOY["bench.tasks"]
        uploaded = dict(server.runs)
        assert sync(load_sweep("smoke", words), "") == 0
        assert server.runs == uploaded
    found = from_wandb.read_offline(store.root)
    stored = {p.cell.id: (store.result(p.cell.id) or {})["metrics"] for p in planned}
    assert len(found) == 2 and from_wandb.disagreements(found, stored) == []
