"""What predicts from trained features: the heads, aligned heads, class means, ridge regression."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from janus.config.compose import compose
from janus.errors import ConfigError
from tests.janus.methods.by_hand import started, train

CHOICES = ("linear", "aligned", "ncm", "ridge")
FAST = {"train__epochs": 1, "method__head_lr": 1e-2}


def trained(method: str, classifier: str, tasks: int = 2, **options):
    """(method after so many tasks, its stream)."""
    made, stream = started(method, method__classifier=classifier, **FAST, **options)
    for task in stream.tasks[:tasks]:
        train(made, task)
    return made, stream


@pytest.mark.parametrize("name", ["seqlora", "janus", "olora", "lora_drs"])
@pytest.mark.parametrize("classifier", ["ncm", "ridge"])
def test_the_classifier_changes_nothing_in_training(name, classifier):
    plain, _ = trained(name, "linear")
    other, _ = trained(name, classifier)
    for a, b in zip(plain.layers, other.layers, strict=True):
        assert torch.equal(a.a, b.a) and torch.equal(a.b, b.b)
    assert torch.equal(plain.heads.parts[0].weight, other.heads.parts[0].weight)


def test_alignment_changes_the_heads_and_no_adapter_of_the_task_that_it_follows():
    plain, _ = trained("seqlora", "linear")
    aligned, _ = trained("seqlora", "aligned", method__align_epochs=1, method__align_samples=8)
    for a, b in zip(plain.layers, aligned.layers, strict=True):
        assert torch.equal(a.a, b.a) and torch.equal(a.b, b.b)
    assert not torch.equal(plain.heads.parts[0].weight, aligned.heads.parts[0].weight)


def test_class_means_on_frozen_features_are_the_method_ncm():
    probe, stream = trained("linear_probe", "ncm")
    ncm, _ = started("ncm")
    for task in stream.tasks[:2]:
        train(ncm, task)
    images = next(stream.tasks[0].plain_batches()).images
    assert torch.equal(probe.predict(images)[0], ncm.predict(images)[0])


def test_ridge_is_the_solution_on_the_images_of_all_tasks():
    probe, stream = trained("linear_probe", "ridge")
    seen = [probe.task_features(task) for task in stream.tasks[:2]]
    rows = np.concatenate([f.double().numpy() for f, _ in seen])
    targets = np.eye(50)[np.concatenate([y.numpy() for _, y in seen])]
    solutions = [
        np.linalg.solve(rows.T @ rows + 10.0**p * np.eye(rows.shape[1]), rows.T @ targets)
        for p in range(-8, 9)
    ]
    distances = [np.abs(w - probe.classifier.weights.numpy()).max() for w in solutions]
    assert min(distances) < 1e-6 and sorted(distances)[1] > 1e-4, (
        "one of the penalties, and one only"
    )
    features = seen[0][0]
    assert torch.allclose(
        probe.classify(features), features.float() @ probe.classifier.weights, atol=1e-6
    )


@pytest.mark.parametrize("classifier", CHOICES)
def test_every_class_seen_has_a_logit_and_kept_bytes_count_the_statistics(classifier):
    method, stream = trained("seqlora", classifier)
    images = next(stream.tasks[0].plain_batches()).images
    logits, features = method.predict(images)
    assert logits.shape == (len(images), 50) and torch.isfinite(logits).all()
    assert features.shape == (len(images), method.context.width)
    assert (method.kept()["classifier"] is None) == (classifier == "linear")
    assert method.passes_beside_training == float(classifier != "linear")


def test_inflora_has_one_switch_for_alignment():
    with pytest.raises(ConfigError, match="linear"):
        compose({"bench": "glyphs", "method": "inflora", "method.classifier": "aligned"})


def test_the_trained_heads_are_no_part_of_the_identity():
    plain = compose({"bench": "glyphs", "method": "seqlora"})
    same = compose({"bench": "glyphs", "method": "seqlora", "method.classifier": "linear"})
    other = compose({"bench": "glyphs", "method": "seqlora", "method.classifier": "ncm"})
    assert plain.id == same.id != other.id
