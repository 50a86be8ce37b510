"""Probes and joint training: the references that say what the features give."""

from __future__ import annotations

import pytest
import torch

from janus.data.stream import joined
from janus.store.store import Store
from janus.training.loop import run_cell
from tests.conftest import toy_cell
from tests.janus.methods.by_hand import started, train


@pytest.mark.parametrize("name", ["linear_probe", "joint_probe"])
def test_probes_leave_the_backbone_bit_for_bit(name):
    method, stream = started(name, train__epochs=1)
    before = {k: v.clone() for k, v in method.backbone.state_dict().items()}
    for task in (joined(stream),) if method.joint else stream.tasks[:2]:
        train(method, task)
    after = method.backbone.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(after[k], before[k]) for k in before)
    assert not any(p.requires_grad or p.grad is not None for p in method.backbone.parameters())


def test_linear_probe_is_seqlora_without_the_lora():
    """The same heads as SeqLoRA whose adapters cannot move."""
    rates = {"method__head_lr": 1e-2, "train__epochs": 1}
    probe, stream = started("linear_probe", **rates)
    lora, _ = started("seqlora", method__lr=1e-30, **rates)
    for task in stream.tasks[:2]:
        train(probe, task)
        train(lora, task)
    ours, theirs = probe.heads.state_dict(), lora.heads.state_dict()
    assert ours["classes"] == theirs["classes"] == [25, 25]
    assert torch.allclose(ours["weight"], theirs["weight"], atol=1e-6)
    start = started("linear_probe")[0].heads
    start.grow(25, probe.context.key, torch.device("cpu"))
    assert not torch.allclose(start.parts[0].weight, probe.heads.parts[0].weight, atol=1e-3)


@pytest.mark.parametrize("name", ["joint", "joint_probe"])
def test_joint_methods_train_one_head_on_all_classes(name):
    method, stream = started(name, train__epochs=1)
    everything = joined(stream)
    method.begin_task(everything)
    assert [p.out_features for p in method.heads.parts] == [100]
    assert everything.train.labels.unique().numel() == 100
    batch = next(iter(everything.train_batches(0)))
    logits = method.heads(method.features(batch.images))
    expected = torch.nn.functional.cross_entropy(logits, batch.labels)
    assert torch.allclose(method.loss(batch)["ce"], expected)


@pytest.mark.slow
def test_joint_probe_reports_only_the_end(tmp_path):
    result = run_cell(toy_cell("joint_probe"), Store(tmp_path), threads=1)
    assert result["correct"][:-1] == [None] * 3 and result["metrics"]["bwt"] is None
