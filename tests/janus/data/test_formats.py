"""Every bench in its real on-disk format, read, cut and trained on."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import time

import numpy as np
import pytest
import torch
from scipy.io import savemat

from janus.config.compose import compose
from janus.data import load_bench as benches
from janus.data.__main__ import main
from janus.data.benches import cifar, list_files
from janus.data.benches.list_files import DOMAINS
from janus.data.files import memory_mapped
from janus.data.images.flat_images import FlatImages
from janus.data.stream import cut
from janus.errors import DataError
from janus.store.store import Store
from janus.training.loop import run_cell
from tests.janus.data import sets
from tests.janus.data.samples import BIRDS, CARS, CPU, declared, given, sample

NAMES = ["cifar100", "imagenet_r", "domainnet", "domainnet_domains", "cub200", "imagenet100"]
NAMES += ["folder", "core50", "cars"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_method_trains_on_the_real_format(name, tmp_path):
    overrides = declared(sample(name, tmp_path / "data"))
    cell = compose({**overrides, "method": "seqlora"})
    result = run_cell(cell, Store(tmp_path / "runs"))
    assert result is not None
    bench = benches.load_images(cell.bench)
    assert sum(result["total"]) == len(bench.test) > 0
    assert result["split_sha256"] == cell.bench.split_sha256


def test_cifar_pickles_of_python_2_are_read_as_written(tmp_path):
    bench = benches.read_originals(compose(sample("cifar100", tmp_path)).bench)
    assert bench.train.pixels.shape == (20, 3, 32, 32) and bench.class_names[1] == "class1"
    for image, label in zip(bench.train.pixels, bench.train.labels.tolist(), strict=True):
        assert image[:, 10, 10].tolist() == [label * 67 % 256, label * 151 % 256, label * 29 % 256]


class Bomb:
    """Creates a file when an ordinary reader unpickles it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("place", ["whole", "inside"])
def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(place, tmp_path):
    root = sets.cifar(tmp_path / "data")
    bomb = Bomb(tmp_path / "ran")
    (root / "cifar-100-python/train").write_bytes(
        pickle.dumps(bomb if place == "whole" else {"data": bomb, "fine_labels": []}, protocol=2)
    )
    with pytest.raises(DataError, match=r"names .*open"):
        benches.read_originals(compose(given("cifar100", root)).bench)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "no labels", "short labels", "shape"])
