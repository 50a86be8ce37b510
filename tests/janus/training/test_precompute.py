"""Features in place of images or beside them: an image passes once, whatever the cache holds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from janus.config.compose import compose
from janus.nn import vit
from janus.store.store import Store
from janus.training import precompute, set_up
from janus.training.loop import run_cell
from tests.conftest import toy_cell
from tests.janus.data.samples import declared, sample

TRAIN, TEST = 6 * 100, 2 * 100
"""Images of the toy cells below."""

SMALL = {"bench__test_per_class": 2, "train__epochs": 1}

methods = pytest.mark.parametrize(
    "cell",
    [
        toy_cell("ncm", **SMALL),
        toy_cell("linear_probe", **SMALL),
        pytest.param(toy_cell("joint_probe", **SMALL), marks=pytest.mark.slow),
        pytest.param(
            toy_cell("ranpac", method__projection=50, method__adapt=False, **SMALL),
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda cell: cell.method.name,
)


def committed(cell, folder: Path, features: Path | None = None) -> bytes:
    """Bytes of the result in a fresh store, which starts with `features`."""
    store = Store(folder)
    if features is not None:
        copy = shutil.copytree if features.is_dir() else shutil.copy
        store.root.mkdir()
        copy(features, store.root / "features")
    run_cell(cell, store, threads=1)
    return store.result_path(cell.id).read_bytes()


@pytest.fixture
def passed(monkeypatch) -> list[int]:
    """Images of every pass through a network that a run builds."""
    sizes: list[int] = []
    build = vit.build_recorded

    def counting(config, device):
        model, record = build(config, device)
        model.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
        return model, record

    monkeypatch.setattr(set_up, "build_recorded", counting)
    monkeypatch.setattr(precompute, "build_backbone", lambda *given: counting(*given)[0])
    return sizes


@methods
def test_same_bytes_and_every_image_once_whatever_the_cache_holds(cell, tmp_path, passed):
    cold = committed(cell, tmp_path / "cold")
    assert sum(passed) == TRAIN + TEST
    kept = sorted((tmp_path / "cold" / "features").glob("*/*.safetensors"))
    assert len(kept) == 2

    passed.clear()
    assert committed(cell, tmp_path / "warm", tmp_path / "cold" / "features") == cold
    assert not passed

    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")
    assert committed(cell, tmp_path / "none", blocked) == cold
    assert sum(passed) == TRAIN + TEST

    truncated = shutil.copytree(tmp_path / "cold" / "features", tmp_path / "truncated")
    foreign = shutil.copytree(tmp_path / "cold" / "features", tmp_path / "foreign")
    first, second = (path.relative_to(tmp_path / "cold" / "features") for path in kept)
    (truncated / first).write_bytes(kept[0].read_bytes()[:-4])
    content = bytearray(kept[1].read_bytes())
    content[-4] ^= 1  # the last bit of a number: only the digest tells
    (truncated / second).write_bytes(content)
    shutil.copy(kept[0], foreign / second)
    for number, features in enumerate([truncated, foreign]):
        passed.clear()
        store = tmp_path / f"damaged-{number}"
        assert committed(cell, store, features) == cold
        assert passed
        assert (store / "features" / second).read_bytes() != (features / second).read_bytes()


def test_orders_seeds_and_methods_share_features_but_settings_of_the_images_do_not(
    tmp_path, passed
):
    store = Store(tmp_path)
    run_cell(toy_cell("ncm", **SMALL), store, threads=1)
    passed.clear()
    for method in ("ncm", "linear_probe"):
        run_cell(toy_cell(method, order="5", seed=2, **SMALL), store, threads=1)
    assert not passed
    run_cell(toy_cell("ncm", **{**SMALL, "bench__test_per_class": 1}), store, threads=1)
    assert sum(passed) == TEST // 2
    passed.clear()
    run_cell(toy_cell("ncm", backbone__mean=0.25, **SMALL), store, threads=1)
    assert sum(passed) == TRAIN + TEST


def test_augmented_training_images_pass_in_every_epoch(tmp_path, passed):
    options = SMALL | {"train__epochs": 2}
    run_cell(toy_cell("linear_probe", bench__augment="shift", **options), Store(tmp_path))
    assert sum(passed) == 2 * TRAIN + TEST


@pytest.mark.slow
def test_test_images_pass_once_after_the_only_task_that_adapts(tmp_path, passed):
    cell = toy_cell("ranpac", method__projection=50, **SMALL)
    store = Store(tmp_path)
    run_cell(cell, store, threads=1)
    adapted, one_pass_each_task = TRAIN // 4, TRAIN
    assert sum(passed) == adapted + one_pass_each_task + TEST
    assert not (tmp_path / "features").exists()  # nobody else has this network


EVALUATED = TEST // 4 * (1 + 2 + 3 + 4)
"""Test images of four tasks, those of all tasks so far after each."""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["l2p_pp", "coda_prompt", "color"])
def test_queries_of_the_pretrained_network_pass_once_a_store(method, tmp_path, passed):
    cell = toy_cell(method, **SMALL)
    cold = committed(cell, tmp_path / "cold")
    # which expert takes images of past tasks is asked of the images
    diagnosed = TEST // 4 * (1 + 2 + 3) if method == "color" else 0
    assert sum(passed) == TRAIN + TEST + TRAIN + EVALUATED + diagnosed
    passed.clear()
    assert committed(cell, tmp_path / "warm", tmp_path / "cold" / "features") == cold
    assert sum(passed) == TRAIN + EVALUATED + diagnosed
    # the same features as those of methods that read nothing else
    run_cell(toy_cell("ncm", **SMALL), Store(tmp_path / "cold"), threads=1)
    assert len(list((tmp_path / "cold" / "features").glob("*/*.safetensors"))) == 2


@pytest.mark.slow
def test_queries_of_augmented_images_are_asked_for_in_every_epoch(tmp_path, passed):
    options = SMALL | {"train__epochs": 2}
    run_cell(toy_cell("l2p_pp", bench__augment="shift", **options), Store(tmp_path))
    assert sum(passed) == TEST + 2 * 2 * TRAIN + EVALUATED


@pytest.mark.slow
def test_test_images_pass_once_through_every_finished_adapter(tmp_path, passed, monkeypatch):
    cell = toy_cell("ease", method__bottleneck=4, **SMALL)
    once = json.loads(committed(cell, tmp_path / "once"))
    at_task_ends = TRAIN // 4 * (1 + 2 + 3 + 4)
    assert sum(passed) == TRAIN + at_task_ends + 4 * TEST

    passed.clear()
    monkeypatch.setattr(precompute, "MOST_BYTES", 0)
    always = json.loads(committed(cell, tmp_path / "always"))
    evaluated = TEST // 4 * (1 + 2 * 2 + 3 * 3 + 4 * 4)
    assert sum(passed) == TRAIN + at_task_ends + evaluated
    assert once["correct"] == always["correct"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["imagenet_r", "core50"])
@pytest.mark.parametrize("method", ["ease", "l2p_pp", "ranpac"])
def test_features_of_images_in_files(name, method, tmp_path):
    """Of differing sizes, and with one test set for all tasks."""
    options = {"method.bottleneck": 4} if method == "ease" else {}
    options |= {"method.projection": 50} if method == "ranpac" else {}
    cell = compose(declared(sample(name, tmp_path / "data")) | {"method": method} | options)
    once = run_cell(cell, Store(tmp_path / "once"), threads=1)
    store = Store(tmp_path / "stopped")
    for ended in range(1, cell.bench.tasks):
        assert run_cell(cell, store, threads=1, until_task=ended) is None
    assert run_cell(cell, store, threads=1) == once


def test_kept_features_are_mapped_not_copied(tmp_path):
    cell = toy_cell("ncm", **SMALL)
    store = Store(tmp_path)
    run_cell(cell, store, threads=1)
    path = next((tmp_path / "features").glob("*/*.safetensors"))
    from janus.training import checkpoint

    tensor = checkpoint.read_tree(path, mapped=True)["features"]
    address = tensor.untyped_storage().data_ptr()
    maps = Path("/proc/self/maps").read_text().splitlines()
    ranges = [line.split()[0].split("-") for line in maps if str(path) in line]
    assert any(int(low, 16) <= address < int(high, 16) for low, high in ranges)
    assert torch.isfinite(tensor).all()
