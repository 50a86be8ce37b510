"""EASE: synthesised prototypes, reweighted subspaces, frozen adapters."""

from __future__ import annotations

import math

import pytest
import torch

from janus.methods.ease import synthesise
from tests.janus.methods.by_hand import started, train

SMALL = {"method__bottleneck": 4, "train__epochs": 1, "method__lr": 0.1}


def test_old_prototypes_are_the_synthesised_ones_by_hand():
    """One old class, two new ones, two subspaces of two dimensions."""
    old = torch.tensor([[[2.0, 0.0], [9.0, 9.0]]])  # at home in subspace 0, direction (1, 0)
    new = torch.tensor([[[3.0, 0.0], [1.0, 2.0]], [[0.0, 5.0], [7.0, 4.0]]])
    # cosines in subspace 0: 1 and 0, so softmax weights e / (e + 1) and 1 / (e + 1)
    a, b = math.e / (math.e + 1), 1 / (math.e + 1)
    expected = torch.tensor([[a * 1 + b * 7, a * 2 + b * 4]])
    found = synthesise(torch.cat([old, new]), torch.tensor([0, 1, 1]), 1)
    assert torch.allclose(found, expected)


def test_similarity_is_taken_in_the_old_class_s_own_subspace():
    rows = torch.randn(7, 3, 5, generator=torch.Generator().manual_seed(0))
    tasks = torch.tensor([0, 1, 1, 2, 2, 2, 2])
    found, new = synthesise(rows, tasks, 2), rows[3:]
    for row in range(3):
        home = tasks[row]
        cosines = torch.cosine_similarity(rows[row, home][None], new[:, home], dim=-1)
        assert torch.allclose(found[row], cosines.softmax(0) @ new[:, 2], atol=1e-6)


@pytest.mark.parametrize("again", [True, False])
def test_old_prototypes_are_made_again_from_all_later_classes(again):
    """Class 3 (task 0) in the subspace of task 1, after task 2: from 25 classes, or from 50."""
    method, stream = started("ease", **SMALL, method__resynthesise=again)
    for task in stream.tasks[:3]:
        train(method, task)
    p, last = method.prototypes, 75 if again else 50
    cosines = torch.cosine_similarity(p[3, 0][None], p[25:last, 0], dim=-1)
    assert torch.allclose(p[3, 1], cosines.softmax(0) @ p[25:last, 1], atol=1e-6)
    cosines = torch.cosine_similarity(p[30, 1][None], p[50:75, 1], dim=-1)
    assert torch.allclose(p[30, 2], cosines.softmax(0) @ p[50:75, 2], atol=1e-6)


def test_logits_weigh_the_own_subspace_by_one_and_the_others_by_alpha():
    method, stream = started("ease", **SMALL, method__alpha=0.3)
    for task in stream.tasks[:3]:
        train(method, task)
    features = method.features(next(stream.tasks[0].plain_batches()).images[:2])
    logits = method.classify(features)
    parts = features.split(32, dim=-1)
    for label, own in ((0, 0), (30, 1), (74, 2)):  # 25 classes a task
        row = method.prototypes[label]
        cosines = [torch.cosine_similarity(parts[j], row[j][None]) for j in range(3)]
        others = sum(cosines[j] for j in range(3) if j != own)
        assert torch.allclose(logits[:, label], cosines[own] + 0.15 * others, atol=1e-5)


def test_old_adapters_are_frozen_and_old_subspaces_stay():
    method, stream = started("ease", **SMALL)
    train(method, stream.tasks[0])
    first = {k: v.clone() for k, v in method.adapters[0].state_dict().items()}
    prototypes = method.prototypes.clone()
    train(method, stream.tasks[1])
    assert all(torch.equal(v, first[k]) for k, v in method.adapters[0].state_dict().items())
    assert not any(p.requires_grad for p in method.adapters[0].parameters())
    assert float(method.adapters[1][0].up.weight.detach().abs().max()) > 0
    assert torch.equal(method.prototypes[:25, :1], prototypes)


def test_new_classes_have_their_means_in_every_subspace():
    method, stream = started("ease", **SMALL)
    for task in stream.tasks[:2]:
        train(method, task)
    features, labels = method.task_features(stream.tasks[1])
    mean = features[labels == 30].mean(0)
    assert torch.allclose(method.prototypes[30].flatten(), mean, atol=1e-6)
    added = synthesise(method.prototypes, method.row_tasks, 1)
    assert torch.allclose(method.prototypes[:25, 1], added, atol=1e-6)


def test_passes_count_one_per_adapter_at_the_end_of_every_task():
    method, _ = started("ease")
    assert method.passes_beside_training == pytest.approx((1 + 2 + 3 + 4) / 4)
