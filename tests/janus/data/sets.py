"""Small data sets in the exact formats that the published ones have on disk."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

WNIDS = ("n02325366", "n01443537", "n07697313", "n02066245")
"""Out of sorted order, as the targets of CODA's lists are."""


def picture(label: int, seed: int, size: tuple[int, int] = (40, 32)) -> np.ndarray:
    """Grey noise with a coloured block that tells the class; H, W, 3."""
    draw = np.random.default_rng(seed)
    image = draw.integers(90, 140, (*size, 3)).astype(np.uint8)
    image[4:20, 4:20] = [(label * 67) % 256, (label * 151) % 256, (label * 29) % 256]
    return image


def save(path: Path, label: int, seed: int, size: tuple[int, int] = (40, 32)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"quality": 92} if path.suffix.lower() in (".jpg", ".jpeg") else {}
    Image.fromarray(picture(label, seed, size)).save(path, **options)


def python2_pickle(record: dict[str, object]) -> bytes:
    """The bytes that Python 2's cPickle (protocol 2) wrote: CIFAR's files are such streams."""

    def text(value: bytes) -> bytes:
        short = len(value) < 256
        return (
            b"U" + bytes([len(value)]) if short else b"T" + struct.pack("<i", len(value))
        ) + value

    def item(value: object) -> bytes:
        if isinstance(value, str):
            return text(value.encode())
        if isinstance(value, list):
            return b"](" + b"".join(map(item, value)) + b"e"
        if isinstance(value, int):
            return b"J" + struct.pack("<i", value)
        assert isinstance(value, np.ndarray)
        shape = b"".join(b"J" + struct.pack("<i", n) for n in value.shape)
        dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ" + b"\xff" * 4 + b"J"
        dtype += b"\xff" * 4 + b"K\x00tb"
        return (
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
            b"(K\x01" + shape + b"\x86" + dtype + b"\x89" + text(value.tobytes()) + b"tb"
        )

    pairs = b"".join(text(key.encode()) + item(value) for key, value in record.items())
    return b"\x80\x02}(" + pairs + b"u."


def cifar(root: Path, classes: int = 4, train: int = 5, test: int = 3) -> Path:
    """cifar-100-python/{train,test,meta}."""
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for name, count in (("train", train), ("test", test)):
        labels = [n % classes for n in range(classes * count)]
        pixels = [picture(y, n, (32, 32)).transpose(2, 0, 1).ravel() for n, y in enumerate(labels)]
        record = {
            "filenames": [f"{n}.png" for n in range(len(labels))],
            "batch_label": f"{name}ing batch 1 of 1",
            "fine_labels": labels,
            "coarse_labels": [0] * len(labels),
            "data": np.stack(pixels),
        }
        (folder / name).write_bytes(python2_pickle(record))
    meta = {
        "fine_label_names": [f"class{n}" for n in range(classes)],
        "coarse_label_names": ["all"],
    }
    (folder / "meta").write_bytes(python2_pickle(meta))
    return root


def yaml_list(path: Path, rows: list[tuple[str, int]]) -> None:
    """As yaml.dump wrote CODA's lists: all paths, then all targets."""
    data = "".join(f"- {p}\n" for p, _ in rows)
    path.write_text("data:\n" + data + "targets:\n" + "".join(f"- {y}\n" for _, y in rows))


def imagenet_r(root: Path, train: int = 4, test: int = 2) -> Path:
    """imagenet-r/<wnid>/*.jpg of differing sizes, and the two list files."""
    root.mkdir(parents=True, exist_ok=True)
    for name, count in (("train", train), ("test", test)):
        rows = []
        for label, wnid in enumerate(WNIDS):
            for n in range(count):
                file = f"{wnid}/{name}_{n}.jpg"
                save(root / "imagenet-r" / file, label, 100 * label + n, (36 + 5 * n, 48 - 6 * n))
                rows.append((f"data/imagenet-r/{file}", label))
        yaml_list(root / f"imagenet-r_{name}.yaml", rows)
    return root


def class_folders(root: Path, parts: dict[str, int], classes: tuple[str, ...]) -> Path:
    """root/PART/CLASS/*.jpg."""
    for part, count in parts.items():
        for label, name in enumerate(classes):
            for n in range(count):
                save(root / part / name / f"{name}_{n:04d}.jpg", label, 100 * label + n)
    return root


def cars(root: Path, classes: tuple[str, ...], train: int = 3, test: int = 2) -> Path:
    """cars_train/, cars_test/, and the devkit's annotations with the boxes that they have."""
    kinds = [(f"bbox_{n}", object) for n in ("x1", "y1", "x2", "y2")]
    kinds += [("class", object), ("fname", object)]
    (root / "devkit").mkdir(parents=True)
    savemat(root / "devkit/cars_meta.mat", {"class_names": np.array([classes], dtype=object)})
    for part, count, path in (
        ("train", train, "devkit/cars_train_annos.mat"),
        ("test", test, "cars_test_annos_withlabels.mat"),
    ):
        rows = []
        for n in range(count * len(classes)):
            save(root / f"cars_{part}/{n + 1:05d}.jpg", n % len(classes), n)
            rows.append((1, 2, 30, 31, n % len(classes) + 1, f"{n + 1:05d}.jpg"))
        savemat(root / path, {"annotations": np.array([rows], dtype=kinds).reshape(1, -1)})
    return root


def core50(root: Path, classes: int) -> Path:
    """core50_128x128/s1..s11/o1../C_ss_oo_fff.png."""
    for session in range(1, 12):
        for label in range(classes):
            for frame in range(2):
                name = f"C_{session:02d}_{label + 1:02d}_{frame:03d}.png"
                folder = root / f"core50_128x128/s{session}/o{label + 1}"
                save(folder / name, label, 100 * session + frame, (48, 48))
    return root


def domainnet(root: Path, domains: tuple[str, ...], classes: tuple[str, ...]) -> Path:
    """<domain>/<class>/*.jpg and <domain>_{train,test}.txt."""
    for d, domain in enumerate(domains):
        for part, count in (("train", 3), ("test", 2)):
            lines = []
            for label, name in enumerate(classes):
                for n in range(count):
                    number = n + (0 if part == "train" else 3)
                    file = f"{domain}/{name}/{domain}_{label + 1:03d}_{number:06d}.jpg"
                    save(root / file, label, 1000 * d + 10 * label + number)
                    lines.append(f"{file} {label}\n")
            (root / f"{domain}_{part}.txt").write_text("".join(lines))
    return root