def test_damaged_cifar_files_are_one_clear_error(damage, tmp_path):
    root = sets.cifar(tmp_path / "data")
    path = root / "cifar-100-python/train"
    record, _ = cifar.read_pickle(path)
    whole = path.read_bytes()
    changed = {
        "no labels": {k: v for k, v in record.items() if k != "fine_labels"},
        "short labels": record | {"fine_labels": record["fine_labels"][:-1]},
        "shape": record | {"data": record["data"][:, :3000].copy()},
    }
    content = {"cut": whole[: len(whole) // 2], "empty": b"", "text": b"no pickle at all"}
    content |= {name: pickle.dumps(value, protocol=2) for name, value in changed.items()}
    path.write_bytes(content[damage])
    with pytest.raises(DataError, match=r"cifar-100-python/train is not a CIFAR pickle"):
        benches.read_originals(compose(given("cifar100", root)).bench)


def test_the_published_cifar_files_are_declared():
    assert compose({"bench": "cifar100"}).bench.split_sha256 == cifar.split_hash(cifar.MD5)


def test_the_splits_of_imagenet_r_are_told_apart_by_name(tmp_path):
    """The same list files: another numbering, another first task, another hash."""
    overrides = sample("imagenet_r", tmp_path)
    by_wnid = benches.read_originals(compose(overrides).bench)
    as_listed = benches.read_originals(compose({**overrides, "bench.split": "coda_listed"}).bench)
    assert by_wnid.class_names == tuple(sorted(sets.WNIDS))
    assert as_listed.class_names == sets.WNIDS
    assert by_wnid.sha256 != as_listed.sha256
    image = by_wnid.train.store.image(0), as_listed.train.store.image(0)
    assert torch.equal(*image)
    with pytest.raises(DataError, match="Did you mean 'coda_sorted'"):
        benches.read_originals(compose({**overrides, "bench.split": "coda_sortd"}).bench)


def test_lists_that_are_not_the_published_ones_are_said_to_be_others(tmp_path, monkeypatch, caplog):
    config = compose(sample("imagenet_r", tmp_path)).bench
    benches.read_originals(config)
    assert "imagenet-r_train.yaml and imagenet-r_test.yaml: not the published" in caplog.text
    files = {part: tmp_path / f"imagenet-r_{part}.yaml" for part in ("train", "test")}
    named = {
        p: subprocess.check_output(["git", "hash-object", f], text=True) for p, f in files.items()
    }
    monkeypatch.setattr(list_files, "CODA_BLOBS", {part: name[:8] for part, name in named.items()})
    caplog.clear()
    benches.read_originals(config)
    assert "published" not in caplog.text


@pytest.mark.parametrize("below", ["", "imagenet-r"])
def test_imagenet_r_in_train_and_test_folders_is_a_split_of_its_own(below, tmp_path):
    sets.class_folders(tmp_path / below, {"train": 3, "test": 2}, sets.WNIDS)
    overrides = given("imagenet_r", tmp_path, classes=4, tasks=2, split="folders")
    bench = benches.read_originals(compose(overrides).bench)
    assert (len(bench.train), len(bench.test)) == (12, 8)


def test_the_devkit_of_cars_gives_labels_names_and_order(tmp_path):
    overrides = sample("cars", tmp_path)
    bench = benches.read_originals(compose(overrides).bench)
    assert bench.class_names == CARS and (len(bench.train), len(bench.test)) == (9, 6)
    assert bench.train.labels.tolist() == [0, 1, 2] * 3
    assert bench.test.store.paths[4] == "cars_test/00005.jpg"
    labelled = tmp_path / "cars_test_annos_withlabels.mat"
    labelled.rename(tmp_path / "devkit" / labelled.name)
    assert benches.read_originals(compose(overrides).bench).sha256 == bench.sha256


@pytest.mark.parametrize("damage", ["cut", "no class", "out of range", "missing"])
def test_damaged_annotations_of_cars_are_one_clear_error(damage, tmp_path):
    overrides = sample("cars", tmp_path)
    path = tmp_path / "devkit/cars_train_annos.mat"
    rows = np.array([[("00001.jpg", 4)]], dtype=[("fname", object), ("class", object)])
    unlabelled = np.array([[("00001.jpg",)]], dtype=[("fname", object)])
    content = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage != "missing":
        savemat(path, {"annotations": rows if damage == "out of range" else unlabelled})
    with pytest.raises(DataError, match=r"cars_train_annos\.mat"):
        benches.read_originals(compose(overrides).bench)


def test_domains_follow_the_published_order(tmp_path):
    cell = compose(declared(sample("domainnet_domains", tmp_path) | {"bench.tasks": 6}))
    stream = cut(benches.load_images(cell.bench), cell, CPU)
    assert list(stream.names) == [(d,) for d in DOMAINS]
    assert all(task.classes == 2 and len(task.train) == 6 for task in stream.tasks)


@pytest.mark.slow
def test_a_list_of_400000_lines_is_read_in_under_two_seconds(tmp_path):
    rows = [(f"data/DomainNet/real/zebra/real_345_{n:06d}.jpg", n % 345) for n in range(400_000)]
    sets.yaml_list(tmp_path / "list.yaml", rows)
    start = time.process_time()
    paths, targets = list_files.read_yaml_list(tmp_path / "list.yaml")
    assert time.process_time() - start < 2
    assert (len(paths), paths[-1], targets[344]) == (400_000, rows[-1][0], 344)


def test_the_chosen_classes_come_in_the_order_of_their_list(tmp_path):
    bench = benches.read_originals(compose(sample("imagenet100", tmp_path)).bench)
    assert bench.class_names == ("n07697313", "n01443537") and len(bench.train) == 6


def test_without_a_test_folder_a_fixed_fifth_of_each_class_is_tested(tmp_path):
    overrides = sample("folder", tmp_path)
    bench = benches.read_originals(compose(overrides).bench)
    assert torch.bincount(bench.test.labels).tolist() == [1, 1]
    held = set(bench.test.store.paths)
    assert not held & set(bench.train.store.paths)
    elsewhere = sets.class_folders(tmp_path / "copy", {"": 5}, ("cat", "dog"))
    again = benches.read_originals(compose({**overrides, "bench.root": str(elsewhere)}).bench)
    assert again.sha256 == bench.sha256 and set(again.test.store.paths) == held


@pytest.mark.parametrize("name", ["cub200", "imagenet_a", "imagenet_r", "vtab", "cars"])
def test_a_published_split_is_never_replaced_by_one_of_our_own(name, tmp_path):
    """The official CUB download, say, is class folders without train/ and test/."""
    root = sets.class_folders(tmp_path, {"": 5}, BIRDS)
    overrides = given(name, root, classes=3, tasks=3, split="folders")
    with pytest.raises(DataError, match=r"no folders train and test.*bench=folder"):
        benches.read_originals(compose(overrides).bench)


def test_a_folder_of_domains_is_domain_incremental(tmp_path):
    for domain in ("photo", "sketch"):
        sets.class_folders(tmp_path / domain, {"": 5}, ("cat", "dog"))
    overrides = given("folder", tmp_path, classes=2, tasks=2, scenario="domain")
    bench = benches.read_originals(compose(overrides).bench)
    assert bench.domain_names == ("photo", "sketch") and bench.class_names == ("cat", "dog")
    assert torch.bincount(bench.train.domains).tolist() == [8, 8]


@pytest.mark.parametrize("name", ["cifar100", "imagenet_r"])
@pytest.mark.parametrize("side", [None, 24])
def test_prepared_images_train_exactly_as_the_files_do(name, side, tmp_path):
    overrides = {**sample(name, tmp_path), "bench.stored_side": side}
    cell = compose(declared(overrides))

    def batches():
        stream = cut(benches.load_images(cell.bench), cell, CPU)
        yield from (b.images for b in stream.tasks[1].train_batches(0))
        yield from (b.images for b in stream.tasks[0].plain_batches())

    before = list(batches())
    folder = memory_mapped.write_prepared(benches.read_originals(cell.bench), cell.bench)
    assert (
        memory_mapped.find_prepared(cell.bench) is not None
        and memory_mapped.altered_arrays(cell.bench) == []
    )
    after = list(batches())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    raw = bytearray((folder / "train.u8").read_bytes())
    raw[7] ^= 1
    (folder / "train.u8").write_bytes(raw)
    assert memory_mapped.altered_arrays(cell.bench) == ["train"]
    (folder / "train.u8").write_bytes(raw[:-1])
    with pytest.raises(DataError, match=r"damaged.*janus\.data prepare"):
        benches.load_images(cell.bench)


def test_preparing_again_does_not_touch_what_a_run_has_mapped(tmp_path):
    """Written in place, the shorter file would end the run with SIGBUS."""
    config = compose(sample("cifar100", tmp_path)).bench
    bench = benches.read_originals(config)
    memory_mapped.write_prepared(bench, config)
    mapped = memory_mapped.find_prepared(config)
    few = dataclasses.replace(bench, train=bench.train.take(torch.arange(20).flip(0)))
    memory_mapped.write_prepared(few, config)
    assert torch.equal(mapped.train.pixels, bench.train.pixels)
    assert torch.equal(memory_mapped.find_prepared(config).train.pixels, few.train.pixels)


def test_benches_in_one_cache_folder_keep_apart(tmp_path):
    """Both are class folders, whose split has the same name."""
    classes = {"cub200": BIRDS, "imagenet_a": ("n1", "n2", "n3")}
    configs = {}
    for name, folders in classes.items():
        root = sets.class_folders(tmp_path / name, {"train": 3, "test": 2}, folders)
        overrides = given(name, root, classes=3, tasks=3, cache=str(tmp_path / "cache"))
        words = [f"{k}={v}" for k, v in overrides.items() if k.startswith("bench.") and v]
        for command in ("check", "prepare"):
            assert main([command, name, *words]) == 0
        configs[name] = compose(overrides).bench
    for name, config in configs.items():
        bench = benches.load_images(config)
        assert isinstance(bench.train.store, FlatImages) and bench.class_names == classes[name]


def test_a_split_that_nobody_declared_is_not_trained_on(tmp_path):
    overrides = sample("cifar100", tmp_path)
    with pytest.raises(DataError, match=r"not declared.*bench\.split_sha256=[0-9a-f]{64}"):
        benches.load_images(compose(overrides).bench)


@pytest.mark.parametrize("ready", [False, True])
def test_validation_opens_no_test_file_of_cifar(ready, tmp_path):
    """Nor, once the bench is prepared, the array of its test images."""
    root = sets.cifar(tmp_path)
    words = [f"bench.root={root}", "bench.classes=4", "bench.tasks=2"]
    for command in ("check", "prepare") if ready else ("check",):
        assert main([command, "cifar100", *words]) == 0
    overrides = declared(given("cifar100", root, classes=4, tasks=2))
    (root / "cifar-100-python/test").write_bytes(b"never looked at")
    pixels = compose(overrides).bench.prepared_folder / "test.u8"
    pixels.unlink(missing_ok=True)
    bench = benches.load_images(compose({**overrides, "eval": "validation"}).bench)
    assert (len(bench.train), len(bench.test)) == (16, 4)


def test_validation_opens_no_test_file(tmp_path):
    overrides = declared(sample("imagenet_r", tmp_path))
    tuning = compose({**overrides, "eval": "validation"}).bench
    with pytest.raises(DataError, match=r"no record.*janus\.data check imagenet_r"):
        benches.load_images(tuning)
    words = [f"bench.root={tmp_path}", "bench.classes=4", "bench.tasks=2"]
    assert main(["check", "imagenet_r", *words]) == 0
    for path in (tmp_path / "imagenet-r").rglob("test_*.jpg"):
        path.write_bytes(b"never looked at")
    for path in (tmp_path / ".janus").glob("examined-*"):
        path.unlink()
    bench = benches.load_images(tuning)
    assert len(bench.test) == 4 and len(bench.train) == 12


def test_sessions_share_one_test_set_and_have_a_curve_but_no_bwt(tmp_path):
    cell = compose({**declared(sample("core50", tmp_path / "data")), "method": "ncm"})
    result = run_cell(cell, Store(tmp_path / "runs"))
    assert result is not None
    assert result["total"] == [18] and [len(row) for row in result["correct"]] == [1] * 8
    assert [task["classes"] for task in result["tasks"]][:3] == [["s1"], ["s2"], ["s4"]]
    metrics = result["metrics"]
    curve = [row[0] / 18 for row in result["correct"]]
    assert metrics["acc"] == curve[-1] and metrics["maa"] == pytest.approx(sum(curve) / 8)
    assert metrics["bwt"] is metrics["forgetting"] is metrics["learning_acc"] is None


def test_check_shows_a_shared_test_set_beside_every_task(tmp_path, capsys):
    words = [f"bench.root={sets.core50(tmp_path, 3)}", "bench.classes=3"]
    assert main(["check", "core50", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "all tasks have the same test images" in lines[1]
    assert [line.split()[:3] for line in lines[2:10]] == [[f"{n}", "6", "18"] for n in range(1, 9)]


def test_a_resumed_run_sees_the_same_crops_of_files(tmp_path):
    cell = compose({**declared(sample("imagenet_r", tmp_path)), "train.batch_size": 2})
    task = cut(benches.load_images(cell.bench), cell, CPU).tasks[0]
    whole, tail = list(task.train_batches(3)), list(task.train_batches(3, start=2))
    assert len(tail) == len(whole) - 2
    assert all(torch.equal(a.images, b.images) for a, b in zip(whole[2:], tail, strict=True))
    other = next(iter(task.train_batches(4)))
    assert not torch.equal(whole[0].images, other.images)


def test_a_result_does_not_say_where_the_images_lay(tmp_path):
    cells = [
        compose({**declared(sample("cifar100", tmp_path / name)), "method": "ncm"})
        for name in ("here", "there")
    ]
    one, two = (Store(tmp_path / f"runs{n}") for n in range(2))
    assert run_cell(cells[0], one) == run_cell(cells[1], two)
