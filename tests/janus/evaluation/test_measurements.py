"""What the loop measures beside the method's own accuracy."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from janus.data import load_bench as benches
from janus.data.images.images import Images
from janus.data.images.transforms import plain_view
from janus.data.stream import cut
from janus.evaluation.accuracy import evaluate, sample_past_images
from janus.evaluation.measurements import Measurements
from janus.methods import make_method
from janus.methods.base.method import Context
from janus.nn.vit import build_backbone
from janus.store.store import Store
from janus.training.loop import run_cell
from tests.conftest import toy_cell

STYLES: dict[str, Any] = {
    "bench": "glyphs_styles",
    "bench__tasks": 2,
    "bench__train_per_class": 2,
    "train__epochs": 1,
}


def measuring(method: str, **overrides: Any) -> tuple[Measurements, Any]:
    cell, cpu = toy_cell(method, **overrides), torch.device("cpu")
    stream = cut(benches.load_images(cell.bench), cell, cpu)
    made = make_method(Context(cell, build_backbone(cell.backbone, cpu), cpu))
    return Measurements(made, stream, cell, cpu), stream


def test_images_of_all_tasks_are_counted_for_their_own_task(monkeypatch):
    """Batches of 7 cross the borders between tasks of 75 images; counted by hand, one by one."""
    monkeypatch.setattr("janus.data.stream.EVAL_BATCH", 7)
    measured, stream = measuring("ncm", bench__test_per_class=3)
    method = measured.method
    for task in stream.tasks[:3]:
        method.begin_task(task)
        method.end_task(task)
    found = evaluate(method, stream, 2, measured.cell, measured.device)
    counts, newest = found.counts, found.newest
    for task, images in zip(stream.tasks[:3], stream.tests, strict=False):
        pixels = plain_view(images, measured.cell, measured.device)
        logits, features = method.predict(pixels)
        own = logits[:, task.first : task.first + task.classes].argmax(1) + task.first
        right = logits.argmax(1) == images.labels
        assert torch.equal(found.right[task.index * 75 :][:75], right)
        assert counts.correct[task.index] == int(right.sum())
        assert counts.correct_in_task[task.index] == int((own == images.labels).sum())
    assert torch.equal(newest[1], images.labels)
    assert torch.allclose(newest[0], features, atol=1e-5)


@pytest.mark.parametrize(("tests", "first", "last"), [(3, 0, 2), (300, 0, 299)])
def test_probe_images_are_spread_over_all_earlier_tasks(tests, first, last):
    labels = torch.arange(tests).repeat_interleave(4)
    pixels = labels.to(torch.uint8)[:, None, None, None].expand(-1, 1, 32, 32)
    images = Images(pixels, labels, labels, labels)
    parts = [images.take((labels == task).nonzero()[:, 0]) for task in range(tests)]
    cell = toy_cell(backbone__mean=0.0, backbone__std=1.0)
    found = (
        (torch.cat(sample_past_images(parts, cell, torch.device("cpu")))[:, 0, 0, 0] * 255)
        .round()
        .long()
    )
    assert len(found) == min(4 * tests, 256)
    assert (int(found[0]), int(found[-1])) == (first % 256, last % 256)


def test_class_means_are_keyed_by_class_and_domain():
    """Two tasks of two or three styles each: the means by hand."""
    measured, stream = measuring("linear_probe", **STYLES)
    task = stream.tasks[0]
    measured.method.begin_task(task)
    measured.after(task)
    features, labels = measured.method.task_features(task)
    domains = task.train.domains
    assert len(measured.means.classes) == 100 * len(domains.unique())
    first = (domains == domains.min()) & (labels == 7)
    unit = torch.nn.functional.normalize(features[first].mean(0), dim=-1)
    assert torch.allclose(measured.means.means[7], unit, atol=1e-6)


@pytest.mark.slow
def test_nearest_class_mean_beside_a_shared_head_is_that_of_frozen_features(tmp_path):
    """A linear probe never moves the features: its own means classify as method=ncm does."""
    store = Store(tmp_path)
    cell = {**STYLES, "bench__tasks": 5}
    probe = run_cell(toy_cell("linear_probe", **cell), store, threads=1)
    ncm = run_cell(toy_cell("ncm", **cell), store, threads=1)
    assert probe["correct_ncm"] == ncm["correct"] != probe["correct"]
    assert probe["metrics_ncm"] == ncm["metrics"]


@pytest.mark.parametrize(("method", "bench"), [("linear_probe", {}), ("ncm", STYLES)])
def test_nothing_is_measured_without_domains_or_without_a_shared_head(method, bench):
    measured, _ = measuring(method, **bench)
    assert measured.means is None


def test_no_means_are_kept_for_a_method_without_one_feature_space(monkeypatch):
    measured, stream = measuring("linear_probe", **STYLES)
    task = stream.tasks[0]
    measured.method.begin_task(task)
    predict = measured.method.predict
    monkeypatch.setattr(measured.method, "predict", lambda images: (predict(images)[0], None))
    measured.after(task)
    assert measured.means is None and "correct_ncm" not in measured.facts()
    assert len(measured.facts()["correct"]) == 1
