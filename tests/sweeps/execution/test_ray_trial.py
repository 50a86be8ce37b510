"""How the driver hears of a trial that ended with an error: from text, never from a pickle."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

from sweeps.execution.attempt import Outcome
from sweeps.execution.ray_trial import InOrder
from sweeps.execution.retry_policy import CRASH, LOST_NODE


class Malicious:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.witness}",)


def trial(folder: Path, text: str) -> SimpleNamespace:
    """What Tune hands over: the paths of its two files, and the job."""
    (folder / "error.txt").write_text(text)
    (folder / "error.pkl").write_bytes(pickle.dumps(Malicious(folder / "witness")))
    return SimpleNamespace(
        error_file=str(folder / "error.txt"),
        pickled_error_file=str(folder / "error.pkl"),
        config={"job": {"id": "c1", "shared": 2}},
    )


class Listener:
    """Keeps what it hears of; wants another attempt as long as `wishes` lasts."""

    def __init__(self, wishes: int = 0) -> None:
        self.found: list[Outcome] = []
        self.wishes = wishes

    def __call__(self, outcome: Outcome) -> dict[str, object] | None:
        self.found.append(outcome)
        self.wishes -= 1
        return {"id": outcome.cell_id, "shared": 7} if self.wishes >= 0 else None


class Controller:
    """Tune's, as the scheduler sees it: keeps what was stopped."""

    def __init__(self) -> None:
        self.stopped: list[object] = []

    def stop_trial(self, trial: object) -> None:
        self.stopped.append(trial)


def heard(folder: Path, text: str) -> Outcome:
    listener = Listener()
    found = listener.found
    InOrder(listener).on_trial_error(None, trial(folder, text))
    assert not (folder / "witness").exists(), "the pickle was loaded"
    return found[0]


def test_the_pickle_beside_the_error_text_is_never_loaded(tmp_path: Path) -> None:
    assert heard(tmp_path, "the actor died unexpectedly").cause == CRASH
    assert heard(tmp_path, "The node has died.").cause == LOST_NODE


def test_a_failure_on_a_gpu_brings_its_outcome_in_the_text(tmp_path: Path) -> None:
    outcome = Outcome("c1", "failed", "nan", 'diverged: "loss" {1} at step 3', 2.5, shared=2)
    facts = json.dumps(asdict(outcome))
    text = f"Failure # 1\nTraceback ...\nsweeps.trial.SpoiledError: {facts}\n"
    assert heard(tmp_path, text) == outcome


def test_an_error_without_a_file_is_a_crash(tmp_path: Path) -> None:
    listener = Listener()
    lost = trial(tmp_path, "")
    lost.error_file = None
    InOrder(listener).on_trial_error(None, lost)
    assert listener.found[0].cause == CRASH


def test_the_cause_is_that_of_the_last_attempt(tmp_path: Path) -> None:
    text = "Failure # 1 (occurred at x)\nThe node has died.\nFailure # 2 (occurred at y)\nit died\n"
    assert heard(tmp_path, text).cause == CRASH


def test_tune_repeats_a_trial_only_as_often_as_the_driver_wants(tmp_path: Path) -> None:
    listener, controller = Listener(wishes=1), Controller()
    scheduler = InOrder(listener)
    lost = trial(tmp_path, "the actor died unexpectedly")
    scheduler.on_trial_add(controller, lost)
    assert controller.stopped == [], "a new trial runs"

    scheduler.on_trial_error(controller, lost)
    scheduler.on_trial_add(controller, lost)
    assert controller.stopped == [], "the first crash is worth another attempt"
    assert lost.config["job"]["shared"] == 7, "under the job of that attempt"

    scheduler.on_trial_error(controller, lost)
    scheduler.on_trial_add(controller, lost)
    assert controller.stopped == [lost], "the second is not"
    assert [outcome.cause for outcome in listener.found] == [CRASH, CRASH], "each attempt counts"
