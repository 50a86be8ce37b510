"""RanPAC: the ridge classifier, first-session adaptation, independence of the order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from janus.algorithms.ridge import PENALTIES
from janus.data.stream import plain_batches
from janus.keyed_random import generator
from tests.janus.methods.by_hand import started, train

SMALL = {"method__projection": 60, "train__epochs": 1}
FLAT = {
    "backbone": "glyph_vit",
    "order": "4",
    "method__adapt": False,
    "method__projection": 400,
    "bench__tasks": 10,
    "bench__train_per_class": 4,
    "bench__test_per_class": 5,
}
"""40 images a task, 32 of them fitted, and in the end as many images as projections."""


def test_classifier_is_the_ridge_solution_on_all_images_seen():
    """After three tasks, against numpy's least squares over all their images at once."""
    method, stream = started("ranpac", **SMALL)
    for task in stream.tasks[:3]:
        train(method, task)
    seen = [method.task_features(task) for task in stream.tasks[:3]]
    h = torch.cat([method.project(f) for f, _ in seen]).double().numpy()
    y = np.eye(method.classes)[torch.cat([labels for _, labels in seen]).numpy()]
    rows = np.concatenate([h, np.sqrt(method.penalty) * np.eye(60)])
    targets = np.concatenate([y, np.zeros((60, method.classes))])
    expected = np.linalg.lstsq(rows, targets, rcond=None)[0]
    assert method.weights.shape == (60, 75)
    assert np.allclose(method.weights.numpy(), expected, rtol=1e-3, atol=1e-6)


def test_nothing_adapted_does_not_depend_on_the_class_order():
    """Same seed, same projection: one classifier up to the order of its columns."""
    found = []
    for order in ("0", "1"):
        method, stream = started(
            "ranpac", order=order, method__adapt=False, method__ridge=10.0, **SMALL
        )
        for task in stream.tasks:
            train(method, task)
        by_class = torch.empty_like(method.weights)
        by_class[:, list(stream.order)] = method.weights
        found.append(by_class)
    assert torch.allclose(found[0], found[1], rtol=1e-4, atol=1e-7)


def test_network_moves_in_the_first_task_only():
    method, stream = started("ranpac", **SMALL, method__lr=0.1)
    images = next(stream.tasks[0].plain_batches()).images[:8]
    pretrained = method.features(images)
    train(method, stream.tasks[0])
    adapted = method.features(images)
    method.begin_task(stream.tasks[1])
    assert method.epochs(stream.tasks[1]) == 0 == method.trained_parameters()
    method.end_task(stream.tasks[1])
    assert torch.equal(method.features(images), adapted)
    assert not torch.allclose(adapted, pretrained, atol=1e-5)
    assert not any(p.requires_grad for p in method.backbone.parameters())


def test_switched_off_adaptation_trains_nothing():
    method, stream = started("ranpac", method__adapt=False, **SMALL)
    assert method.epochs(stream.tasks[0]) == 0 and not method.adapters


def accuracy(method, stream) -> float:
    right = []
    for images in stream.tests:
        for batch in plain_batches(images, method.context.cell, method.context.device):
            right.append(method.predict(batch.images)[0].argmax(1) == batch.labels)
    return float(torch.cat(right).double().mean())


@pytest.mark.slow
def test_a_flat_held_out_curve_does_not_ruin_the_classifier():
    """Where the least error is taken, five of the ten penalties are 1e-8 here, the last one too."""
    method, stream = started("ranpac", **FLAT)
    for task in stream.tasks:
        train(method, task)
        assert method.penalty >= 10
    assert accuracy(method, stream) > 0.6
    ruined, stream = started("ranpac", **FLAT, method__ridge=1e-8)
    for task in stream.tasks:
        train(ruined, task)
    assert accuracy(ruined, stream) < 0.1


def held_out(method, task):
    """(fitted rows, their targets, held rows, their targets) of the task, in the rule's dtype."""
    features, labels = method.task_features(task)
    rows = method.project(features).to(method.dtype).numpy()
    targets = np.eye(method.classes, dtype=rows.dtype)[labels.numpy()]
    key = ("ranpac-held-out", *method.context.key, task.index)
    shuffled = torch.randperm(len(rows), generator=generator(*key)).numpy()
    fit, held = np.split(shuffled, [int(0.8 * len(rows))])
    return rows[fit], targets[fit], rows[held], targets[held]


def test_the_float32_rule_is_the_source_s_lines_in_numpy():
    """G, Q and all solves in float32; the penalty of the least error on what 0.8 N leave."""
    method, stream = started("ranpac", **SMALL, method__ridge_rule="float32")
    for task in stream.tasks[:2]:
        train(method, task)
        rows, targets, held, wanted = held_out(method, task)
        errors = []
        for penalty in PENALTIES:
            gram = rows.T @ rows + np.float32(penalty) * np.eye(60, dtype=np.float32)
            fit = np.linalg.solve(gram, rows.T @ targets)
            errors.append(np.square(held @ fit - wanted).mean())
        assert method.penalty == PENALTIES[int(np.argmin(errors))]
    assert method.gram.dtype == method.moment.dtype == torch.float32
    gram = method.gram.numpy() + np.float32(method.penalty) * np.eye(60, dtype=np.float32)
    expected = np.linalg.solve(gram, method.moment.numpy())
    assert np.allclose(method.weights.numpy(), expected, rtol=1e-3, atol=1e-5)


def test_the_float32_rule_takes_no_penalty_far_below_the_rounding_of_the_moments():
    """There a direct solve in float32 gives errors of any size, which flatness does not hide."""
    method, stream = started("ranpac", **FLAT, method__ridge_rule="float32")
    for task in stream.tasks[:6]:
        train(method, task)
        assert method.penalty >= 1e-3


def test_rules_are_the_least_error_and_the_largest_penalty_near_it(monkeypatch):
    """On the images that int(0.8 N) leaves: 15 of 72 here, where rounding would leave 14."""
    seen = []

    def errors(rows, targets, held, wanted, penalties):
        seen.append((len(rows), len(held)))
        return [3.0] * 2 + [1.0, 1.005, 1.02, 1.009, 2.0] + [3.0] * 10

    monkeypatch.setattr("janus.algorithms.ridge.held_out_errors", errors)
    for rule, expected in (("least", 1e-6), ("within_1_percent", 1e-3)):
        options = {**SMALL, "bench__tasks": 9, "method__adapt": False}
        method, stream = started("ranpac", **options, method__ridge_rule=rule)
        train(method, stream.tasks[0])
        assert method.penalty == expected
    assert seen == [(57, 15)] * 2


def test_a_fixed_penalty_makes_the_rule_void():
    cells = [
        started("ranpac", method__ridge=2.0, method__ridge_rule=rule)[0].context.cell
        for rule in ("least", "within_1_percent", "float32")
    ]
    assert len({cell.id for cell in cells}) == 1
