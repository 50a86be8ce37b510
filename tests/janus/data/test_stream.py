"""Streams, orders, validation split, batches, and data that is not as declared."""

from __future__ import annotations

import dataclasses
import threading

import pytest
import torch

from janus.config.compose import compose
from janus.data import load_bench as benches
from janus.data.glyphs import bundle
from janus.data.images.augment import augment
from janus.data.stream import cut, make_order
from janus.errors import ConfigError, DataError
from janus.keyed_random import generator
from tests.conftest import toy_cell

CPU = torch.device("cpu")


def stream_of(**overrides):
    cell = toy_cell(**overrides)
    return cut(benches.load_images(cell.bench), cell, CPU)


def test_orders_are_permutations_with_fixed_values():
    """Golden values: a change of numpy's generator would silently change every seeded order."""
    assert make_order("natural", list(map(str, range(4)))) == [0, 1, 2, 3]
    assert make_order("0", list(map(str, range(10)))) == [4, 6, 2, 7, 3, 5, 9, 0, 8, 1]
    assert sorted(make_order("7", list(map(str, range(100))))) == list(range(100))


def test_labels_are_numbered_by_appearance():
    stream = stream_of(order="3")
    bench = benches.load_images(toy_cell().bench)
    first = 0
    for task, test in zip(stream.tasks, stream.tests, strict=True):
        assert task.first == first and task.classes == 25
        for part in (task.train, test):
            assert sorted(part.labels.unique().tolist()) == list(range(first, first + 25))
        # the pixels behind a new label are those of the class that the order names
        label = first + 4
        mine = test.pixels[test.labels == label]
        theirs = bench.test.pixels[bench.test.labels == stream.order[label]]
        assert torch.equal(mine, theirs)
        first += 25


def test_uneven_task_sizes_cover_every_class():
    stream = stream_of(bench__tasks=7)
    assert [t.classes for t in stream.tasks] == [15, 15, 14, 14, 14, 14, 14]
    assert stream.tasks[-1].seen == 100


def test_domain_stream_keeps_all_classes_in_every_task():
    stream = stream_of(bench="glyphs_styles", bench__tasks=5, order="1")
    for task in stream.tasks:
        assert task.classes == 100 and task.first == 0 and len(task.train.domains.unique()) == 1
    assert [t.fresh for t in stream.tasks] == [100, 0, 0, 0, 0]


def test_batches_are_the_same_for_every_method_and_for_a_resumed_run():
    mine, theirs = stream_of(), stream_of(method="seqlora", method__lr=0.5)
    whole = list(mine.tasks[1].train_batches(1))
    again = list(theirs.tasks[1].train_batches(1))
    assert all(torch.equal(a.images, b.images) for a, b in zip(whole, again, strict=True))
    tail = list(mine.tasks[1].train_batches(1, start=4))
    assert all(torch.equal(a.images, b.images) for a, b in zip(whole[4:], tail, strict=True))
    assert not torch.equal(whole[0].images, next(iter(mine.tasks[1].train_batches(0))).images)
    other = stream_of(seed=1).tasks[1].train_batches(1)
    assert not torch.equal(whole[0].images, next(iter(other)).images)


def test_crops_do_not_depend_on_the_number_of_threads():
    """With several, a thread of its own makes them, with one thread of torch."""
    task = stream_of(bench__augment="crop").tasks[0]
    before, names = torch.get_num_threads(), set()

    def batches(threads):
        torch.set_num_threads(threads)
        for batch in task.train_batches(0):
            names.add((threads, any(t.name.startswith("janus-b") for t in threading.enumerate())))
            yield batch.images

    try:
        one, two = (list(batches(threads)) for threads in (1, 2))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert names == {(1, False), (2, True)}


def test_validation_never_touches_test_images_and_is_the_same_for_all_seeds():
    config = compose({"eval": "validation"}).bench
    held = benches.load_images(config)
    full = benches.load_images(compose({}).bench)
    assert len(held.train) + len(held.test) == len(full.train)
    counts = torch.bincount(held.test.labels)
    assert counts.min() == counts.max() == 12  # 20 % of 60

    def keys(images):
        return {p.numpy().tobytes() for p in images.pixels}

    assert not keys(held.test) & keys(full.test)
    assert keys(held.test) <= keys(full.train)


def test_validation_holds_out_whole_font_families_where_it_can():
    held = benches.load_images(compose({"eval": "validation"}).bench)
    inside = set(held.train.groups.tolist())
    outside = [g for g in held.test.groups.tolist() if g not in inside]
    assert len(outside) > 0.4 * len(held.test)


def test_cap_keeps_that_many_per_class():
    caps = {"bench.train_per_class": 7, "bench.test_per_class": 3}
    test = benches.load_images(compose(caps).bench).test
    assert torch.bincount(test.labels).tolist() == [3] * 100
    capped = benches.load_images(compose(caps).bench).train
    assert torch.bincount(capped.labels).tolist() == [7] * 100


def test_data_that_is_not_the_declared_split_is_refused():
    config = dataclasses.replace(compose({}).bench, split_sha256="0" * 64)
    with pytest.raises(DataError, match="not the declared split"):
        benches.load_images(config)


@pytest.mark.parametrize("damage", ["truncate", "garbage", "empty", "missing"])
def test_damaged_data_is_one_clear_error(damage, tmp_path, monkeypatch):
    raw = bundle.PATH.read_bytes()
    path = tmp_path / "glyphs.npz"
    if damage != "missing":
        content = {"truncate": raw[: len(raw) // 2], "garbage": b"x" * 999, "empty": b""}
        path.write_bytes(content[damage])
    monkeypatch.setattr(bundle, "PATH", path)
    with pytest.raises(DataError, match=r"glyphs\.npz"):
        benches.load_images(compose({}).bench)


def test_everything_wrong_with_a_bench_is_named_at_once():
    bench = benches.load_images(compose({}).bench)
    empty = bench.test.take((bench.test.labels != 5).nonzero()[:, 0])
    broken = dataclasses.replace(bench, test=empty)
    config = dataclasses.replace(compose({}).bench, classes=99)
    with pytest.raises(DataError, match=r"100 classes.*no test images of"):
        benches._check(config, broken)


def test_shift_moves_whole_pixels():
    images = torch.rand(5, 1, 32, 32)
    moved = augment("shift", images, generator("t"))
    for before, after in zip(images, moved, strict=True):
        inner = after[:, 4:-4, 4:-4]
        found = [
            torch.equal(inner, before[:, 4 + dy : 28 + dy, 4 + dx : 28 + dx])
            for dy in range(-2, 3)
            for dx in range(-2, 3)
        ]
        assert sum(found) == 1


def test_unknown_augmentation_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'shift'"):
        augment("shfit", torch.zeros(1, 1, 32, 32), generator("t"))
