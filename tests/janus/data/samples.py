"""A small copy of each bench in its real on-disk format, as overrides of a cell."""

from __future__ import annotations

import torch

from janus.config.compose import compose
from janus.data import load_bench as benches
from janus.data.benches.list_files import DOMAINS
from tests.janus.data import sets

CPU = torch.device("cpu")
TOY = {"backbone": "toy", "backbone.channels": 3, "train.epochs": 1, "train.batch_size": 8}
CARS = ("AM General Hummer SUV 2000", "Audi S4 Sedan 2007", "smart fortwo Convertible 2012")
BIRDS = ("001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross")


def given(name, root, **more):
    named = {f"bench.{key}": value for key, value in more.items()}
    return {**TOY, "bench": name, "bench.root": str(root), "bench.split_sha256": None, **named}


def declared(overrides):
    """The same, with the hash that `check` would have found."""
    found = benches.read_originals(compose(overrides).bench)
    return {**overrides, "bench.split_sha256": found.sha256}


def sample(name, root):
    """Overrides of a small copy of bench `name` below `root`."""
    if name == "cifar100":
        return given(name, sets.cifar(root), classes=4, tasks=2)
    if name == "imagenet_r":
        return given(name, sets.imagenet_r(root), classes=4, tasks=2)
    if name in ("domainnet", "domainnet_domains"):
        root = sets.domainnet(root, DOMAINS, ("aircraft_carrier", "airplane"))
        return given(name, root, classes=2, tasks=2, split="official")
    if name == "cars":
        return given(name, sets.cars(root, CARS), classes=3, tasks=3)
    if name == "core50":
        return given(name, sets.core50(root, 3), classes=3, tasks=8)
    if name == "imagenet100":
        root = sets.class_folders(root, {"train": 3, "val": 2}, sets.WNIDS)
        (root / "classes.txt").write_text("n07697313\nn01443537\n")
        return given(name, root, classes=2, tasks=2)
    if name == "folder":
        return given(name, sets.class_folders(root, {"": 5}, ("cat", "dog")), classes=2, tasks=2)
    root = sets.class_folders(root, {"train": 3, "test": 2}, BIRDS)
    return given(name, root, classes=3, tasks=3)
