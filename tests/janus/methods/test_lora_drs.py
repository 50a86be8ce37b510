"""LoRA-DRS: the subtracted network, the projected steps, the triplet loss, the classifiers."""

from __future__ import annotations

import pytest
import torch

from janus.algorithms.losses import augmented_triplet
from janus.algorithms.subspace import complement, leading_span
from janus.errors import ConfigError
from tests.janus.methods.by_hand import started, train

FAST = {"method__lr": 3e-3, "method__head_lr": 1e-2, "train__epochs": 1}
CLEAN = {"method__both_sides": False, "method__sqrt_scaling": False}


def trained_once(**options):
    method, stream = started("lora_drs", **{**FAST, **options})
    train(method, stream.tasks[0])
    method.begin_task(stream.tasks[1])
    return method, stream


def one_step(method, task):
    """The factors before and after one step of training."""
    before = [(x.a.detach().clone(), x.b.detach().clone()) for x in method.layers]
    sum(method.loss(next(iter(task.train_batches(0)))).values()).backward()
    method.update()
    return [
        (a, b, x.a.detach() - a, x.b.detach() - b)
        for x, (a, b) in zip(method.layers, before, strict=True)
    ]


def test_subtracted_network_is_the_base_minus_the_old_adapters():
    method, _ = trained_once()
    merged = [[w.clone() for w in x.slices()] for x in method.layers]
    with method.subtracted_network():
        for layer, first, whole in zip(method.layers, method.pristine, merged, strict=True):
            for now, w0, w in zip(layer.slices(), first, whole, strict=True):
                old = w - w0  # what the finished task's adapter added
                assert float(old.norm()) > 1e-3
                assert torch.allclose(now, w0 - old, atol=1e-6)
    for layer, whole in zip(method.layers, merged, strict=True):
        assert all(map(torch.equal, layer.slices(), whole))


def test_span_holds_the_energy_with_the_fewest_directions():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(300, 10, generator=g) * torch.tensor([9.0, 5, 3, 2, 1, 1, 0.5, 0.5, 0.1, 0.1])
    moment = x.T @ x
    u = leading_span(moment, 0.95)
    energy = torch.linalg.svdvals(x).square()
    share = energy.cumsum(0) / energy.sum()
    k = u.shape[1]
    assert share[k - 1] >= 0.95 > share[k - 2]
    inside = (x @ u).square().sum() / x.square().sum()
    assert float(inside) == pytest.approx(float(share[k - 1]), rel=1e-5)
    v = complement(u)
    both = torch.cat([u, v], 1)
    assert torch.allclose(both.T @ both, torch.eye(10), atol=1e-5)


def test_the_first_task_is_not_projected():
    method, stream = started("lora_drs", **FAST)
    method.begin_task(stream.tasks[0])
    assert method.spans == [] and method.protected().shape[-1] == 0


@pytest.mark.parametrize("both_sides", [True, False])
def test_finished_steps_stay_inside_the_span(both_sides):
    method, stream = trained_once(**CLEAN | {"method__both_sides": both_sides})
    for (_, _, d_a, d_b), span in zip(one_step(method, stream.tasks[1]), method.spans, strict=True):
        v = complement(span)
        assert v.shape[1] > 0
        assert float((d_a @ v).norm()) < 1e-3 * float(d_a.norm())
        assert (float((v.T @ d_b).norm()) < 1e-3 * float(d_b.norm())) is both_sides


@pytest.mark.slow
def test_published_scaling_divides_the_step_by_sqrt_k():
    plain, stream = trained_once(method__sqrt_scaling=False)
    scaled, _ = trained_once()
    pairs = zip(
        one_step(plain, stream.tasks[1]),
        one_step(scaled, stream.tasks[1]),
        plain.spans,
        strict=True,
    )
    for (_, _, a1, b1), (_, _, a2, b2), span in pairs:
        root = span.shape[1] ** 0.5
        assert root > 1
        assert torch.allclose(a1, root * a2, rtol=1e-2, atol=1e-6)
        assert torch.allclose(b1, root * b2, rtol=1e-2, atol=1e-6)


