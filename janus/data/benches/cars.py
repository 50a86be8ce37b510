"""Loads Stanford Cars as published (Krause et al. 2013): images and a devkit of .mat files.

Files: cars_train/NNNNN.jpg, cars_test/NNNNN.jpg, devkit/cars_meta.mat, devkit/cars_train_annos.mat,
and cars_test_annos_withlabels.mat beside the devkit or in it. `bench.split=folders` reads the
train/CLASS and test/CLASS folders of later copies instead.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from janus.config.cell import BenchConfig
from janus.data.benches import folders
from janus.data.files.decoded import from_files
from janus.data.files.split import DataSplit, Listing, listing, refuse
from janus.data.images.images import Bench
from janus.errors import DataError, suggest

SPLITS = ("official", "folders")
LABELLED = "cars_test_annos_withlabels.mat"


def load_cars(config: BenchConfig) -> Bench:
    """The bench in either of its two layouts. Raises DataError naming what is missing or wrong."""
    if config.split not in SPLITS:
        raise DataError(
            f"bench {config.name} has no split {config.split!r}.{suggest(config.split, SPLITS)}"
        )
    if config.split == "folders":
        return folders.load_folders(config)
    root = Path(config.root or ".").expanduser()
    root = root / "stanford_cars" if (root / "stanford_cars").is_dir() else root
    devkit = root / "devkit"
    tested = root / LABELLED if (root / LABELLED).is_file() else devkit / LABELLED
    wanted = [devkit / "cars_meta.mat", devkit / "cars_train_annos.mat", tested]
    if missing := [str(path) for path in wanted if not path.is_file()]:
        raise DataError(
            f"bench {config.name} lacks {', '.join(missing)}: the original devkit. For train/CLASS "
            "and test/CLASS folders: bench.split=folders"
        )
    names = tuple(str(name) for name in np.atleast_1d(_field(wanted[0], "class_names")))
    train = _annotated(wanted[1], "cars_train", len(names))
    test = _annotated(wanted[2], "cars_test", len(names))
    return from_files(config, DataSplit(root, train, test, class_names=names))


def _annotated(path: Path, folder: str, classes: int) -> Listing:
    """Images and labels of one annotation file, in its order. (The file counts classes from 1.)"""
    rows = np.atleast_1d(_field(path, "annotations"))
    if not {"fname", "class"} <= set(rows.dtype.names or ()):
        raise DataError(
            f"{path}: annotations without fname and class. Are these the labelled ones?"
        )
    names = [Path(str(name)).name for name in rows["fname"]]
    labels = [int(label) - 1 for label in rows["class"]]
    pairs = zip(names, labels, strict=True)
    wrong = [f"label {y + 1} of {n} is out of range" for n, y in pairs if not 0 <= y < classes]
    refuse(wrong, f"{path} ({classes} classes)")
    return listing([f"{folder}/{name}" for name in names], labels)


def _field(path: Path, name: str) -> Any:
    """One variable of a .mat file. Reading it runs no code."""
    from scipy.io import loadmat  # slow to import, and only this bench needs it

    try:
        return loadmat(path, squeeze_me=True)[name]
    except Exception as error:  # for a damaged file the reader may raise any exception
        raise DataError(f"{path} cannot be read, or is damaged: {error!r}") from None
