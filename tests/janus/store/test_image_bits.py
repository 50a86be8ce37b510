"""One bit per test image and task: true of each image, the same bytes after a kill, never lost."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from janus.config.cell import Cell
from janus.config.compose import compose
from janus.data import load_bench as benches
from janus.data.images.pixels import to_input
from janus.errors import DataError, RunError
from janus.store import correct_images, image_bits
from janus.store.image_bits import ImageBits, decode_bits, encode
from janus.store.store import Store
from janus.training import checkpoint
from janus.training.load_trained import load_trained
from janus.training.loop import run_cell
from tests.conftest import toy_cell
from tests.janus.data.samples import declared, sample

CPU = torch.device("cpu")


def some_bits(tasks: int = 3, images: int = 21, shared: bool = False) -> ImageBits:
    """Bits of no run. Images of later tasks are wrong, as they are in one."""
    draw = np.random.default_rng(0)
    task = draw.permutation(np.arange(images) % tasks)
    right = [draw.random(images) < 0.6 for _ in range(tasks)]
    if not shared:
        right = [row & (task <= t) for t, row in enumerate(right)]
    rows = np.packbits(np.array(right), axis=1)
    return ImageBits("a" * 64, images, tasks, None if shared else task, tuple(range(tasks)), rows)


def kept(cell: Cell, store: Store) -> ImageBits:
    """The bits of a finished cell, checked against its counts."""
    result = store.result(cell.id)
    assert result is not None
    return image_bits.load_bits(store.root, result["correct_images"], result["correct"])


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("tasks", [1, 3, 300])
def test_bits_come_back_as_they_were_written(tasks, shared):
    before = some_bits(tasks, 1000, shared)
    after = decode_bits(encode(before))
    assert (after.test_set, after.images, after.after) == ("a" * 64, 1000, tuple(range(tasks)))
    assert np.array_equal(after.rows, before.rows)
    assert (after.task is None) == shared
    assert shared or np.array_equal(after.task, before.task)


def test_the_file_reads_as_its_description_says():
    """By hand, from the text at the head of the module alone."""
    bits = some_bits()
    line, _, body = encode(bits).partition(b"\n")
    header = json.loads(line)
    assert (header["images"], header["tasks"], header["task_bytes"]) == (21, 3, 1)
    assert list(body[:21]) == bits.task.tolist()
    last = body[21 + 2 * 3 :]
    assert [bool(last[i // 8] >> (7 - i % 8) & 1) for i in range(21)] == bits.right().tolist()


def test_counts_are_those_of_the_images_of_each_task():
    bits = some_bits()
    for t, row in enumerate(bits.counts()):
        right = bits.right(t)
        assert row == [
            sum(bool(right[i]) for i in range(21) if bits.task[i] == j) for j in range(t + 1)
        ]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda c: b"", "no header"),
        (lambda c: c.replace(b'"images"', b'"pixels"'), "no header"),
        (lambda c: c.replace(b'"schema":1', b'"schema":2'), "schema 2"),
        (lambda c: c[:-1], "29 bytes for 3 rows of 21 images"),
        (lambda c: c.replace(b'"tasks":3', b'"tasks":2'), "beyond its 2"),
    ],
)
def test_bytes_that_are_no_such_file_are_refused(damage, said):
    with pytest.raises(DataError, match=said):
        decode_bits(damage(encode(some_bits())))


def test_a_file_is_used_only_with_its_own_name_and_counts(tmp_path):
    bits = some_bits()
    content = encode(bits)
    name = hashlib.sha256(content).hexdigest()
    with pytest.raises(DataError, match="cannot be read: No such file"):
        image_bits.load_bits(tmp_path, name, bits.counts())
    correct_images.keep_file(tmp_path, content)
    assert np.array_equal(image_bits.load_bits(tmp_path, name, bits.counts()).rows, bits.rows)
    others = [list(row) for row in bits.counts()]
    others[2][0] += 1
    with pytest.raises(DataError, match="do not add up"):
        image_bits.load_bits(tmp_path, name, others)
    path = correct_images.path_of(tmp_path, name)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 128]))
    with pytest.raises(DataError, match=r"\.bits is damaged"):
        image_bits.load_bits(tmp_path, name, bits.counts())
    correct_images.keep_file(tmp_path, content)  # the run that makes it again mends it
    assert path.read_bytes() == content


def right_now(cell: Cell, store: Store) -> list[bool]:
    """Whether each image of the bench's test set, in its own order, is right by the kept method."""
    method, test = load_trained(store.root, cell.id), benches.load_images(cell.bench).test
    order = (store.result(cell.id) or {})["class_order"]
    with torch.inference_mode(), method.context.autocast():
        logits, _ = method.predict(to_input(test.pixels, cell.backbone, CPU))
    return [
        order[k] == y for k, y in zip(logits.argmax(1).tolist(), test.labels.tolist(), strict=True)
    ]


