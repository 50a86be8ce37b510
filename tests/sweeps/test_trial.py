"""How the driver hears of a trial that ended with an error: from text, never from a pickle."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

from sweeps.attempt import Outcome
from sweeps.policy import CRASH, LOST_NODE
from sweeps.trial import InOrder


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


def heard(folder: Path, text: str) -> Outcome:
    found: list[Outcome] = []
    InOrder(found.append).on_trial_error(None, trial(folder, text))
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
    found: list[Outcome] = []
    lost = trial(tmp_path, "")
    lost.error_file = None
    InOrder(found.append).on_trial_error(None, lost)
    assert found[0].cause == CRASH
