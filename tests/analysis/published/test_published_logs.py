"""The project's metrics on the accuracies that InfLoRA's authors logged.

The logs hold percentages, not counts. All 275 accuracies on ImageNet-R are multiples of 1/n_j for
one number of test images n_j per task, and these add up to its 6000: so the counts can be
recovered. Every task of CIFAR-100 has 1000 test images.
"""

from __future__ import annotations

import pytest

from analysis.published import read_csv
from analysis.stats import significance
from janus import metrics

IMAGES = {
    "imagenet_r": (698, 688, 433, 563, 724, 560, 591, 423, 621, 699),
    "cifar100": (1000,) * 10,
}
"""ImageNet-R: the only n_j up to 800 that explain every logged accuracy (tested below)."""


def runs(bench: str, shuffled: bool = False) -> list[read_csv.LoggedRun]:
    return [
        run
        for run in read_csv.inflora_logs()
        if (run.commit, run.bench, run.shuffled) == ("e08b00e", bench, shuffled)
    ]


def counts(run: read_csv.LoggedRun) -> list[list[int]]:
    total = IMAGES[run.bench]
    return [[round(v * n / 100) for v, n in zip(row, total, strict=False)] for row in run.matrix]


@pytest.mark.parametrize("task", range(10))
def test_one_number_of_test_images_explains_all_accuracies_of_a_task(task):
    logged = [row[task] for run in runs("imagenet_r") for row in run.matrix if task < len(row)]
    assert len(logged) == 5 * (10 - task)
    fitting = [
        n
        for n in range(100, 801)
        if all(f"{100 * round(v * n / 100) / n:.2f}" == f"{v:.2f}" for v in logged)
    ]
    assert fitting == [IMAGES["imagenet_r"][task]]


@pytest.mark.parametrize("bench", IMAGES)
def test_recovered_counts_reproduce_every_logged_total(bench):
    assert sum(IMAGES["imagenet_r"]) == 6000
    assert len(runs(bench)) == 5
    for run in runs(bench):
        for row, logged in zip(counts(run), run.totals, strict=True):
            by_image, _ = metrics.after_task(row, IMAGES[bench])
            assert 100 * by_image == pytest.approx(logged, abs=0.0051)


@pytest.mark.parametrize(
    ("bench", "metric", "mean", "std"),
    [
        ("imagenet_r", "acc", 75.34, 0.25),
        ("imagenet_r", "acc_taskmean", 74.81, 0.39),
        ("imagenet_r", "maa", 80.60, 0.48),
        ("imagenet_r", "maa_taskmean", 80.19, 0.62),
        ("imagenet_r", "bwt", -6.58, 0.53),
        ("imagenet_r", "forgetting", 6.625, 0.574),
        ("cifar100", "acc", 86.33, 0.81),
        ("cifar100", "acc_taskmean", 86.33, 0.81),
        ("cifar100", "maa", 91.18, 0.40),
        ("cifar100", "maa_taskmean", 91.18, 0.40),
        ("cifar100", "bwt", -4.69, 0.23),
    ],
)
def test_published_runs_give_their_known_summary(bench, metric, mean, std):
    values = [metrics.summarise(counts(run), IMAGES[bench])[metric] for run in runs(bench)]
    found_mean, found_std = significance.mean_std([100 * v for v in values])
    assert found_mean == pytest.approx(mean, abs=0.0051)
    assert found_std == pytest.approx(std, abs=0.0051)


def test_the_published_summary_is_that_of_the_published_logs():
    for figure in read_csv.summaries(["imagenet_r", "cifar100"]):
        weighting = figure.protocol.get("weighting")
        if figure.source != "inflora-logs" or figure.n != 5 or figure.metric == "forgetting":
            continue
        key = figure.metric + ("_taskmean" if weighting == "task" else "")
        values = [
            100 * metrics.summarise(counts(run), IMAGES[figure.bench])[key]
            for run in runs(figure.bench)
        ]
        assert significance.mean_std(values) == pytest.approx((figure.mean, figure.std), abs=0.0051)


def test_accuracy_is_learning_plus_transfer_on_published_runs():
    for run in [*runs("imagenet_r"), *runs("cifar100")]:
        found = metrics.summarise(counts(run), IMAGES[run.bench])
        identity = found["learning_acc"] + found["bwt"] * 9 / 10
        assert found["acc_taskmean"] == pytest.approx(identity, abs=1e-12)
        assert found["forgetting"] >= -found["bwt"]


def test_unfinished_runs_are_known_as_such():
    logged = read_csv.inflora_logs()
    assert len(logged) == 29
    assert {run.run for run in logged if not run.finished} == {"r06", "r12", "r15"}
