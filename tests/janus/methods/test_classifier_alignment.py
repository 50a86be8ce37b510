"""Classifier alignment and SLCA: statistics against numpy, samples against their Gaussians."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from janus.errors import RunError
from janus.methods.base.classifier_alignment import Aligner, ClassGaussians, aligned_loss
from janus.nn.heads import LinearHeads
from tests.janus.methods.by_hand import started, train


def features(seed: int = 0, count: int = 40, width: int = 6):
    g = torch.Generator().manual_seed(seed)
    mix = torch.randn(width, width, generator=g)
    return torch.randn(count, width, generator=g) @ mix + 3, torch.arange(count) % 2


def test_class_statistics_equal_numpys():
    x, y = features()
    stored = ClassGaussians(6, 1e-4)
    stored.add(x, y + 4, task=2)
    assert stored.classes.tolist() == [4, 5] and stored.tasks.tolist() == [2, 2]
    for entry in range(2):
        own = x[y == entry].double().numpy()
        root = stored.roots[entry].double()
        expected = np.cov(own.T) + 1e-4 * np.eye(6)
        np.testing.assert_allclose((root @ root.T).numpy(), expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(stored.means[entry].numpy(), own.mean(0), rtol=1e-5)


def test_a_class_with_one_image_still_has_a_gaussian():
    stored = ClassGaussians(3, 1e-4)
    stored.add(torch.ones(1, 3), torch.tensor([0]), task=0)
    drawn, _ = stored.sample(100, 0, (0,))
    assert torch.allclose(drawn, torch.ones(100, 3), atol=0.06)


def test_features_that_diverged_are_a_nan_failure_not_a_gaussian():
    with pytest.raises(RunError, match=r"class 3 .*diverged") as error:
        ClassGaussians(2, 1e-4).add(
            torch.tensor([[1e9, 1e9], [-1e9, -1e9]]), torch.tensor([3, 3]), 0
        )
    assert error.value.cause == "nan"


def test_samples_come_from_the_stored_gaussians():
    """Moments of many draws; the mean of an older class is shrunk, its covariance is not."""
    x, y = features()
    stored = ClassGaussians(6, 1e-4)
    stored.add(x[y == 0], y[y == 0], task=0)
    stored.add(x[y == 1], y[y == 1], task=3)
    drawn, labels = stored.sample(60_000, 3, (0, 0))
    for entry, shrink in ((0, 0.9 + 0.1 / 4), (1, 1.0)):
        own = drawn[labels == entry].double()
        covariance = (stored.roots[entry] @ stored.roots[entry].T).double()
        spread = float(covariance.diagonal().max())
        error = own.mean(0) - shrink * stored.means[entry]
        assert float(error.abs().max()) < 0.02 * spread**0.5
        assert float((torch.cov(own.T) - covariance).abs().max()) < 0.03 * spread


def test_logit_norm_forgets_the_scale_of_the_logits():
    g = torch.Generator().manual_seed(0)
    parts = [torch.randn(8, 3, generator=g), torch.randn(8, 2, generator=g)]
    y = torch.arange(8) % 5
    assert torch.allclose(aligned_loss(parts, y, 0.1), aligned_loss([7 * p for p in parts], y, 0.1))
    by_hand = torch.cat(parts, 1) / (
        0.5 * (parts[0].norm(dim=1) + parts[1].norm(dim=1))[:, None] * 0.1
    )
    expected = torch.nn.functional.cross_entropy(by_hand, y)
    assert torch.allclose(aligned_loss(parts, y, 0.1), expected, rtol=1e-4)
    plain = torch.nn.functional.cross_entropy(torch.cat(parts, 1), y)
    assert torch.equal(aligned_loss(parts, y, 0.0), plain)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["slca", "inflora_ca"])
def test_alignment_moves_only_the_heads(name):
    method, stream = started(name, train__epochs=1, method__align_samples=16)
    train(method, stream.tasks[0])
    method.begin_task(stream.tasks[1])
    network = [p.detach().clone() for p in method.backbone.parameters()]
    heads = [p.detach().clone() for p in method.heads.parameters()]
    method.end_task(stream.tasks[1])
    assert all(map(torch.equal, network, method.backbone.parameters()))
    assert not any(map(torch.equal, heads, method.heads.parameters()))
    assert [p.requires_grad for p in method.heads.parameters()] == [False] * 2 + [True] * 2


def test_the_first_task_is_not_aligned():
    method, stream = started("slca", train__epochs=1)
    method.begin_task(stream.tasks[0])
    before = [p.detach().clone() for p in method.heads.parameters()]
    method.end_task(stream.tasks[0])
    assert all(map(torch.equal, before, method.heads.parameters()))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "restarts"), [("slca", True), ("inflora_ca", False)])
def test_slca_goes_on_from_the_heads_as_before_alignment(name, restarts):
    method, stream = started(name, train__epochs=1, method__align_samples=16)
    train(method, stream.tasks[0])
    method.begin_task(stream.tasks[1])
    trained = method.heads.parts[1].weight.detach().clone()
    method.end_task(stream.tasks[1])
    method.begin_task(stream.tasks[2])
    assert torch.equal(method.heads.parts[1].weight, trained) is restarts


def test_alignment_recovers_an_old_class_that_the_heads_forgot():
    """Two separable classes, the old head spoiled: alignment alone brings the old class back."""
    _, stream = started("slca")
    settings = {
        "align_epochs": 5,
        "align_samples": 64,
        "align_lr": 0.05,
        "align_decay": 0.0,
        "logit_norm": 0.1,
        "align_jitter": 1e-4,
        "align_restarts": False,
    }
    aligner, heads = Aligner(4, settings, (0, "0")), LinearHeads(4)
    g = torch.Generator().manual_seed(1)
    old, new = (torch.randn(30, 4, generator=g) * 0.1 + torch.eye(4)[i] for i in range(2))
    for index, part in enumerate((old, new)):
        heads.grow(1, (0, "0"), torch.device("cpu"))
        if index:
            with torch.no_grad():
                heads.parts[0].bias -= 5
            assert float((heads(old).argmax(1) == 0).float().mean()) < 0.1
        aligner.end_task(heads, part, torch.full((30,), index), stream.tasks[index])
    assert float((heads(old).argmax(1) == 0).float().mean()) > 0.95
    assert float((heads(new).argmax(1) == 1).float().mean()) > 0.95


def test_heads_of_slca_start_as_the_source_s():
    """Normal with deviation 0.02, not uniform with that of torch's Linear (0.10 here)."""
    method, stream = started("slca")
    method.begin_task(stream.tasks[0])
    head = method.heads.parts[0]
    weights = head.weight.detach()
    assert bool((head.bias == 0).all()) and weights.shape == (25, 32)
    assert float(weights.std()) == pytest.approx(0.02, rel=0.1)
    assert float(weights.abs().max()) > 2.5 * 0.02


def test_the_backbone_of_slca_learns_slowly():
    method, stream = started("slca", method__lr=1e-4, method__head_lr=1e-2)
    before = [p.detach().clone() for p in method.backbone.parameters()]
    train(method, stream.tasks[0], steps=1)
    rates = [group["lr"] / group["base"] for group in method.optimizer.inner.param_groups]
    bases = [group["base"] for group in method.optimizer.inner.param_groups]
    assert bases == [1e-4, 1e-2] and rates[0] == rates[1]
    moved = [
        not torch.equal(a, b) for a, b in zip(before, method.backbone.parameters(), strict=True)
    ]
    assert sum(moved) > 0.9 * len(moved)
    assert method.trained_parameters() > sum(p.numel() for p in method.backbone.parameters())
