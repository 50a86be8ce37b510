"""What a process asks of a GPU; no GPU is needed to ask."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from janus.machine.determinism import cuda_record, make_deterministic
from janus.machine.provenance import numerics
from janus.nn import vit
from tests.conftest import toy_cell

ASK = """
import json, torch
from janus.machine.determinism import cuda_record, make_deterministic
before = cuda_record()
make_deterministic(torch.device("cuda"))
filled = torch.utils.deterministic.fill_uninitialized_memory
warned_only = torch.is_deterministic_algorithms_warn_only_enabled()
print(json.dumps([before, cuda_record(), filled, warned_only]))
"""


@pytest.mark.slow
def test_a_gpu_is_asked_for_the_same_bytes_and_for_float32() -> None:
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    before, after, filled, warned_only = json.loads(done.stdout)
    assert before["tf32"] and before["cudnn_attention"] and not before["repeatable"]
    assert not after["tf32"] and not after["cudnn_attention"] and after["repeatable"]
    assert not filled and not warned_only


def test_every_network_on_a_gpu_is_built_after_that(monkeypatch):
    asked = []
    monkeypatch.setattr(vit, "make_deterministic", asked.append)
    vit.build_backbone(toy_cell().backbone, torch.device("cpu"))
    assert asked == [torch.device("cpu")]


def test_results_of_a_gpu_record_what_was_asked_of_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    record = numerics(torch.device("cuda"))
    assert record["device"] == "a GPU" and record.items() >= cuda_record().items()
    assert not numerics(torch.device("cpu")).keys() & cuda_record().keys()


def test_a_cpu_is_left_as_it_is() -> None:
    make_deterministic(torch.device("cpu"))
    assert not torch.are_deterministic_algorithms_enabled()
