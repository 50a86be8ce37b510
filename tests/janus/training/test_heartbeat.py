"""A run beats wherever batches pass: whoever watches must not take it for dead."""

from __future__ import annotations

import time

import pytest

from janus.evaluation import measurements
from janus.methods import method_class
from janus.methods.base.classifier_alignment import Aligner
from janus.store.claims import Claim
from janus.store.store import Store
from janus.training import set_up
from janus.training.heartbeat import Heartbeat
from janus.training.loop import run_cell
from tests.conftest import toy_cell
from tests.helpers.turn_log import log_of_store

SMALL = {"bench__tasks": 2, "bench__test_per_class": 2, "train__epochs": 1}


@pytest.fixture
def beats(monkeypatch) -> list[dict]:
    """Every heartbeat that differs from the one before, as often as it is offered."""
    heard: list[dict] = []

    def beat(self, progress, every_s=5.0):
        told = {name: value for name, value in progress.items() if name != "seconds"}
        if told not in heard[-1:]:
            heard.append(told)

    monkeypatch.setattr(Claim, "beat", beat)
    return heard


def counted(monkeypatch, beats, owner, name) -> list[int]:
    """How many heartbeats each call of `owner.name` brings."""
    found, original = [], getattr(owner, name)

    def counting(*args, **kwargs):
        before = len(beats)
        result = original(*args, **kwargs)
        found.append(len(beats) - before)
        return result

    monkeypatch.setattr(owner, name, counting)
    return found


def test_a_run_beats_in_every_pass_between_trainings(tmp_path, monkeypatch, beats):
    """InfLoRA looks at all images before a task and after it."""
    method = method_class("inflora")
    phases = [(method, "begin_task"), (method, "end_task"), (measurements, "evaluate")]
    found = {name: counted(monkeypatch, beats, owner, name) for owner, name in phases}
    run_cell(toy_cell("inflora", **SMALL), Store(tmp_path), threads=1)
    assert all(len(calls) == 2 and min(calls) > 0 for calls in found.values()), found


def test_an_evaluation_longer_than_the_lease_is_not_taken_for_dead(tmp_path, monkeypatch):
    """By another machine that looks at every batch; one batch takes 400 s of a lease of 600."""
    cell, store, watcher = toy_cell("ncm", **SMALL), Store(tmp_path), Store(tmp_path)
    claimed = store.run_dir(cell.id) / "claims" / "000001.json"
    clock, looks = {"now": 0.0}, []
    method, predict = method_class("ncm"), method_class("ncm").predict

    def slow(self, images):
        claimed.write_text('{"owner": {"host": "elsewhere"}}')
        clock["now"] += 400
        looks.append(watcher.claim(cell))
        return predict(self, images)

    monkeypatch.setattr("janus.data.stream.EVAL_BATCH", 20)
    monkeypatch.setattr("janus.store.claims.time.monotonic", lambda: clock["now"])
    monkeypatch.setattr(method, "predict", slow)
    assert run_cell(cell, store, threads=1) is not None
    assert looks == [None] * (100 // 20 + 200 // 20)


def test_alignment_beats_with_every_step(tmp_path, monkeypatch, beats):
    cell = toy_cell("slca", **SMALL, method__align_epochs=2)
    steps = counted(monkeypatch, beats, Aligner, "_train")
    run_cell(cell, Store(tmp_path), threads=1)
    assert steps == [2 * 100]  # an epoch has a batch of draws for each class


def test_features_beat_before_the_first_task_begins(tmp_path, monkeypatch, beats):
    cell = toy_cell("ncm", **SMALL)
    passes = counted(monkeypatch, beats, set_up, "pass_once")
    run_cell(cell, Store(tmp_path), threads=1)
    assert passes[0] > 0 and beats[0]["task"] == 0


def test_time_goes_on_in_the_heartbeats_of_an_evaluation(tmp_path):
    """Of an attempt that dies in one, this is the training that is done again."""
    claim = Store(tmp_path).claim(toy_cell("ncm"))
    heartbeat = Heartbeat(claim)
    heartbeat.on_batch()
    assert claim.store.beat(claim.cell_id) is None  # nothing to tell yet
    heartbeat.publish({"seconds": 5.0})
    heartbeat.published -= 20
    claim._last_beat = float("-inf")
    heartbeat.on_batch()
    told = claim.store.beat(claim.cell_id)
    assert told["seconds"] > 25 and told["batches_done"] == 2


def test_later_heartbeats_still_say_when_the_attempt_began(tmp_path, monkeypatch):
    """What the sweep's benchmark reads as the first step, of cells of any length."""
    store, cell = Store(tmp_path / "store"), toy_cell("ncm")
    claim, now = store.claim(cell), time.time()
    heartbeat = Heartbeat(claim)
    for later in (3.0, 60.0):
        monkeypatch.setattr("janus.training.heartbeat.time.time", lambda later=later: now + later)
        claim._last_beat = float("-inf")
        heartbeat.publish({"seconds": later})
    assert store.beat(cell.id)["seconds"] == 60.0
    assert log_of_store(tmp_path).times("step") == [(cell.id, now + 3.0)]
