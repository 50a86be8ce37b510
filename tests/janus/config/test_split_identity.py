"""The split's hash names the images themselves: another file, another cell."""

from __future__ import annotations

import os

import pytest
from PIL import Image, ImageOps

from janus.config.compose import compose
from janus.data import load_bench as benches
from janus.data.__main__ import main
from janus.data.benches.list_files import DOMAINS
from janus.data.images.flat_images import FlatImages
from janus.errors import ConfigError, DataError
from tests.janus.data import sets
from tests.janus.data.samples import TOY

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
        benches.load_images(cell_of(name, root).bench)
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


@pytest.mark.parametrize("name", ["imagenet_r", "folder"])
def test_two_data_sets_that_share_a_cache_stay_two(name, tmp_path):
    """Same bench, same file names, sizes and times, other pixels: neither serves the other."""
    cache = {"bench.cache": str(tmp_path / "cache")}
    words = [f"{key}={value}" for key, value in (SMALL[name] | cache).items()]

    def cell(root):
        return compose({**TOY, "bench": name, "bench.root": str(root), **SMALL[name], **cache})

    dark, bright = (made(name, tmp_path / part) for part in ("dark", "bright"))
    for file in bright.rglob("*.jpg"):
        ImageOps.invert(Image.open(file)).save(file, quality=92)
    for file in tmp_path.rglob("*.jpg"):
        file.write_bytes(file.read_bytes().ljust(8192, b"\0"))  # what follows a JPEG is not read
        os.utime(file, (1, 1))
    for command in ("check", "prepare"):
        assert main([command, name, f"bench.root={dark}", *words]) == 0
    first = cell(dark)
    with pytest.raises(
        (ConfigError, DataError), match=r"check \w+ bench.root=\S+bright bench.cache="
    ):
        benches.load_images(cell(bright).bench)
    assert main(["check", name, f"bench.root={bright}", *words]) == 0
    second = cell(bright)
    loaded = [benches.load_images(c.bench).train for c in (first, second)]
    assert [isinstance(train.store, FlatImages) for train in loaded] == [True, False]
    pixels = [next(iter(train.store.read(train.where()[:1]))).float() for train in loaded]
    assert first.id != second.id and (pixels[0] + pixels[1]).mean() == pytest.approx(255, abs=2)
    assert cell(dark).id == first.id


def test_a_root_shares_its_cache_with_itself_however_it_is_written(tmp_path, monkeypatch):
    root = made("folder", tmp_path / "mine")
    cache = f"bench.cache={tmp_path / 'cache'}"
    for command in ("check", "prepare"):
        assert main([command, "folder", f"bench.root={root}", "bench.tasks=2", cache]) == 0
    (tmp_path / "link").symlink_to(root, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for same in ("link", "mine", "~/mine", "link/../mine/."):
        request = {**TOY, "bench": "folder", "bench.root": same, **SMALL["folder"]}
        bench = compose(request | {"bench.cache": str(tmp_path / "cache")}).bench
        assert isinstance(benches.load_images(bench).train.store, FlatImages)
