"""Fashion-MNIST from IDX files: format, damage, and the real 70,000 images where installed."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from janus.config.compose import compose
from janus.data import load_bench as benches
from janus.data.__main__ import main
from janus.data.benches import fashion
from janus.errors import DataError
from janus.store.store import Store
from janus.training.loop import run_cell

INSTALLED = Path("/usr/share/datasets/fashion-mnist")
SMALL = {
    "bench": "fashion",
    "backbone": "toy",
    "bench.split_sha256": None,
    "train.epochs": 1,
    "train.batch_size": 16,
}


def idx(values: np.ndarray) -> bytes:
    """The IDX format as its page describes it, written independently of our reader."""
    sizes = b"".join(int(n).to_bytes(4, "big") for n in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()


@pytest.fixture
def folder(tmp_path):
    """40 training and 20 test images in the four files."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 40), ("test", 20)):
        labels = np.arange(count, dtype=np.uint8) % 10
        pixels = draw.integers(0, 200, (count, 28, 28)).astype(np.uint8)
        pixels[:, :5, :5] = labels[:, None, None] * 20
        for name, values in zip(fashion.FILES[split], (pixels, labels), strict=True):
            with gzip.open(tmp_path / name, "wb") as stream:
                stream.write(idx(values))
    return tmp_path


def config(folder, **more):
    return compose({**SMALL, "bench.root": str(folder), **more}).bench


def load(folder):
    return benches.read_originals(config(folder))


def test_idx_files_are_read_as_written(folder):
    bench = load(folder)
    assert bench.train.pixels.shape == (40, 1, 28, 28) and len(bench.test) == 20
    assert (bench.train.pixels[:, 0, 0, 0].long() == bench.train.labels * 20).all()


def test_the_hash_depends_on_content_and_not_on_compression(folder):
    before = load(folder).sha256
    path = folder / fashion.FILES["train"][0]
    plain = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(plain, compresslevel=1))
    assert load(folder).sha256 == before
    path.write_bytes(gzip.compress(plain[:-1] + b"\x07"))
    assert load(folder).sha256 != before


def test_files_that_are_not_the_declared_ones_are_refused(folder):
    declared = compose({"bench": "fashion"}).bench.split_sha256
    with pytest.raises(DataError, match="not the declared split"):
        benches.load_images(config(folder, **{"bench.split_sha256": declared}))


def test_missing_files_are_all_named_with_the_command_that_mends_it(folder):
    for name in fashion.FILES["test"]:
        (folder / name).unlink()
    with pytest.raises(DataError, match=r"t10k-images.*t10k-labels.*apt-get install"):
        load(folder)


@pytest.mark.parametrize("damage", ["cut", "no gzip", "empty", "huge header", "other type", "long"])
def test_damaged_files_are_one_clear_error(damage, folder):
    path = folder / fashion.FILES["train"][0]
    raw = path.read_bytes()
    plain = gzip.decompress(raw)
    path.write_bytes(
        {
            "cut": raw[: len(raw) // 2],
            "no gzip": plain,
            "empty": b"",
            "huge header": gzip.compress(plain[:4] + b"\xff" * 12 + plain[16:]),
            "other type": gzip.compress(plain[:2] + b"\x0d" + plain[3:]),
            "long": gzip.compress(plain + b"x"),
        }[damage]
    )
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz is"):
        load(folder)


def test_labels_of_another_number_of_images_are_refused(folder):
    train, test = (fashion.FILES[split][1] for split in ("train", "test"))
    (folder / train).write_bytes((folder / test).read_bytes())
    with pytest.raises(DataError, match="not images and their labels"):
        load(folder)


def spoil_test_files(folder):
    """Whoever opens them now gets an error."""
    for name in fashion.FILES["test"]:
        (folder / name).unlink()
        (folder / name).write_bytes(b"never looked at")


def test_validation_opens_no_test_file_of_a_set_that_was_checked(folder):
    words = [f"bench.root={folder}", "bench.tasks=5"]
    assert main(["check", "fashion", *words]) == 0
    declared = {"bench.split_sha256": load(folder).sha256, "eval": "validation"}
    spoil_test_files(folder)
    bench = benches.load_images(config(folder, **declared))
    assert torch.bincount(bench.train.labels).tolist() == [3] * 10
    assert torch.bincount(bench.test.labels).tolist() == [1] * 10
    path = folder / fashion.FILES["train"][1]
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[-1] ^= 1
    path.write_bytes(gzip.compress(raw))
    with pytest.raises(DataError, match=r"not the declared split.*janus\.data check"):
        benches.load_images(config(folder, **declared))


@pytest.mark.slow
@pytest.mark.skipif(not INSTALLED.is_dir(), reason=f"needs {fashion.INSTALL}")
def test_validation_on_the_published_images_opens_no_test_file(tmp_path):
    for pair in fashion.FILES.values():
        for name in pair:
            (tmp_path / name).symlink_to(INSTALLED / name)
    spoil_test_files(tmp_path)
    wanted = {"bench": "fashion", "bench.root": str(tmp_path), "eval": "validation"}
    bench = benches.load_images(compose(wanted).bench)
    assert (len(bench.train), len(bench.test)) == (48_000, 12_000)
    assert (INSTALLED / fashion.FILES["test"][0]).stat().st_size > 1000


@pytest.mark.slow
def test_a_method_trains_on_it_end_to_end(folder, tmp_path):
    declared = {"bench.root": str(folder), "bench.split_sha256": load(folder).sha256}
    cell = compose({**SMALL, **declared, "method": "seqlora"})
    result = run_cell(cell, Store(tmp_path / "runs"))
    assert result is not None and result["total"] == [4] * 5
    assert result["tasks"][0]["classes"] == ["T-shirt/top", "Trouser"]


@pytest.mark.skipif(not INSTALLED.is_dir(), reason=f"needs {fashion.INSTALL}")
def test_the_installed_images_are_the_declared_split():
    bench = benches.load_images(compose({"bench": "fashion_200"}).bench)
    assert torch.bincount(bench.train.labels).tolist() == [200] * 10
    assert torch.bincount(bench.test.labels).tolist() == [1000] * 10
