"""The split's hash names the images themselves: another file, another cell."""

from __future__ import annotations

import os

import pytest

from janus.compose import compose
from janus.data import bench as benches
from janus.data.__main__ import main
from janus.data.lists import DOMAINS
from janus.errors import DataError
from tests.janus import sets
from tests.janus.test_formats import TOY

SMALL = {
    "imagenet_r": {"bench.classes": 4, "bench.tasks": 2},
    "domainnet_domains": {"bench.classes": 2, "bench.tasks": 6},
    "folder": {"bench.tasks": 2},
}


def made(name, root):
    if name == "imagenet_r":
        return sets.imagenet_r(root)
    if name == "folder":
        return sets.class_folders(root, {"train": 3, "test": 2}, ("cat", "dog"))
    return sets.domainnet(root, DOMAINS, ("aircraft_carrier", "airplane"))


def cell_of(name, root):
    """The cell that a run plans after `check`, without looking at the images."""
    return compose({**TOY, "bench": name, "bench.root": str(root), **SMALL[name]})


def checked(name, root):
    words = [f"{key}={value}" for key, value in SMALL[name].items()]
    assert main(["check", name, f"bench.root={root}", *words]) == 0
    return cell_of(name, root).id


def exchange(one, other):
    before = one.read_bytes(), other.read_bytes()
    assert before[0] != before[1]
    one.write_bytes(before[1])
    other.write_bytes(before[0])


@pytest.mark.parametrize("name", list(SMALL))
def test_a_cell_is_another_one_when_two_images_are_exchanged(name, tmp_path):
    """The lists stay as they are, and so does the sum of all bytes."""
    root = made(name, tmp_path)
    before = checked(name, root)
    assert checked(name, root) == before
    images = sorted(root.rglob("*.jpg"))
    exchange(images[0], images[-1])
    with pytest.raises(DataError, match="not the declared split"):
        benches.load(cell_of(name, root).bench)
    assert checked(name, root) != before
    exchange(images[0], images[-1])
    assert checked(name, root) == before


def test_a_cell_is_another_one_when_two_lines_of_the_lists_are_exchanged(tmp_path):
    root = made("imagenet_r", tmp_path)
    before = checked("imagenet_r", root)
    train, test = (root / f"imagenet-r_{part}.yaml" for part in ("train", "test"))
    for path, (old, new) in {train: ("train_0", "test_0"), test: ("test_0", "train_0")}.items():
        line = f"{sets.WNIDS[0]}/{{}}.jpg"
        path.write_text(path.read_text().replace(line.format(old), line.format(new)))
    assert checked("imagenet_r", root) != before


def test_the_time_of_a_file_alone_changes_no_cell(tmp_path, caplog):
    root = made("folder", tmp_path)
    before = checked("folder", root)
    caplog.clear()
    os.utime(next(root.rglob("*.jpg")), (1, 1))
    assert checked("folder", root) == before
    assert "to check them" in caplog.text


def test_files_that_are_trained_on_and_tested_are_said(tmp_path, caplog):
    root = made("imagenet_r", tmp_path)
    path = root / "imagenet-r_test.yaml"
    path.write_text(path.read_text().replace("test_1", "train_1").replace("test_0", "train_1"))
    checked("imagenet_r", root)
    assert "4 files are trained on and tested, such as n01443537/train_1.jpg" in caplog.text
    assert "the test list names 4 files more than once" in caplog.text
