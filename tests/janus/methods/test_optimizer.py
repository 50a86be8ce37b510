"""Learning rates by epoch, against the authors' schedulers and torch's own."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from tests.janus.methods.rates import rates


def by_epoch(found: list[list[float]]) -> list[float]:
    """One rate per epoch; every step of an epoch has the same."""
    assert all(len(set(epoch)) == 1 and len(epoch) > 1 for epoch in found)
    return [epoch[0] for epoch in found]


def as_the_authors_step(epochs: int) -> list[float]:
    """Their scheduler sets the rate of epoch 0 when it is made, and again at its first step."""
    now, seen = 0, []
    last = -1
    for _ in range(epochs):
        seen.append(math.cos(99 * math.pi * now / (200 * (epochs - 1))))
        last += 1
        now = last
    return seen


def as_torch_steps(epochs: int, make) -> list[float]:
    """Rates of one of torch's schedulers, stepped at the end of each epoch."""
    inner = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, seen = make(inner), []
    for _ in range(epochs):
        seen.append(inner.param_groups[0]["lr"])
        inner.step()
        scheduler.step()
    return seen


@pytest.mark.parametrize("epochs", [2, 5, 20, 50])
def test_cosine_is_the_authors_curve_which_begins_in_the_second_epoch(epochs):
    found = by_epoch(rates(epochs, method__schedule="cosine"))
    assert found == pytest.approx(as_the_authors_step(epochs), abs=1e-15)


def test_cosine_over_twenty_epochs_ends_at_a_tenth():
    found = by_epoch(rates(20, method__schedule="cosine"))
    assert [round(rate, 4) for rate in found[:3] + found[-2:]] == [1, 1, 0.9967, 0.1784, 0.0974]
    assert round(sum(found), 2) == 13.70
    assert by_epoch(rates(1, method__schedule="cosine")) == [1.0]


@pytest.mark.parametrize("epochs", [1, 5, 20])
def test_half_cosine_is_torchs_annealing_to_zero(epochs):
    want = as_torch_steps(epochs, lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=epochs))
    found = by_epoch(rates(epochs, method__schedule="cosine_half"))
    assert found == pytest.approx(want, abs=1e-15)


def test_single_steps_follow_the_curve_from_the_first_on():
    found = [rate for epoch in rates(2, method__schedule="cosine_step") for rate in epoch]
    last = len(found) - 1
    assert last == 5
    want = [math.cos(99 * math.pi * at / (200 * last)) for at in range(last + 1)]
    assert found == pytest.approx(want, abs=1e-15)


def test_milestones_are_torchs():
    """SD-LoRA on DomainNet: x 0.005 at epochs 4, 6 and 8 of 10."""
    dropping = {"method__schedule": "drop", "method__drop_factor": 0.005}
    found = by_epoch(rates(10, **dropping, method__milestones="4+6+8"))
    want = as_torch_steps(10, lambda o: lr_scheduler.MultiStepLR(o, [4, 6, 8], gamma=0.005))
    assert found == pytest.approx(want, rel=1e-12)
    assert found[3] == 1 and found[4] == 0.005


def test_one_drop_falls_after_a_share_of_the_epochs_or_at_a_milestone():
    share = by_epoch(rates(20, method__schedule="drop", method__drop_at=0.9))
    assert share == [1.0] * 18 + [0.1] * 2
    named = by_epoch(rates(20, method__schedule="drop", method__milestones="18"))
    assert named == share
    late = by_epoch(rates(5, method__schedule="drop", method__milestones="18"))
    assert late == [1.0] * 5


@pytest.mark.parametrize("schedule", ["cosine", "cosine_half", "cosine_step"])
def test_a_shorter_first_task_may_take_the_start_of_the_later_ones_curve(schedule):
    fields = {"method__schedule": schedule, "train__epochs": 10}
    later = rates(10, 1, **fields)
    assert rates(8, 0, **fields, method__cosine_over="later") == later[:8]
    assert rates(8, 0, **fields) != later[:8]
    longer = rates(12, 0, **fields, method__cosine_over="later")
    assert longer[:10] == later and min(map(min, longer)) >= 0


def test_the_first_task_may_have_another_rate():
    fields = {"method__schedule": "constant", "method__first_rate": 0.1}
    assert by_epoch(rates(2, 0, **fields)) == [0.1, 0.1]
    assert by_epoch(rates(2, 1, **fields)) == [1.0, 1.0]


def test_constant_is_constant():
    assert by_epoch(rates(3, method__schedule="constant")) == [1.0] * 3
