"""No method mixes devices, and no training step waits for a GPU more often than it has to."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from janus.config.method_spec import spec_names

NOT_TRAINED = ("ncm", "ranpac")
"""ncm trains nothing, ranpac nothing after the first task."""

RECTIFIED = {"algorithms/rectification.py _linalg_eigh": 1}
"""torch asks whether an eigenproblem converged: once a step, for all blocks together."""

ROUTED = ("color", "color_pp")
"""Which experts an image goes to decides which networks it passes."""


@pytest.fixture(scope="module")
def asked() -> dict[str, dict[str, Any]]:
    """By method, what tests/janus/machine/pretended_gpu.py saw: one process, all methods."""
    trained = [name for name in spec_names("method") if name not in NOT_TRAINED]
    done = subprocess.run(
        [sys.executable, "-m", "tests.janus.machine.pretended_gpu", *trained],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["method"] for row in rows] == trained
    return {row["method"]: row for row in rows}


@pytest.mark.slow
def test_no_method_mixes_devices(asked: dict[str, dict[str, Any]]) -> None:
    assert not {name: row["error"] for name, row in asked.items() if "error" in row}


@pytest.mark.slow
def test_steps_wait_for_the_device_only_to_rectify(asked: dict[str, dict[str, Any]]) -> None:
    rectified = ("janus", "lora_gpm_gr", "lora_drs_gr")
    for taken in ("step", "step in parts"):
        waits = {name: row[taken]["waits"] for name, row in asked.items()}
        assert waits == {name: RECTIFIED if name in rectified else {} for name in asked}


@pytest.mark.slow
def test_predictions_wait_only_where_images_are_routed(asked: dict[str, dict[str, Any]]) -> None:
    for way in ("predict", "predict_batch"):
        waits = {name: row[way]["waits"] for name, row in asked.items()}
        assert {name for name, found in waits.items() if found} == set(ROUTED)
        places = {place for name in ROUTED for place in waits[name]}
        assert all(place.startswith("methods/color.py ") for place in places)


@pytest.mark.slow
def test_what_was_recorded_is_a_whole_step(asked: dict[str, dict[str, Any]]) -> None:
    """A recorder that sees nothing would find no waits either."""
    kernels = {name: row["step"]["kernels"] for name, row in asked.items()}
    assert kernels["janus"] > kernels["seqlora"] > kernels["linear_probe"] > 40
