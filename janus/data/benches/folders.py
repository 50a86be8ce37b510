"""Loads benches that are class folders: CUB-200, ImageNet-A, VTAB, ImageNet-100, your own images.

Layouts, with one folder CLASS per class:
    ROOT/train/CLASS/..., ROOT/test/CLASS/...        other names: see ROLES; without a test folder,
                                                     `val` is the test folder
    ROOT/CLASS/...                                   a fifth of each class becomes the test set
    ROOT/DOMAIN/CLASS/..., and ROOT/train/DOMAIN/CLASS/...   with bench.scenario=domain
A test set is split off only with `bench.split=own`. `folders` means published train and test
folders, and a test set of our choice must not be taken for the published one.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import Path

from janus.config.cell import BenchConfig
from janus.data.files.decoded import from_files
from janus.data.files.split import (
    DataSplit,
    Listing,
    class_folders,
    folders_of,
    images_in,
    listing,
    others_in,
    refuse,
)
from janus.data.images.images import Bench
from janus.errors import DataError

TEST_SHARE = 5
"""Without a test folder, one image in so many is a test image."""
ROLES = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "val": ("val", "valid", "validation"),
}
"""Names of train, test and validation folders, in lower case."""
Found = dict[tuple[str, str], list[str]]
"""Image paths, relative to the root, by (domain, class)."""


def load_folders(config: BenchConfig, below: str = "") -> Bench:
    """The bench in `config.root`. Raises DataError naming everything that is wrong with it.

    `below`: name of a folder inside the root that replaces the root if it exists.
    """
    if config.root is None:
        raise DataError(f"bench {config.name} needs a folder of images: give bench.root=DIR")
    root = Path(config.root).expanduser()
    root = root / below if (root / below).is_dir() else root
    return from_files(config, find_split(root, config))


def find_split(root: Path, config: BenchConfig) -> DataSplit:
    """The split of the files in `root`, from the names of their folders."""
    chosen = _chosen(root, config)
    found = _roles(root)
    trained, held = found.get("train"), found.get("test", found.get("val"))
    if (trained is None) != (held is None):
        raise DataError(
            f"{root} has one of the folders train and test, but not both: {trained or held}. Add "
            "the other one, or rename it if it is a class"
        )
    if held is None and config.split != "own":
        raise DataError(
            f"bench {config.name}: {root} has no folders train and test, which its split needs. To "
            f"test on a fifth of each class, use it as a bench of your own: bench=folder "
            f"bench.root={root}"
        )
    if trained is not None and held is not None:
        train, test = (_scan(root, part, config.scenario) for part in (trained, held))
    else:
        train, test = _divide(_scan(root, "", config.scenario))
    domains = sorted({domain for domain, _ in (*train, *test)})
    classes = sorted({c for _, c in (*train, *test)})
    _no_split_below(root, trained or "", domains, classes, config.scenario)
    if chosen is not None:
        refuse([f"no folder of class {c}" for c in chosen if c not in classes], f"{root}")
        classes = chosen
    return DataSplit(
        root,
        _listing(train, domains, classes),
        _listing(test, domains, classes),
        class_names=tuple(classes),
        domain_names=tuple(domains),
        notes=(*_notes(root, trained, held), *_kinds(train, test)),
    )


def role(name: str) -> str | None:
    """The role of a folder of this name (train, test or val; any case); None for other names."""
    return next((r for r, known in ROLES.items() if name.lower() in known), None)


def _roles(root: Path) -> dict[str, str]:
    """The folder of each role in `root`. Raises DataError if two folders have the same role."""
    found: dict[str, str] = {}
    for name in class_folders(root):
        kind = role(name)
        if kind in found:
            raise DataError(
                f"{root} has two folders for {kind}: {found[kind]} and {name}. Move one away"
            )
        if kind is not None:
            found[kind] = name
    return found


def _no_split_below(
    root: Path, part: str, domains: list[str], classes: list[str], scenario: str
) -> None:
    """Raise DataError if the class folders are in fact train/test folders or one outer folder."""
    base = root / part
    if scenario == "domain":
        if {"train"} < {r for r in map(role, classes) if r}:
            raise DataError(
                f"{base}/{domains[0]} holds the folders of a split, {', '.join(classes[:4])}: they "
                "are no classes. Lay them out as ROOT/train/DOMAIN/CLASS, ROOT/test/DOMAIN/CLASS"
            )
        return
    for name in (n for n in classes if (base / n).is_dir()):
        below = folders_of(base / name)
        if {"train"} < {r for r in map(role, below) if r}:
            raise DataError(
                f"{base / name} holds the folders of a split, {', '.join(below[:4])}: it is no "
                f"class. Did you mean bench.root={base / name}?"
            )
        if len(classes) == 1 and len(below) > 1:
            raise DataError(
                f"{base} holds one folder, {name}, and that holds others: {', '.join(below[:4])}. "
                + (
                    f"Did you mean bench.root={base / name}?"
                    if not part
                    else f"Move these up into {base}, or add a second class"
                )
            )


def _notes(root: Path, trained: str | None, held: str | None) -> tuple[str, ...]:
    """A line for each folder and for each file suffix that is left out."""
    if trained is None or held is None:
        used, lines = [root], []
    else:
        used = [root / trained, root / held]
        lines = [
            f"left out: the folder {name}/, beside {trained}/ and {held}/"
            for name in class_folders(root)
            if name not in (trained, held)
        ]
        if (trained, held) != ("train", "test"):
            lines.append(f"{trained}/ and {held}/ are taken for train/ and test/")
    counts = sum((others_in(folder) for folder in used), Counter[str]())
    lines += [f"left out: {n} files {suffix}" for suffix, n in sorted(counts.items())]
    return tuple(lines)


def _kinds(*parts: Found) -> list[str]:
    """A line with the number of images per suffix, if there are several suffixes."""
    counts = Counter(
        os.path.splitext(path)[1].lower()
        for part in parts
        for paths in part.values()
        for path in paths
    )
    if len(counts) < 2:
        return []
    return ["images by suffix: " + ", ".join(f"{n} {s}" for s, n in sorted(counts.items()))]


def _chosen(root: Path, config: BenchConfig) -> list[str] | None:
    """The classes in ROOT/classes.txt, one per line; None for a bench that uses all classes.

    Raises DataError if the bench needs the file and it is missing.
    """
    path = root / "classes.txt"
    if config.source != "folder_subset":
        return None
    if not path.is_file():
        raise DataError(
            f"bench {config.name}: {path} is missing. It lists the {config.classes} class folders "
            "(wnids) to use, one a line; papers differ in which they use, so none is assumed"
        )
    return [line.strip() for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def _scan(root: Path, part: str, scenario: str) -> Found:
    """Paths of the images below root/part, by (domain, class)."""
    base = root / part
    found: Found = {}
    for domain in class_folders(base) if scenario == "domain" else ["all"]:
        where = base / domain if scenario == "domain" else base
        for name in class_folders(where):
            prefix = (where / name).relative_to(root).as_posix()
            found[domain, name] = [f"{prefix}/{p}" for p in images_in(where / name)]
    return found


def _divide(found: Found) -> tuple[Found, Found]:
    """(train, test) for images without a test folder: a fifth of each class (and domain) is test.

    These are the paths with the lowest hashes. So the choice needs no seed and hardly changes when
    images are added.
    """
    train, test = {}, {}
    for key, paths in found.items():
        ranked = sorted(paths, key=lambda p: hashlib.sha256(os.fsencode(p)).digest())
        count = max(1, round(len(paths) / TEST_SHARE)) if len(paths) > 1 else 0
        test[key], train[key] = sorted(ranked[:count]), sorted(ranked[count:])
    return train, test


def _listing(found: Found, domains: list[str], classes: list[str]) -> Listing:
    number = {c: i for i, c in enumerate(classes)}
    rows = [
        (path, number[c], domains.index(d))
        for (d, c), paths in found.items()
        if c in number
        for path in paths
    ]
    return listing([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])
