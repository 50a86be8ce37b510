"""Benches that are folders of class folders: CUB-200, ImageNet-A, VTAB, ImageNet-100, yours.

Layouts, `CLASS` standing for one folder per class:
    ROOT/train/CLASS/..., ROOT/test/CLASS/...        (`val` is taken for `test`)
    ROOT/CLASS/...                                   split by us: a fifth of each class is tested
    ROOT/DOMAIN/CLASS/..., and ROOT/train/DOMAIN/CLASS/...   with bench.scenario=domain
Only `bench.split=own` may be split by us: `folders` means the train and test folders that somebody
published, and a fifth of our choice must never pass for them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from janus.config import BenchConfig
from janus.data.files import from_files
from janus.data.images import Bench
from janus.data.listing import Listing, Split, class_folders, images_in, listing, refuse
from janus.errors import DataError

TEST_SHARE = 5
"""One image of so many is tested where there is no test folder."""
Found = dict[tuple[str, str], list[str]]
"""Image paths, relative to the root, by (domain, class)."""


def load(config: BenchConfig, below: str = "") -> Bench:
    """The bench in `config.root`. Raises DataError naming everything that is wrong with it.

    `below`: a folder of that name inside the root is taken instead of the root, where it exists.
    """
    if config.root is None:
        raise DataError(f"bench {config.name} needs its folder: bench.root=DIR")
    root = Path(config.root).expanduser()
    root = root / below if (root / below).is_dir() else root
    return from_files(config, find_split(root, config))


def find_split(root: Path, config: BenchConfig) -> Split:
    """Which file is what, from the names of the folders."""
    chosen = _chosen(root, config)
    names = class_folders(root)
    held = next((name for name in ("test", "val") if name in names), None)
    if ("train" in names) != (held is not None):
        raise DataError(f"{root} has one of the folders train and test, but not both")
    if held is None and config.split != "own":
        raise DataError(
            f"bench {config.name}: {root} has no folders train and test, and its split is the one "
            f"that such folders give. To have a fifth of each class tested, as a bench of your "
            f"own: bench=folder bench.root={root}"
        )
    if held is not None:
        train, test = (_scan(root, part, config.scenario) for part in ("train", held))
    else:
        train, test = _divide(_scan(root, "", config.scenario))
    domains = sorted({domain for domain, _ in (*train, *test)})
    classes = sorted({c for _, c in (*train, *test)})
    if chosen is not None:
        refuse([f"no folder of class {c}" for c in chosen if c not in classes], f"{root}")
        classes = chosen
    return Split(
        root,
        _listing(train, domains, classes),
        _listing(test, domains, classes),
        class_names=tuple(classes),
        domain_names=tuple(domains),
    )


def _chosen(root: Path, config: BenchConfig) -> list[str] | None:
    """The classes that ROOT/classes.txt lists, one a line, in its order; None without it."""
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
    """Images below root/part, by domain and class."""
    base = root / part
    found: Found = {}
    for domain in class_folders(base) if scenario == "domain" else ["all"]:
        where = base / domain if scenario == "domain" else base
        for name in class_folders(where):
            prefix = (where / name).relative_to(root).as_posix()
            found[domain, name] = [f"{prefix}/{p}" for p in images_in(where / name)]
    return found


def _divide(found: Found) -> tuple[Found, Found]:
    """Without a test folder: the fifth of each class (and domain) whose paths hash lowest.

    By hash, so that the choice needs no seed and hardly moves when images are added.
    """
    train, test = {}, {}
    for key, paths in found.items():
        ranked = sorted(paths, key=lambda p: hashlib.sha256(p.encode()).digest())
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
