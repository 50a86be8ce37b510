"""RanPAC: the ridge classifier, first-session adaptation, independence of the order."""

from __future__ import annotations

import numpy as np
import torch

from tests.janus.test_methods import started, train

SMALL = {"method__projection": 60, "train__epochs": 1}


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
