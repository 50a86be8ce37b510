"""The loop: resume, failure, what a result holds."""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from janus.config.cell import cell_from_dict
from janus.config.method_spec import method_spec
from janus.errors import DataError, RunError
from janus.methods import method_class
from janus.methods.base.lora_method import LoraMethod
from janus.store import image_bits
from janus.store.store import Store
from janus.training import checkpoint
from janus.training.loop import run_cell
from tests.conftest import toy_cell
from tests.janus.methods import zoo
from tests.janus.training import apart


class Stop(Exception):  # noqa: N818 (a signal, not an error)
    """Raised in the middle of a run."""


def result_bytes(store: Store, cell) -> bytes:
    return store.result_path(cell.id).read_bytes()


@zoo.each()
def test_stopped_between_and_inside_tasks_ends_with_the_same_bytes(row, tmp_path, monkeypatch):
    """Checkpoints at every look at the loss; stopped at task borders and in the second task."""
    monkeypatch.setattr("janus.training.loop.CHECK_LOSS_EVERY", 3)
    cell = toy_cell(row.method, **row.options)
    whole, cut = Store(tmp_path / "whole"), Store(tmp_path / "cut")
    run_cell(cell, whole, threads=1)
    method = method_class(row.method)
    if method_spec(row.method).trains != "0":
        with monkeypatch.context() as patch, pytest.raises(Stop):
            patch.setattr(method, "loss", stopping_after(27, method.loss))
            run_cell(cell, cut, threads=1, checkpoint_s=0)
        saved = list((cut.run_dir(cell.id) / "ckpt").glob("*/*.safetensors"))
        assert any(not p.name.endswith("-0000000.safetensors") for p in saved)
    for until in (1, 2, 3):
        run_cell(cell, cut, threads=1, until_task=until)
    result = run_cell(cell, cut, threads=1)
    assert result_bytes(cut, cell) == result_bytes(whole, cell)
    for store in (whole, cut):
        image_bits.load_bits(store.root, result["correct_images"], result["correct"])


def stopping_after(steps: int, loss):
    """`loss` that raises Stop at its call number `steps`."""
    left = iter(range(steps - 1))

    def stopping(self, batch):
        if next(left, None) is None:
            raise Stop
        return loss(self, batch)

    return stopping


def test_result_rebuilds_its_cell_and_holds_only_facts(tmp_path):
    cell = toy_cell("janus", order="3")
    result = run_cell(cell, Store(tmp_path), threads=1)
    assert cell_from_dict(result["cell"]).id == cell.id == result["id"]
    assert sorted(result["class_order"]) == list(range(100))
    assert [len(row) for row in result["correct"]] == [1, 2, 3, 4]
    text = json.dumps(result)
    assert str(tmp_path) not in text and "seconds" not in text
    last = result["diagnostics"][-1]
    for name in ("basis_size", "captured_energy", "violation_span", "violation_past", "danger"):
        assert name in last
    provenance = Store(tmp_path).provenance(cell.id)
    assert len(provenance["seconds_per_task"]) == 4 and provenance["numerics"][0]["threads"] == 1


def test_finished_cell_is_not_run_again(tmp_path):
    cell, store = toy_cell("ncm"), Store(tmp_path)
    run_cell(cell, store, threads=1)
    before = store.result_path(cell.id).stat()
    run_cell(cell, store, threads=1)
    after = store.result_path(cell.id).stat()
    assert before.st_mtime_ns == after.st_mtime_ns and store.attempts(cell.id) == 1
    assert not (store.run_dir(cell.id) / "ckpt").exists()


def test_nan_loss_fails_with_its_cause_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    cell, store = toy_cell("seqlora"), Store(tmp_path)
    run_cell(cell, store, threads=1, until_task=1)
    original = LoraMethod.loss
    monkeypatch.setattr(
        LoraMethod, "loss", lambda self, b: {"ce": original(self, b)["ce"] * float("nan")}
    )
    with pytest.raises(RunError, match=r"NaN.*task 2") as error:
        run_cell(cell, store, threads=1)
    assert error.value.cause == "nan"
    assert store.failure(cell.id)["cause"] == "nan" and store.status(cell.id) == "failed"
    assert len(list((store.run_dir(cell.id) / "ckpt").glob("*/00001-*"))) == 1
    monkeypatch.setattr(LoraMethod, "loss", original)
    assert run_cell(cell, store, threads=1) is not None


@pytest.mark.slow
def test_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, caplog):
    cell = toy_cell("janus")
    whole, cut = Store(tmp_path / "whole"), Store(tmp_path / "cut")
    run_cell(cell, whole, threads=1)
    run_cell(cell, cut, threads=1, until_task=3)
    latest = max((cut.run_dir(cell.id) / "ckpt").glob("*/*.safetensors"), key=lambda p: p.name)
    latest.write_bytes(latest.read_bytes()[:-100])
    run_cell(cell, cut, threads=1)
    assert "falling back" in caplog.text
    assert result_bytes(cut, cell) == result_bytes(whole, cell)


def test_altered_checkpoint_is_noticed(tmp_path):
    cell, store = toy_cell("ncm"), Store(tmp_path)
    run_cell(cell, store, threads=1, until_task=1)
    path = next((store.run_dir(cell.id) / "ckpt").glob("*/*.safetensors"))
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DataError, match="damaged"):
        checkpoint.read_tree(path)


