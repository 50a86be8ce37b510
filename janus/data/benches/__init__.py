"""Readers of data sets, one file each, by the name that a bench's `source` takes.

To add a bench: a YAML in `janus/conf/bench` that names one of these sources (`folder` reads any
folder of images, `folder_subset` some of its classes); for files that none of them reads, a loader
in a file here and its name in `LOADERS`. Where its images come from stands in `origins.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from janus.config.cell import BenchConfig
from janus.data.benches import bundled, cars, cifar, core50, fashion, folders, list_files
from janus.data.images.images import Bench

LOADERS: dict[str, Callable[[BenchConfig], Bench]] = {
    "glyphs": bundled.load_bundled_glyphs,
    "renditions": bundled.load_bundled_renditions,
    "fashion": fashion.load_fashion,
    "cifar100": cifar.load_cifar100,
    "cars": cars.load_cars,
    "imagenet_r": list_files.load_imagenet_r,
    "core50": core50.load_core50,
    "domainnet": list_files.load_domainnet,
    "folder": folders.load_folders,
    "folder_subset": folders.load_folders,
}
"""{source: the loader, which returns the images or raises DataError}."""
