"""What can be wrong with image files: found before training, all of it named in one message."""

from __future__ import annotations

import struct
import zlib

import pytest

from janus.config.compose import compose
from janus.data import load_bench as benches
from janus.data.__main__ import main
from janus.data.benches import cifar
from janus.data.files import scan
from janus.errors import DataError
from janus.store.store import Store
from janus.training.loop import run_cell
from tests.janus.data import sets
from tests.janus.data.samples import BIRDS, declared, given


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces this size; its pixels would be zeros."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.fixture
def birds(tmp_path):
    return sets.class_folders(tmp_path / "birds", {"train": 6, "test": 2}, BIRDS)


def read(root, **more):
    return benches.read_originals(compose(given("cub200", root, classes=3, tasks=3, **more)).bench)


def test_everything_wrong_is_named_in_one_message(birds, tmp_path):
    cut = birds / "train" / BIRDS[0] / f"{BIRDS[0]}_0003.jpg"
    cut.write_bytes(cut.read_bytes()[:300])
    (birds / "train" / BIRDS[1] / "empty.jpg").write_bytes(b"")
    (birds / "train" / BIRDS[1] / "huge.png").write_bytes(png_header(30_000, 20_000))
    (birds / "train" / BIRDS[1] / "large.png").write_bytes(png_header(12_000, 10_000))
    sets.save(birds / "train" / BIRDS[1] / "strip.png", 0, 0, (1, 1500))
    sets.save(tmp_path / "elsewhere/secret.jpg", 0, 0)
    (birds / "train" / BIRDS[2] / "link.jpg").symlink_to(tmp_path / "elsewhere/secret.jpg")
    (birds / "train" / BIRDS[2] / "dead.jpg").symlink_to(birds / "nothing.jpg")
    for path in (birds / "test" / BIRDS[2]).iterdir():
        path.unlink()
    with pytest.raises(DataError) as caught:
        read(birds)
    message = str(caught.value)
    assert message.startswith("8 problem(s) with bench cub200")
    for name in ("_0003.jpg", "empty.jpg", "huge.png", "large.png has 120 mega", "link.jpg is a"):
        assert name in message
    assert "strip.png is a strip of 1500 x 1 pixels" in message
    assert "dead.jpg is missing" in message and f"no test images of {BIRDS[2]}" in message


def test_a_class_folder_that_is_a_link_out_is_refused(birds, tmp_path):
    sets.save(tmp_path / "elsewhere/secret.jpg", 0, 0)
    (birds / "train" / "004.Linked").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"004\.Linked/secret\.jpg is a link out"):
        read(birds)


def test_a_linked_folder_of_images_is_refused_not_passed_over(birds, tmp_path):
    sets.save(tmp_path / "elsewhere/more.jpg", 0, 0)
    (birds / "train" / BIRDS[0] / "out").symlink_to(tmp_path / "elsewhere")
    (birds / "train" / BIRDS[0] / "in").symlink_to(birds / "train" / BIRDS[1])
    with pytest.raises(DataError, match=r"/in is no file.*/out is a link out"):
        read(birds)