def test_each_bit_is_of_its_image_whatever_the_order_of_classes(tmp_path):
    store, found = Store(tmp_path), []
    for order in ("3", "natural"):
        cell = toy_cell("ncm", order=order)
        run_cell(cell, store, threads=1, keep="final")
        found.append(kept(cell, store))
        assert found[-1].right().tolist() == right_now(cell, store)
    one, other = found
    assert one.test_set == other.test_set
    assert not np.array_equal(one.task, other.task)
    assert np.mean(one.right() == other.right()) > 0.9  # NCM hardly minds the order


@pytest.mark.parametrize(
    ("method", "more", "after"),
    [("joint", {"train__epochs": 1}, [3]), ("ncm", {"bench__eval": "validation"}, [0, 1, 2, 3])],
)
def test_bits_add_up_to_the_counts_of_every_measured_task(tmp_path, method, more, after):
    cell, store = toy_cell(method, **more), Store(tmp_path)
    result = run_cell(cell, store, threads=1)
    bits = kept(cell, store)
    assert list(bits.after) == after and bits.images == sum(result["total"])


def test_one_test_set_for_all_tasks_has_bits_after_every_task(tmp_path):
    cell = compose({**declared(sample("core50", tmp_path / "data")), "method": "ncm"})
    store = Store(tmp_path / "runs")
    run_cell(cell, store)
    bits = kept(cell, store)
    assert bits.task is None and len(bits.after) == 8 and bits.images == 18


def test_the_file_is_there_before_the_result_that_names_it(tmp_path, monkeypatch):
    cell, store = toy_cell("ncm"), Store(tmp_path)
    original = correct_images.keep_file

    def keep_and_look(root: Path, content: bytes) -> None:
        assert not store.done()
        original(root, content)
        raise OSError(28, "the process ends here")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="ends here"):
        patch.setattr(correct_images, "keep_file", keep_and_look)
        run_cell(cell, store, threads=1)
    (orphan,) = (tmp_path / "correct_images").glob("*/*.bits")
    result = run_cell(cell, store, threads=1)
    assert orphan.stem == result["correct_images"]
    assert list((tmp_path / "correct_images").glob("*/*")) == [orphan]


def forget_bits(store: Store, cell: Cell) -> None:
    """Make of the checkpoints those of a version that kept no bits."""
    for path in store.checkpoints(cell.id):
        tree = checkpoint.read_tree(path)
        del tree["right"]
        checkpoint.write_tree(path, tree)


def test_a_run_begun_before_there_were_bits_ends_with_the_same_result_and_none(tmp_path):
    cell = toy_cell("ncm")
    whole, old = Store(tmp_path / "whole"), Store(tmp_path / "old")
    complete = run_cell(cell, whole, threads=1)
    run_cell(cell, old, threads=1, until_task=2)
    forget_bits(old, cell)
    run_cell(cell, old, threads=1, until_task=3)
    result = run_cell(cell, old, threads=1)
    assert "correct_images" not in result and not (old.root / "correct_images").exists()
    assert {**result, "correct_images": complete["correct_images"]} == complete
    assert correct_images.same_facts(result, complete)


def test_results_agree_that_differ_in_naming_bits_and_disagree_about_other_bits(tmp_path):
    cell, store = toy_cell(), Store(tmp_path)
    claim = store.claim(cell)
    record: dict[str, Any] = {"id": cell.id, "value": 1}
    claim.commit(record, {})
    claim.commit({**record, "correct_images": "a"}, {})  # the same facts: fine
    assert store.result(cell.id) == record  # what is committed is never edited
    with pytest.raises(RunError, match="another result"):
        claim.commit({**record, "value": 2, "correct_images": "a"}, {})
    assert not correct_images.same_facts({"correct_images": "a"}, {"correct_images": "b"})


def test_writing_bits_that_are_there_makes_them_young_again(tmp_path):
    """`gc` leaves young files alone: the run that names these may be about to commit."""
    content = encode(some_bits())
    correct_images.keep_file(tmp_path, content)
    path = correct_images.path_of(tmp_path, correct_images.content_name(content))
    os.utime(path, (1, 1))
    correct_images.keep_file(tmp_path, content)
    assert path.stat().st_mtime > 1e9


def test_the_page_reads_a_file_as_it_says(tmp_path, monkeypatch):
    """The lines of docs/runs.md, run on a file."""
    text = (Path(__file__).resolve().parents[3] / "docs/runs.md").read_text()
    (lines,) = re.findall(r"```python\n(import json\n.*?)```", text, re.S)
    bits = some_bits()
    (tmp_path / "one.bits").write_bytes(encode(bits))
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(lines.replace("runs/correct_images/ab/<sha256>.bits", "one.bits"), found)
    assert np.array_equal(found["task"], bits.task)
    assert np.array_equal(found["right"], [bits.right(t) for t in range(3)])


def test_a_test_set_is_named_by_its_split_labels_and_domains_in_their_order():
    labels, domains = np.array([0, 1, 1]), np.array([0, 0, 1])
    name = image_bits.name_of_test_set("split", labels, domains)
    assert name == image_bits.name_of_test_set("split", labels.astype(np.int32), domains)
    others = [("other", labels, domains), ("split", labels[::-1], domains)]
    others += [("split", labels, domains[::-1]), ("split", labels[:2], domains[:2])]
    assert name not in {image_bits.name_of_test_set(*other) for other in others}
