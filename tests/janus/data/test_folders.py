"""Folders of images as people bring them: names of splits, wrappers, other files, deep grey."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from janus.config.compose import compose
from janus.data.__main__ import bench_of, main
from janus.data.files.decoded import decode_image
from janus.data.load_bench import load_images, read_originals
from janus.errors import ConfigError, DataError
from tests.janus.data import sets

CLASSES = ("cat", "dog")


@pytest.fixture
def mine(tmp_path):
    root = sets.class_folders(tmp_path / "mine", {"train": 3, "test": 2}, CLASSES)
    for number, path in enumerate(sorted(root.rglob("*.jpg"))):  # no two are the same
        Image.new("RGB", (32, 32), (20 * number, 0, 99)).save(path)
    return root


def words(root):
    return [f"bench.root={root}", "bench.tasks=2"]


def found(root):
    return read_originals(bench_of("folder", {"bench.root": str(root), "bench.tasks": 2}))


@pytest.mark.parametrize("names", [("Train", "Test"), ("training", "TESTING"), ("train", "valid")])
def test_folders_of_a_split_are_known_by_other_names_and_it_is_said(names, mine):
    for old, new in zip(("train", "test"), names, strict=True):
        (mine / old).rename(mine / new)
    bench = found(mine)
    assert bench.class_names == CLASSES and len(bench.train) == 6 and len(bench.test) == 4
    assert f"{names[0]}/ and {names[1]}/ are taken for train/ and test/" in bench.notes


def test_folders_beside_train_and_test_are_said_to_be_left_out(mine):
    shutil.copytree(mine / "test", mine / "val")
    (mine / "__MACOSX/train").mkdir(parents=True)
    assert found(mine).notes == ("left out: the folder val/, beside train/ and test/",)


def test_two_folders_of_one_role_are_refused(mine):
    shutil.copytree(mine / "test", mine / "Testing")
    with pytest.raises(DataError, match="two folders for test: Testing and test"):
        found(mine)


def test_a_folder_that_a_zip_wraps_around_everything_is_no_class(mine, tmp_path):
    mine.rename(tmp_path / "inner")
    (tmp_path / "__MACOSX").mkdir()
    with pytest.raises(DataError, match=f"mean bench.root={tmp_path}/inner"):
        found(tmp_path)
    shutil.rmtree(tmp_path / "inner/test")
    (tmp_path / "inner/train").rename(tmp_path / "pictures")
    (tmp_path / "inner").rmdir()
    with pytest.raises(DataError, match=f"mean bench.root={tmp_path}/pictures"):
        found(tmp_path)


def test_a_split_inside_of_domains_is_refused(mine, tmp_path):
    mine.rename(tmp_path / "paris")
    given = {"bench.root": str(tmp_path), "bench.tasks": 1, "bench.scenario": "domain"}
    with pytest.raises(DataError, match="ROOT/train/DOMAIN/CLASS"):
        read_originals(bench_of("folder", given))


def test_systems_folders_are_no_classes(mine):
    for name in ("__MACOSX", "@eaDir", ".ipynb_checkpoints"):
        sets.save(mine / "train" / name / "x.png", 0, 0)
        sets.save(mine / "train/cat" / name / "x.png", 0, 0)
    assert found(mine).class_names == CLASSES and len(found(mine).train) == 6


@pytest.mark.parametrize("suffix", [".jfif", ".JPE", ".gif", ".pgm", ".ppm", ".bmp", ".webp"])
def test_images_of_other_suffixes_are_read(suffix, mine):
    kind = {".jfif": "JPEG", ".JPE": "JPEG", ".pgm": "PPM", ".ppm": "PPM"}.get(suffix, suffix[1:])
    Image.new("L", (32, 32), 9).save(mine / f"train/cat/x{suffix}", kind)
    bench = found(mine)
    assert len(bench.train) == 7
    (note,) = bench.notes
    assert note.startswith("images by suffix: ")
    assert f"1 {suffix.lower()}" in note and "10 .jpg" in note


def test_files_that_are_left_out_are_counted_by_suffix(mine, capsys):
    for name in ("a.svg", "b.SVG", "README", "Thumbs.db", ".DS_Store"):
        (mine / "train/dog" / name).touch()
    assert main(["check", "folder", *words(mine)]) == 0
    out = capsys.readouterr().out
    assert "left out: 2 files .svg\n" in out and "left out: 1 files without a suffix\n" in out
    assert "left out: 1 files .db" not in out and "DS_Store" not in out


def test_check_tells_of_images_in_both_parts_and_in_two_classes(mine, capsys):
    shutil.copy(mine / "train/cat/cat_0001.jpg", mine / "test/cat/leak.jpg")
    shutil.copy(mine / "train/cat/cat_0000.jpg", mine / "train/dog/twin.jpg")
    assert main(["check", "folder", *words(mine)]) == 0
    out = capsys.readouterr().out
    assert "1 images are trained on and tested" in out and "test/cat/leak.jpg" in out
    assert "1 images are in two classes" in out and "train/dog/twin.jpg" in out


def test_a_clean_split_is_checked_without_a_word_of_these(mine, capsys):
    assert main(["check", "folder", *words(mine)]) == 0
    out = capsys.readouterr().out
    assert "two classes" not in out and "tested" not in out and "left out" not in out


RAMP = np.tile(np.linspace(0, 1, 64), (8, 1))


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("x.png", (RAMP * 65535).astype("uint16")),
        ("x.tif", (RAMP * 65535).astype("uint16")),
        ("x.tif", RAMP.astype("float32")),
    ],
)
def test_deep_grey_keeps_its_levels(name, levels, tmp_path):
    Image.fromarray(levels).save(tmp_path / name)
    pixels = decode_image(tmp_path / name, None)
    assert pixels.shape == (8, 64, 3) and np.abs(pixels[..., 1] - RAMP * 255).max() < 1


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        (RAMP.astype("float32") * 255, "from 0 to 1, these from 0 to 255"),
        ((RAMP * 65535).astype("int32"), "32-bit levels have no known scale"),
    ],
)
def test_levels_without_a_scale_are_refused_by_name(levels, message, mine):
    Image.fromarray(levels).save(mine / "train/cat/deep.tif")
    with pytest.raises(DataError, match=rf"train/cat/deep\.tif .*{message}"):
        found(mine)


def test_a_deep_image_makes_the_split_another_than_its_bytes_did_before(mine, monkeypatch):
    Image.fromarray((RAMP * 65535).astype("uint16")).save(mine / "train/cat/deep.png")
    now = found(mine).sha256
    shutil.rmtree(mine / ".janus")
    monkeypatch.setattr("janus.data.files.scan.is_deep", lambda image: False)
    assert found(mine).sha256 != now


def test_names_that_are_no_utf8_are_refused_by_name(mine):
    strange = os.fsdecode(b"caf\xe9")
    for part in ("train", "test"):
        (mine / part / "cat").rename(mine / part / strange)
    with pytest.raises(DataError, match=r"5 file\(s\) in .*caf\\udce9.*convmv"):
        found(mine)


def test_the_commands_say_what_is_missing_or_too_much():
    with pytest.raises(DataError, match=r"prepare folder bench\.root=DIR"):
        main(["prepare", "folder"])
    with pytest.raises(ConfigError, match="list takes no more words, not 'x'"):
        main(["list", "x"])
    with pytest.raises(ConfigError, match="a/b"):
        main(["check", "folder", "bench.name=a/b"])


def test_a_run_says_that_images_changed_since_they_were_prepared(mine, caplog):
    for command in ("check", "prepare"):
        assert main([command, "folder", *words(mine)]) == 0
    given = {"bench": "folder", "backbone": "toy", "bench.root": str(mine), "bench.tasks": 2}
    config = compose(given).bench
    load_images(config)
    assert "since they were prepared" not in caplog.text
    (mine / "train/cat/cat_0000.jpg").unlink()
    shutil.copy(mine / "train/cat/cat_0001.jpg", mine / "train/cat/new.jpg")
    os.utime(mine / "test/dog/dog_0000.jpg", (1, 1))
    assert len(load_images(config).train) == 6
    assert "prepared: 1 changed, 1 gone, 1 new" in caplog.text


def test_a_run_says_that_a_class_was_added_since_its_images_were_prepared(mine, caplog):
    for command in ("check", "prepare"):
        assert main([command, "folder", *words(mine)]) == 0
    given = {"bench": "folder", "backbone": "toy", "bench.root": str(mine), "bench.tasks": 2}
    shutil.copytree(mine / "train/cat", mine / "train/bird")
    (mine / "train/.hidden").mkdir()
    load_images(compose(given).bench)
    count = len(list((mine / "train/bird").iterdir()))
    assert f"prepared: {count} new" in caplog.text