def test_b_starts_with_one_small_value_per_column():
    method, _ = trained_once()
    for layer in method.layers:
        assert bool(((layer.b != 0).sum(1) == 1).all())
        assert 0 < float(layer.b.detach().abs().max()) < 0.06


def test_adam_adds_epsilon_before_the_bias_correction():
    """Near epsilon, where A's gradients are while B is sparse, torch's Adam steps further."""
    method, stream = started("lora_drs", **FAST, method__schedule="constant")
    method.begin_task(stream.tasks[0])
    parameters = [method.layers[0].a, method.heads.parts[-1].weight]
    groups = zip(parameters, (3e-3, 1e-2), strict=True)
    at = [(p, lr, p.detach().double(), 0.0, 0.0) for p, lr in groups]
    draw = torch.Generator().manual_seed(0)
    for step in range(1, 5):
        after = []
        for p, lr, value, first, second in at:
            p.grad = 1e-8 * torch.randn(p.shape, generator=draw)
            g = p.grad.double()
            first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
            rate = lr * (1 - 0.999**step) ** 0.5 / (1 - 0.9**step)
            after.append((p, lr, value - rate * first / (second.sqrt() + 1e-8), first, second))
        method.optimizer.step()
        at = after
    for p, lr, value, *_ in at:
        assert float((p.detach() - value).abs().max()) < 1e-3 * lr


def test_augmented_triplet_equals_the_loop():
    g = torch.Generator().manual_seed(2)
    x, y = torch.randn(9, 5, generator=g), torch.tensor([4, 4, 4, 5, 5, 6, 6, 6, 7])
    old = torch.nn.functional.normalize(torch.randn(3, 5, generator=g), dim=-1)
    skip = torch.zeros(9, 3, dtype=torch.bool)
    skip[:, 1] = y == 5  # a domain stream: an old prototype of the sample's own class
    unit = torch.nn.functional.normalize(x, dim=-1)
    terms = []
    for i in range(9):
        to = [float((unit[i] - unit[j]).norm()) for j in range(9)]
        positive = max(d for j, d in enumerate(to) if y[j] == y[i])
        negatives = [d for j, d in enumerate(to) if y[j] != y[i]]
        negatives += [
            float((unit[i] - p).norm()) for p, s in zip(old, skip[i], strict=True) if not s
        ]
        terms.append(max(0.0, positive - min(negatives) + 0.3))
    assert float(augmented_triplet(x, y, old, skip, 0.3)) == pytest.approx(sum(terms) / 9, rel=1e-4)


def test_a_batch_of_one_class_has_no_triplets_and_finite_gradients():
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = augmented_triplet(
        x, torch.zeros(4, dtype=torch.long), torch.zeros(0, 5), torch.zeros(4, 0).bool(), 1.0
    )
    loss.backward()
    assert float(loss.detach()) == 0.0 and bool(x.grad.isfinite().all())


@pytest.mark.slow
def test_predicts_by_class_means_or_by_its_heads():
    by_means, stream = started("lora_drs", **FAST)
    by_heads, _ = started("lora_drs", **FAST, method__classifier="linear")
    for method in (by_means, by_heads):
        train(method, stream.tasks[0])
    images = next(stream.tasks[0].plain_batches()).images
    with torch.no_grad():
        features = by_means.features(images)
        cosine = torch.nn.functional.normalize(features, dim=-1) @ by_means.prototypes.means.T
        assert torch.allclose(by_means.predict(images)[0], cosine, atol=1e-5)
        assert torch.equal(by_heads.predict(images)[0], by_heads.heads(by_heads.features(images)))
        assert torch.equal(features, by_heads.features(images))  # training is the same


def test_rectification_refuses_the_quirks_it_replaces():
    with pytest.raises(ConfigError, match="both_sides=false"):
        started("lora_drs", method__rectify=True)
