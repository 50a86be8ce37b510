"""E2-LoRA's defining properties."""

from __future__ import annotations

import pytest
import torch

from janus.methods.e2_lora import distillation
from janus.nn.energy_linear import Pair, kept_ranks
from tests.janus.methods.by_hand import started, train

FAST = {"method__align_samples": 8, "method__align_epochs": 1, "train__epochs": 1}


def energies(*values: float) -> Pair:
    """A finished pair of so many directions in a layer of 4 inputs and 6 outputs."""
    n = len(values)
    return Pair(torch.ones(n, 4), torch.eye(6)[:, :n], torch.tensor(values, dtype=torch.float64))


def by_loop(pairs: list[Pair], most: int, energy: float) -> list[int]:
    """The source's loop, written out; a pair never gets more than it has."""
    steps = 1
    while True:
        ranks = []
        for pair in pairs:
            share, total, count = 1 - steps * (1 - energy), float(pair.energies.sum()), 0
            for i in range(len(pair.energies)):
                count += float(pair.energies[: i + 1].sum()) <= share * total
            ranks.append(min(count + 1, len(pair.a)))
        if sum(ranks) <= most:
            return ranks
        steps += 1


@pytest.mark.parametrize("most", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("energy", [0.99, 0.9999])
def test_ranks_are_those_of_the_source_s_loop(most, energy):
    draw = torch.Generator().manual_seed(most)
    pairs = [energies(*torch.rand(6, generator=draw).sort(descending=True)[0]) for _ in range(2)]
    assert kept_ranks(pairs, most, energy) == by_loop(pairs, most, energy)


def test_ranks_keep_one_direction_more_than_the_share_and_at_least_one():
    assert kept_ranks([energies(90, 9, 1, 0, 0, 0)], 6, 0.95) == [2]
    assert kept_ranks([energies(1, 0, 0, 0, 0, 0)], 6, 0.95) == [1]


def finished(tasks: int, **options):
    """(method, stream, features of some images before and after the last end_task)."""
    method, stream = started("e2_lora", **{**FAST, **options})
    for task in stream.tasks[: tasks - 1]:
        train(method, task)
    last = stream.tasks[tasks - 1]
    method.begin_task(last)
    for batch in last.train_batches(0):
        sum(method.loss(batch).values()).backward()
        method.update()
    images = next(last.plain_batches()).images
    with torch.no_grad():
        before = method.features(images)
        method.end_task(last)
        after = method.features(images)
    return method, stream, before, after


@pytest.mark.parametrize("tasks", [1, 3])
@pytest.mark.parametrize("start", ["random", "identity"])
def test_a_finished_task_computes_the_same_in_sorted_directions(tasks, start):
    method, _, before, after = finished(tasks, method__first_start=start, method__lr=0.05)
    assert torch.allclose(before, after, atol=1e-4)
    pair = method.layers[0].finished[-1]
    assert (pair.energies.diff() <= 1e-9).all() and pair.energies[0] > 0


def test_the_directions_of_all_tasks_stay_orthonormal():
    method, *_ = finished(3, method__lr=0.05)
    for layer in method.layers:
        together = torch.cat([pair.b for pair in layer.finished], dim=1)
        assert together.shape[1] <= layer.linear.out_features
        product = together.mT @ together
        assert torch.allclose(product, torch.eye(len(product)), atol=1e-4)


def test_a_new_task_begins_at_the_old_network_less_what_was_released():
    method, stream, _, after = finished(1, method__lr=0.05, method__energy=0.9999999)
    images = next(stream.tasks[0].plain_batches()).images
    method.begin_task(stream.tasks[1])
    with torch.no_grad():
        assert torch.allclose(method.features(images), after, atol=1e-3)
        teacher = method._features_before(images)
        assert torch.equal(method.features(images), teacher), "A = 0: teacher and student agree"
    assert not any(layer.b.requires_grad for layer in method.layers)
    assert all(layer.a.requires_grad for layer in method.layers)


def test_later_tasks_have_the_directions_that_old_ones_released():
    method, *_ = finished(2)
    told = method.diagnose([])
    outs = [layer.linear.out_features for layer in method.layers]
    assert told["rank_held"] == outs, "the new task has all that is free"
    assert all(given >= out // 2 for given, out in zip(told["rank_given"], outs, strict=True))


def test_distillation_is_zero_for_equal_logits_and_grows_with_the_temperature_squared():
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    assert float(distillation(logits, logits, 2.0)) == pytest.approx(0, abs=1e-6)
    other = logits + torch.eye(5)[:4]
    p, q = (logits / 2).softmax(1), (other / 2).softmax(1)
    expected = 4 * (p * (p / q).log()).sum(1).mean()
    assert float(distillation(other, logits, 2.0)) == pytest.approx(float(expected), rel=1e-5)