def test_more_problems_than_a_message_holds_are_all_in_a_file(birds):
    files = sorted((birds / "train").rglob("*.jpg")) + sorted((birds / "test").rglob("*.jpg"))
    for path in files:
        path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"24 problem.* and 4 more \(all are in .*problems\.txt"):
        read(birds)
    lines = (birds / ".janus/cub200-problems.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == [str(p.relative_to(birds)) for p in files]


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_domain_without_images_is_found_before_training(part, tmp_path):
    for domain in ("photo", "sketch"):
        for one in {"train", "test"} - ({part} if domain == "sketch" else set()):
            sets.class_folders(tmp_path / one / domain, {"": 3}, ("cat", "dog"))
    overrides = given("folder", tmp_path, classes=2, tasks=2, scenario="domain")
    with pytest.raises(DataError, match=f"no {part} images of sketch"):
        benches.read_originals(compose(overrides).bench)


@pytest.mark.parametrize(
    ("labels", "message"),
    [([250, 7, 2, 3], "label 250 of train image 0.*label 7"), ([-1], "label -1"), ([1], "class0")],
)
def test_check_names_labels_of_cifar_that_no_class_has(labels, message, tmp_path):
    root = sets.cifar(tmp_path, train=1)
    path = root / "cifar-100-python/train"
    record, _ = cifar.read_pickle(path)
    record["fine_labels"] = (labels + record["fine_labels"][len(labels) :])[:4]
    path.write_bytes(sets.python2_pickle(record))
    with pytest.raises(DataError, match=message):
        main(["check", "cifar100", f"bench.root={root}", "bench.classes=4", "bench.tasks=2"])


def test_a_root_that_is_itself_a_link_is_fine(birds, tmp_path):
    (tmp_path / "linked").symlink_to(birds)
    assert len(read(tmp_path / "linked").train) == 18


def test_a_list_that_names_absent_files_names_them(tmp_path):
    root = sets.imagenet_r(tmp_path)
    gone = [f"{sets.WNIDS[1]}/train_1.jpg", f"{sets.WNIDS[2]}/test_0.jpg"]
    for name in gone:
        (root / "imagenet-r" / name).unlink()
    overrides = given("imagenet_r", root, classes=4, tasks=2)
    with pytest.raises(DataError) as caught:
        benches.read_originals(compose(overrides).bench)
    assert all(f"{name} is missing" in str(caught.value) for name in gone)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("data/imagenet-r/n1/a.jpg", 4)], "label 4 of n1/a.jpg is out of range"),
        ([("data/imagenet-r/n1/a.jpg", -1)], "out of range"),
        ([("x/n1/a.jpg", 0), ("x/n2/b.jpg", 0)], "n2/b.jpg has label 0, which is n1"),
        ([("x/n1/a.jpg", 0), ("x/n1/b.jpg", 1)], "several labels"),
        ([("x/n1/../../../etc/passwd", 0), ("../a.jpg", 1)], "is no CLASS/FILE"),
    ],
)
def test_lists_that_contradict_themselves_are_refused(rows, message, tmp_path):
    sets.imagenet_r(tmp_path)
    sets.yaml_list(tmp_path / "imagenet-r_train.yaml", rows)
    with pytest.raises(DataError, match=message):
        benches.read_originals(compose(given("imagenet_r", tmp_path, classes=4, tasks=2)).bench)


@pytest.mark.parametrize(
    "text", ["", "data:\n- a/b.jpg\n", "data:\n- a/b.jpg\ntargets:\n- x\n", "data: [a]\n", "- a\n"]
)
def test_files_that_are_no_lists_are_refused_by_name(text, tmp_path):
    sets.imagenet_r(tmp_path)
    (tmp_path / "imagenet-r_train.yaml").write_text(text)
    with pytest.raises(DataError, match=r"imagenet-r_train\.yaml"):
        benches.read_originals(compose(given("imagenet_r", tmp_path, classes=4, tasks=2)).bench)


def test_a_missing_folder_is_one_clear_error(tmp_path):
    with pytest.raises(DataError, match="there is no folder"):
        read(tmp_path / "nowhere")


def test_a_bad_image_stops_a_run_before_its_first_step(birds, tmp_path):
    overrides = declared(given("cub200", birds, classes=3, tasks=3))
    path = birds / "test" / BIRDS[1] / f"{BIRDS[1]}_0001.jpg"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"_0001\.jpg cannot be decoded"):
        run_cell(compose({**overrides, "method": "ncm"}), Store(tmp_path / "runs"))


def test_images_are_decoded_for_the_check_only_once(birds, caplog):
    read(birds)
    assert "to check them" in caplog.text
    caplog.clear()
    read(birds)
    assert "to check them" not in caplog.text
    sets.save(birds / "train" / BIRDS[0] / "new.jpg", 0, 77)
    read(birds)
    assert "decoding 19 images" in caplog.text


def test_a_long_check_tells_how_far_it_is(birds, caplog, monkeypatch):
    monkeypatch.setattr(scan, "PROGRESS_S", -1.0)
    monkeypatch.setattr(scan, "BLOCK", 8)
    assert len(read(birds).train) == 18
    told = [r.getMessage() for r in caplog.records if "are checked" in r.getMessage()]
    assert told == [
        f"{n} images are checked" for n in ("8 of 18", "16 of 18", "18 of 18", "6 of 6")
    ]


def test_a_cache_that_cannot_be_written_costs_a_check_and_no_run(birds, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    assert len(read(birds, cache=str(tmp_path / "file")).train) == 18
    assert "bench.cache=DIR" in caplog.text
