"""What each bench is by default, against the papers' code (shared by InfLoRA, CODA and PILOT)."""

from __future__ import annotations

import pytest

from janus.config.compose import compose

PROTOCOLS = {
    # classes, tasks, smallest crop, centre crop, kernel of the test resize, epochs where known
    "cifar100": (100, 10, 0.08, 1.0, "bilinear", 20),
    "imagenet_r": (200, 10, 0.08, 0.875, "bilinear", 50),
    "imagenet_a": (200, 10, 0.05, 0.875, "bilinear", None),
    "cub200": (200, 10, 0.05, 0.875, "bilinear", None),
    "imagenet100": (100, 10, 0.08, 0.875, "bilinear", None),
    "domainnet": (345, 5, 0.08, 0.875, "bilinear", 5),
    "domainnet_domains": (345, 6, 0.08, 0.875, "bilinear", 5),
    "vtab": (50, 5, 0.05, 0.875, "bicubic", None),
    "core50": (50, 8, 0.08, 0.875, "bilinear", None),
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_bench_is_the_published_one_unless_told_otherwise(name):
    cell = compose({"bench": name})
    bench, backbone = cell.bench, cell.backbone
    epochs = PROTOCOLS[name][-1] and cell.train.epochs
    assert PROTOCOLS[name] == (
        *(bench.classes, bench.tasks, bench.crop_scale, bench.test_crop),
        *(bench.test_interpolation, epochs),
    )
    assert (bench.augment, bench.crop_ratio, bench.stored_side) == ("crop", 4 / 3, None)
    assert (backbone.image_size, backbone.mean, backbone.std) == (224, 0, 1)
    assert not backbone.imagenet_stats and cell.order == "natural"


@pytest.mark.parametrize(("name", "tasks"), [("cifar100", 20), ("imagenet_r", 5)])
def test_another_number_of_tasks_is_another_cell(name, tasks):
    usual, other = compose({"bench": name}), compose({"bench": name, "bench.tasks": tasks})
    assert usual.id != other.id and other.bench.classes % tasks == 0
