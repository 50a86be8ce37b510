"""Metrics against a matrix worked by hand, losses and heads against direct formulas."""

from __future__ import annotations

import math

import pytest
import torch

from janus.heads import LinearHeads, Prototypes
from janus.losses import decoupled_margin, local_cross_entropy
from janus.metrics import after_task, summarise


def test_three_tasks_by_hand():
    correct, total = [[9], [6, 16], [5, 12, 24]], [10, 20, 30]
    m = summarise(correct, total)
    assert m["acc"] == pytest.approx(41 / 60)
    assert m["acc_taskmean"] == pytest.approx((0.5 + 0.6 + 0.8) / 3)
    assert m["maa"] == pytest.approx((0.9 + 22 / 30 + 41 / 60) / 3)
    assert m["maa_taskmean"] == pytest.approx((0.9 + 0.7 + 1.9 / 3) / 3)
    assert m["bwt"] == pytest.approx(((0.5 - 0.9) + (0.6 - 0.8)) / 2)
    assert m["forgetting"] == pytest.approx(0.3)
    assert m["learning_acc"] == pytest.approx((0.9 + 0.8 + 0.8) / 3)
    assert m["acc_taskmean"] == pytest.approx(m["learning_acc"] + m["bwt"] * 2 / 3)


def test_forgetting_uses_the_best_time_not_the_first():
    m = summarise([[5], [9, 10], [4, 10, 10]], [10, 10, 10])
    assert m["forgetting"] == pytest.approx(0.25) and m["bwt"] == pytest.approx(-0.05)


def test_unmeasured_rows_give_none_not_zero():
    m = summarise([None, None, [5, 5, 5]], [10, 10, 10])
    assert m["acc"] == 0.5 and m["maa"] is m["bwt"] is m["learning_acc"] is None
    assert summarise([[3]], [4])["bwt"] is None
    assert after_task(None, [1]) is None


def test_local_cross_entropy_ignores_other_tasks():
    logits = torch.tensor([[2.0, 0.0, -1.0]])
    got = local_cross_entropy(logits, torch.tensor([21]), 20)
    want = -math.log(math.exp(0) / (math.exp(2) + 1 + math.exp(-1)))
    assert float(got) == pytest.approx(want)


def test_margin_loss_by_hand():
    prototypes = torch.eye(3)
    features = torch.tensor([[3.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    # nearest cosines 1 and 1/sqrt 2, margin 0.2
    want = ((1 - 0.2) + (2**-0.5 - 0.2)) / 2
    assert float(decoupled_margin(features, prototypes, 0.2, False)) == pytest.approx(want)
    skip = torch.tensor([[True, False, False], [False, False, False]])
    skipped = decoupled_margin(features, prototypes, 0.2, False, skip)
    assert float(skipped) == pytest.approx((0 + 2**-0.5 - 0.2) / 2)
    assert float(decoupled_margin(features, torch.zeros(0, 3), 0.2, False)) == 0


def test_margin_loss_pushes_away_from_the_nearest_prototype_only():
    prototypes = torch.eye(3)
    features = torch.tensor([[1.0, 0.8, 0.1]], requires_grad=True)
    decoupled_margin(features, prototypes, 0.2, False).backward()
    stepped = features.detach() - 0.1 * features.grad
    before = torch.nn.functional.normalize(features.detach(), dim=-1)
    after = torch.nn.functional.normalize(stepped, dim=-1)
    assert after[0, 0] < before[0, 0] and after[0, 1] > before[0, 1]


def test_smooth_margin_approaches_the_hinge():
    prototypes, features = torch.eye(4), torch.randn(8, 4)
    hinge = decoupled_margin(features, prototypes, 0.1, False)
    smooth = decoupled_margin(features, prototypes, 0.1, True, sharpness=2000.0)
    assert float(smooth) == pytest.approx(float(hinge), abs=2e-3)


def test_old_heads_are_frozen_and_logits_concatenate():
    heads = LinearHeads(4)
    for count in (2, 3):
        heads.grow(count, ("k",), torch.device("cpu"))
    assert [p.requires_grad for p in heads.parameters()] == [False, False, True, True]
    features = torch.randn(5, 4)
    apart = torch.cat([part(features) for part in heads.parts], dim=-1)
    assert torch.allclose(heads(features), apart, atol=1e-6)
    again = LinearHeads(4)
    again.load_state(heads.state(), torch.device("cpu"))
    assert [p.requires_grad for p in again.parameters()] == [False, False, True, True]
    assert torch.equal(again(features), heads(features))


def test_prototypes_classify_by_cosine_and_unseen_classes_never_win():
    store = Prototypes(2, torch.device("cpu"))
    features = torch.tensor([[2.0, 0.0], [4.0, 0.0], [0.0, 3.0]])
    store.add(features, torch.tensor([4, 4, 1]))
    logits = store.logits(torch.tensor([[1.0, 0.1], [0.1, 1.0]]), 6)
    assert logits.argmax(1).tolist() == [4, 1]
    assert float(logits[0, 0]) == float("-inf")
    store.add(torch.tensor([[-1.0, 0.0]]), torch.tensor([4]))  # the same class in another domain
    assert store.logits(torch.tensor([[-1.0, 0.0]]), 6).argmax(1).tolist() == [4]
