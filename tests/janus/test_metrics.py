"""Metrics against a matrix worked by hand, losses and heads against direct formulas."""

from __future__ import annotations

import math
import random
import re
from statistics import stdev
from typing import Any

import numpy as np
import pytest
import torch

from janus.algorithms.losses import local_cross_entropy
from janus.methods.janus_lora import decoupled_margin
from janus.metrics import (
    METRICS,
    Metric,
    after_task,
    checked,
    compute_metrics,
    contradiction,
    summarise,
)
from janus.nn.heads import LinearHeads, Prototypes


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


COUNTS: Any = [[9], [9, 16], [5, 20, 24]], [10, 20, 30]


def test_what_others_print_as_forgetting_by_hand():
    m = compute_metrics(*COUNTS)
    assert m["forgetting"] == pytest.approx(((0.9 - 0.5) + (0.8 - 1.0)) / 2)
    assert m["forgetting_pilot"] == pytest.approx(((0.9 - 0.5) + (1.0 - 1.0)) / 2)
    assert m["forgetting_avalanche"] == pytest.approx(((0.9 - 0.5) + (0.8 - 1.0)) / 2)
    assert m["forgetting_avalanche"] == -m["bwt"]
    assert m["task_std"] == pytest.approx(stdev([0.5, 1.0, 0.8]))


def test_pilots_and_avalanches_forgetting_equal_their_own_ways_of_counting():
    """PILOT: a table with zeros above the diagonal, its maximum over all times, old tasks only.
    Avalanche: first and last accuracy of each experience that was seen again."""
    draw = random.Random(0)
    for _ in range(200):
        tasks = draw.randint(2, 8)
        total = [draw.randint(1, 30) for _ in range(tasks)]
        correct = [[draw.randint(0, total[j]) for j in range(t + 1)] for t in range(tasks)]
        m = compute_metrics(correct, total)
        table = np.zeros((tasks, tasks))
        first, last = {}, {}
        for t, row in enumerate(correct):
            table[t, : t + 1] = np.array(row) / total[: t + 1]
            first[t] = row[t] / total[t]
            last = {j: row[j] / total[j] for j in range(t)}
        lost = (table.max(axis=0) - table[-1])[:-1]
        assert m["forgetting_pilot"] == pytest.approx(lost.mean())
        assert m["forgetting_avalanche"] == pytest.approx(
            np.mean([first[j] - last[j] for j in last])
        )
        assert m["task_std"] == pytest.approx(table[-1].std(ddof=1))


def test_forward_transfer_needs_tasks_measured_before_they_were_trained():
    assert compute_metrics(*COUNTS)["forward_transfer"] is None
    ahead = [[9, 4, 3], [9, 16, 6], [5, 20, 24]]
    m = compute_metrics(ahead, COUNTS[1])
    assert m["forward_transfer"] == pytest.approx((4 / 20 + 6 / 30) / 2)
    for name, value in compute_metrics(*COUNTS).items():  # and it changes no other metric
        assert name == "forward_transfer" or m[name] == value


def test_new_metrics_change_no_result_file():
    stored = summarise(*COUNTS)
    assert list(stored) == [
        *("acc", "acc_taskmean", "maa", "maa_taskmean"),
        *("bwt", "forgetting", "learning_acc"),
    ]
    assert stored.items() <= compute_metrics(*COUNTS).items()


def record(**changes: Any) -> dict[str, Any]:
    correct, total = COUNTS
    return {
        "correct": correct,
        "correct_in_task": correct,
        "total": total,
        "metrics": summarise(*COUNTS),
        "metrics_in_task": summarise(*COUNTS),
    } | changes


def test_a_metric_defined_today_is_known_of_a_result_of_yesterday(monkeypatch):
    """A number of images: no fraction, and said to be none."""
    old = record()
    lost = Metric(key="lost", title="Lost", of=lambda m: 40.0, high=math.inf, unit="images")
    monkeypatch.setitem(METRICS, "lost", lost)
    assert checked(old)["lost"] == 40.0
    assert checked(record(metrics=old["metrics"] | {"lost": 40.0}))["lost"] == 40.0
    with pytest.raises(ValueError, match=r"lost is -1\.0, which is not between 0\.0 and inf"):
        checked(record(metrics=old["metrics"] | {"lost": -1}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metrics": summarise(*COUNTS) | {"acc": 0.99}}, r"acc is 0.99, but its counts give 0.81"),
        ({"metrics": summarise(*COUNTS) | {"bwt": None}}, "bwt is None, but its counts give -0.1"),
        (
            {"metrics": summarise(*COUNTS) | {"acc": math.nan}},
            "acc is nan, which is not a fraction",
        ),
        ({"metrics": summarise(*COUNTS) | {"maa": -0.5}}, "maa is -0.5, which is not a fraction"),
        ({"correct": [[9], [9, 16], [5, 20, 23]]}, "acc is 0.81.*, but its counts give 0.8"),
        ({"correct": [[9], [9, 16], [5, 20, 31]]}, r"correct\[2\]\[2\] is 31, .* among 30 images"),
        ({"correct": [[9], [9, 16], [5, 20, -1]]}, r"correct\[2\]\[2\] is -1"),
        ({"correct": [[9], [9, 16], [5, 20]]}, r"correct\[2\] has 2 entries"),
        ({"total": [10, 20]}, "does not fit 3 tasks"),
        ({"total": [10, 20, 0]}, "does not fit 3 tasks"),
        (
            {"metrics_in_task": summarise(*COUNTS) | {"acc": 0.99}},
            "acc_in_task is 0.99, but its counts give 0.81",
        ),
    ],
)
def test_a_record_that_contradicts_its_counts_is_named_with_both_values(changes, said):
    assert contradiction(record()) is None
    assert re.search(said, contradiction(record(**changes)) or "")


def test_metrics_without_counts_are_taken_as_they_are():
    """W&B's copies of older runs."""
    assert checked({"metrics": {"acc": 0.5, "bwt": None}}) == {"acc": 0.5, "bwt": None}
    assert checked({}, "_ncm") == {}


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
    again.load_state_dict(heads.state_dict())
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
