"""Execution options are one object, which the command line, sweeps, Ray and SLURM hand on."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

from cluster.record.profile import Profile
from cluster.record.submission import Submission, create_submission
from janus.__main__ import split_request
from janus.config.cell import Cell
from janus.config.execution import OPTIONS, SWEEP_OPTIONS, Execution, execution_from
from janus.config.help_text import describe
from janus.store.store import Store
from sweeps.spec.sweep_file import load_sweep
from sweeps.spec.words import KEYS
from tests.conftest import toy_cell

ROOT = Path(__file__).resolve().parents[1]

OTHER = Execution("elsewhere", "cpu", 3, 7.5, "wandb", "final")
"""No option has its default."""


def test_every_option_comes_back_from_its_record():
    assert all(getattr(OTHER, f.name) != f.default for f in fields(Execution))
    assert execution_from(json.loads(json.dumps(asdict(OTHER)))) == OTHER
    assert execution_from({"keep": "final", "of a later version": 1}) == Execution(keep="final")


def test_the_command_line_has_every_option_and_its_help():
    typed = {name: getattr(OTHER, name) for name in OPTIONS}
    request = split_request({"method": "ncm", **typed})
    assert request.execution == OTHER and request.overrides == {"method": "ncm"}
    text = describe(toy_cell("ncm"))
    for name, option in OPTIONS.items():
        assert f"  {name}={option.default}" in text and option.help in text


def test_a_sweep_has_every_option_that_is_not_decided_by_its_workers():
    assert set(SWEEP_OPTIONS) == set(OPTIONS) - {"threads", "checkpoint_s"} <= set(KEYS)
    words = [f"{name}={getattr(OTHER, name)}" for name in SWEEP_OPTIONS]
    found = load_sweep("smoke", words).execution
    assert found == replace(
        OTHER, store=str(Path("elsewhere").resolve()), threads=0, checkpoint_s=60.0
    )


@pytest.mark.slow
def test_a_ray_worker_gets_every_option(tmp_path, monkeypatch):
    """What the driver puts into a job is what `run_cell` is called with, in a worker on a CPU."""
    from sweeps.execution.ray_pool import RayPool
    from sweeps.execution.ray_trial import CellTrial

    cell, seen = toy_cell("ncm"), []

    def run_cell(cell: Cell, store: Store, observer: object, execution: Execution) -> None:
        seen.append(execution)

    pool = RayPool(Store(tmp_path), 2, replace(OTHER, tracker="none"), gpus=0)
    job = json.loads(json.dumps(pool._job(cell, 1)))
    monkeypatch.setattr("janus.training.loop.run_cell", run_cell)
    trial = CellTrial({"job": job})
    trial.train()
    trial.stop()
    assert seen == [replace(OTHER, tracker="none", store=str(tmp_path), threads=1)]


def submission(root: Path, more: dict[str, object]) -> Submission:
    profile = Profile(device="cpu", lose_at_most_s=100)
    return create_submission(Store(root), "smoke", [toy_cell("ncm")], {}, profile, more)


def test_a_submission_gives_every_option_to_its_workers_within_its_profile(tmp_path):
    written = submission(tmp_path, {"execution": asdict(replace(OTHER, device="auto"))})
    found = Submission(written.folder).execution
    assert found == replace(OTHER, store=str(tmp_path), device="cpu", checkpoint_s=90.0)


@pytest.mark.parametrize(("record", "keep"), [({"keep_final": True}, "final"), ({}, "none")])
def test_a_submission_of_an_earlier_version_is_still_read(tmp_path, record, keep):
    found = Submission(submission(tmp_path, record).folder).execution
    wanted = Execution(str(tmp_path), "cpu", checkpoint_s=90.0, keep=keep)
    assert found == wanted


def test_the_tracker_of_weights_and_biases_is_named_where_trackers_are_alone():
    """Another tracker is then added in one room; who trains knows none of them."""
    places = (
        "janus/tracking/",
        "janus/command.py",  # the help of the words
        "janus/config/execution.py",  # the help text of the option
        "janus/machine/import_timm.py",  # keeps timm from importing it
        "janus/metrics.py",
        "sweeps/commands/",
        "janus/plugins.py",  # the names that are ours
        "sweeps/command_line.py",  # imports the commands
    )
    files = [p for r in ("janus", "sweeps", "cluster") for p in sorted((ROOT / r).rglob("*.py"))]
    named = [str(p.relative_to(ROOT)) for p in files if _names_it(p)]
    assert named and [p for p in named if not p.startswith(places)] == []


def _names_it(path: Path) -> bool:
    return re.search(r"wandb|W&B|Weights & Biases", path.read_text(), re.IGNORECASE) is not None
