"""O-LoRA's defining property: rows of a new A avoid the rows of old ones."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from janus.methods.olora import overlap
from tests.janus.methods.by_hand import started, train

FAST = {"method__lr": 3e-3, "method__head_lr": 1e-2}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 4), st.integers(1, 6))
def test_penalty_is_zero_exactly_when_row_spaces_are_orthogonal(seed, rank, old_rank):
    g = torch.Generator().manual_seed(seed)
    q = torch.linalg.qr(torch.randn(12, 12, generator=g, dtype=torch.float64))[0]
    mix = torch.randn(rank, rank, generator=g, dtype=torch.float64)
    # a rotation: a span given by rows near zero would make any overlap with it small
    old_mix = torch.linalg.qr(torch.randn(old_rank, old_rank, generator=g, dtype=torch.float64))[0]
    new, old = mix @ q[:rank], old_mix @ q[rank : rank + old_rank]
    assert float(overlap(new, old)) < 1e-12
    tilted = new + 0.1 * old[:1]
    assert float(overlap(tilted, old)) > 1e-4


def test_l2_sums_norms_not_squares():
    method, stream = started("olora", **FAST, method__l2=0.1)
    train(method, stream.tasks[0])
    method.begin_task(stream.tasks[1])
    loss = method.loss(next(iter(stream.tasks[1].train_batches(0))))
    norms = [float(x.a.data[i].norm()) for x in method.layers for i in range(2)]  # every B is 0
    assert float(loss["l2"]) == pytest.approx(0.1 * sum(norms), rel=1e-6)
    loss["l2"].backward()
    for layer in method.layers:
        assert torch.equal(layer.b.grad, torch.zeros_like(layer.b))
        direction = layer.a[0] / layer.a[0].norm()
        assert torch.allclose(layer.a.grad[0], 0.1 * direction, atol=1e-7)


def test_penalty_is_the_sum_over_blocks_tasks_and_entries():
    method, stream = started("olora", **FAST)
    for task in stream.tasks[:2]:
        train(method, task)
    method.begin_task(stream.tasks[2])
    batch = next(iter(stream.tasks[2].train_batches(0)))
    by_hand = 0.0
    for block, layer in enumerate(method.layers):
        for entry in method.bank.entries:
            for target in range(2):
                by_hand += float((layer.a.data[target] @ entry[block][0][target].mT).abs().sum())
    term = method.loss(batch)["orthogonality"]
    assert float(term.detach()) == pytest.approx(0.5 * by_hand, rel=1e-4)


@pytest.mark.slow
def test_training_with_the_penalty_ends_more_orthogonal_than_without():
    found = []
    for weight in (0.0, 0.5):
        method, stream = started("olora", **FAST, method__orthogonality=weight)
        for task in stream.tasks[:2]:
            train(method, task)
        found.append(method.diagnose([])["row_overlap"])
    assert found[1] < 0.6 * found[0]


@pytest.mark.slow
def test_merged_network_is_the_sum_of_the_bank():
    method, stream = started("olora", **FAST)
    pretrained = [[w.clone() for w in x.slices()] for x in method.layers]
    for task in stream.tasks[:3]:
        train(method, task)
    method.begin_task(stream.tasks[3])
    for block, layer in enumerate(method.layers):
        for target, weight in enumerate(layer.slices()):
            total = sum((b[target] @ a[target]) for a, b in (e[block] for e in method.bank.entries))
            assert torch.allclose(weight, pretrained[block][target] + total, atol=1e-5)