@pytest.mark.slow
def test_slow_checkpoints_are_taken_less_often(tmp_path, monkeypatch):
    """On a clock of our own: every look at it takes a second, every checkpoint 20."""
    now, saves = [0.0], []
    original = checkpoint.save_checkpoint

    def monotonic():
        now[0] += 1
        return now[0]

    def slow(claim, name, tree):
        saves.append(name)
        now[0] += 20
        original(claim, name, tree)

    clock = SimpleNamespace(monotonic=monotonic, time=time.time)
    for module in ("run_checkpoints", "run_state", "progress", "heartbeat"):
        monkeypatch.setattr(f"janus.training.{module}.time", clock)
    monkeypatch.setattr(checkpoint, "save_checkpoint", slow)
    cell = toy_cell("seqlora", train__epochs=50)
    run_cell(cell, Store(tmp_path), threads=1, checkpoint_s=10.0, until_task=1)
    inside = [name for name in saves if not name.endswith("-0000000")]
    trained = now[0] - 20 * len(saves)
    assert len(inside) >= 2
    assert 20 * (len(inside) - 1) <= 0.05 * (trained + 20 * len(saves))


@pytest.mark.slow
def test_failing_observer_does_not_end_the_run(tmp_path, caplog):
    class Broken:
        def notify(self, event, facts):
            raise OSError("no terminal")

    assert run_cell(toy_cell("ncm"), Store(tmp_path), Broken(), threads=1) is not None
    assert "going on without" in caplog.text


def test_run_taken_over_stops_without_writing(tmp_path):
    cell, store = toy_cell("seqlora"), Store(tmp_path)

    class Thief:
        """Creates a higher claim number as a successor would, after the first task."""

        def notify(self, event, facts):
            if event == "task" and facts["task"] == 1:
                path = store.run_dir(cell.id) / "claims" / "000002.json"
                path.write_text("{}")

    with pytest.raises(RunError) as error:
        run_cell(cell, store, Thief(), threads=1)
    assert error.value.cause == "claim-lost" and store.result(cell.id) is None


def with_a_small_disk(root: Path) -> None:
    """The kernel refuses files beyond 60 kB; a checkpoint needs more."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
    try:
        run_cell(toy_cell("janus"), Store(root), threads=1)
    except RunError as error:
        sys.exit(f"{error.cause}: {error}")


@pytest.mark.slow
def test_a_write_that_the_disk_refuses_is_one_clear_error_and_the_run_goes_on_later(tmp_path):
    status, told = apart.run(with_a_small_disk, tmp_path)
    assert status == 1 and told.strip().startswith("disk-full: no space left")
    cell, store = toy_cell("janus"), Store(tmp_path)
    assert store.failure(cell.id)["cause"] == "disk-full"
    assert not list(store.root.rglob("*.tmp"))
    assert run_cell(cell, store, threads=1) is not None


def test_divergence_in_the_very_last_update_is_a_nan_failure_too(tmp_path, monkeypatch):
    """No later loss sees it, so the weights themselves are looked at."""
    cell, store = toy_cell("seqlora"), Store(tmp_path)
    original, steps = LoraMethod.update, {"left": 20}

    def update(self):
        original(self)
        steps["left"] -= 1
        if steps["left"] == 0:
            self.layers[0].b.data.fill_(float("inf"))

    monkeypatch.setattr(LoraMethod, "update", update)
    with pytest.raises(RunError, match="reached NaN or infinity in task 1") as error:
        run_cell(cell, store, threads=1)
    assert error.value.cause == "nan" and store.result(cell.id) is None


def test_a_result_committed_between_look_and_claim_is_not_trained_again(tmp_path, monkeypatch):
    cell, store = toy_cell("ncm"), Store(tmp_path)
    run_cell(cell, store, threads=1)
    looks = {"n": 0}
    original = Store.result

    def result(self, cell_id):
        looks["n"] += 1
        return None if looks["n"] == 1 else original(self, cell_id)

    monkeypatch.setattr(Store, "result", result)
    monkeypatch.setattr("janus.training.loop.train", lambda *_: pytest.fail("trained again"))
    assert run_cell(cell, store, threads=1)["id"] == cell.id


@pytest.mark.slow
def test_a_run_that_is_stopped_at_any_step_goes_on_to_the_same_bytes(tmp_path):
    whole, cut, cell = Store(tmp_path / "whole"), Store(tmp_path / "cut"), toy_cell()
    run_cell(cell, whole, threads=1)
    steps = 0

    def every_seventh_step():
        nonlocal steps
        steps += 1
        return steps % 7 == 0

    attempts = 0
    while run_cell(cell, cut, threads=1, stop=every_seventh_step) is None:
        attempts += 1
        assert cut.status(cell.id) == "open" and cut.failure(cell.id) is None
    assert attempts > 3
    assert cut.result_path(cell.id).read_bytes() == whole.result_path(cell.id).read_bytes()


def test_checkpoints_hold_as_many_tensors_after_every_task(tmp_path, monkeypatch):
    """What grows is the tensors, not their number: a tree of T heads is walked T times."""
    found = []
    original = checkpoint.write_tree

    def counting(path, tree):
        found.append(len(checkpoint.flatten(tree)[0]))
        original(path, tree)

    monkeypatch.setattr(checkpoint, "write_tree", counting)
    run_cell(toy_cell("janus", train__epochs=1), Store(tmp_path), threads=1)
    assert len(found) == 3 and len(set(found)) == 1
