"""The project's metrics on the accuracies that InfLoRA's authors logged (see the data's header).

The logs hold percentages, not counts. All 275 accuracies are multiples of 1/n_j for one number of
test images n_j per task, and these add up to ImageNet-R's 6000: so the counts can be recovered.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from analysis import stats
from janus import metrics

DATA = Path(__file__).parent / "data" / "inflora_imagenet_r.csv"
TASKS = 10
TEST_IMAGES = (698, 688, 433, 563, 724, 560, 591, 423, 621, 699)
"""The only n_j up to 800 that explain every logged accuracy (tested below)."""


def rows() -> list[dict[str, str]]:
    with DATA.open() as stream:
        return list(csv.DictReader(line for line in stream if not line.startswith("#")))


def counted(value: str, images: int) -> int:
    return round(float(value) * images / 100)


def matrices() -> dict[int, list[list[int]]]:
    """Correct counts by seed."""
    out = {seed: [[0] * (t + 1) for t in range(TASKS)] for seed in range(5)}
    for row in rows():
        if row["kind"] == "task_acc":
            task = int(row["task"]) - 1
            count = counted(row["value"], TEST_IMAGES[task])
            out[int(row["seed"])][int(row["after_task"]) - 1][task] = count
    return out


@pytest.mark.parametrize("task", range(TASKS))
def test_one_number_of_test_images_explains_all_accuracies_of_a_task(task):
    logged = [r["value"] for r in rows() if r["task"] == str(task + 1)]
    assert len(logged) == 5 * (TASKS - task)
    fitting = [
        n
        for n in range(100, 801)
        if all(f"{100 * counted(v, n) / n:.2f}" == f"{float(v):.2f}" for v in logged)
    ]
    assert fitting == [TEST_IMAGES[task]]


def test_recovered_counts_reproduce_every_logged_total():
    assert sum(TEST_IMAGES) == 6000
    found = matrices()
    totals = [row for row in rows() if row["kind"] == "total"]
    assert len(totals) == 5 * TASKS
    for row in totals:
        correct = found[int(row["seed"])][int(row["after_task"]) - 1]
        by_image, _ = metrics.after_task(correct, TEST_IMAGES)
        assert 100 * by_image == pytest.approx(float(row["value"]), abs=0.0051)


@pytest.mark.parametrize(
    ("metric", "mean", "std"),
    [
        ("acc", 75.34, 0.25),
        ("acc_taskmean", 74.81, 0.39),
        ("maa", 80.60, 0.48),
        ("maa_taskmean", 80.19, None),
        ("bwt", -6.58, 0.53),
    ],
)
def test_published_runs_give_their_known_summary(metric, mean, std):
    values = [metrics.summarise(m, TEST_IMAGES)[metric] for m in matrices().values()]
    found_mean, found_std = stats.mean_std([100 * v for v in values])
    assert found_mean == pytest.approx(mean, abs=0.0051)
    if std is not None:
        assert found_std == pytest.approx(std, abs=0.0051)


def test_accuracy_is_learning_plus_transfer_on_published_runs():
    for matrix in matrices().values():
        found = metrics.summarise(matrix, TEST_IMAGES)
        identity = found["learning_acc"] + found["bwt"] * (TASKS - 1) / TASKS
        assert found["acc_taskmean"] == pytest.approx(identity, abs=1e-12)
        assert found["forgetting"] >= -found["bwt"]
