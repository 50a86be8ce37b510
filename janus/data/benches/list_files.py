"""Loads benches whose split is given by list files: ImageNet-R and DomainNet.

Three 24,000/6,000 splits of ImageNet-R are in use [seen]; bench.split selects one:
`coda_sorted`: the list files of CODA-Prompt (also InfLoRA's and Mammoth's), classes numbered by
sorted wnid; `coda_listed`: the same files with the numbers they give, another natural order;
`folders`: train/ and test/ folders on disk, as PILOT distributes them and as InfLoRA's loader
leaves them after its own random split.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from janus.config.cell import BenchConfig
from janus.data.benches import folders
from janus.data.files.decoded import from_files
from janus.data.files.split import DataSplit, Listing, listing, refuse
from janus.data.images.images import Bench
from janus.errors import DataError, suggest

DOMAINS = ("clipart", "infograph", "painting", "quickdraw", "real", "sketch")
"""The domains of DomainNet, in the order of InfLoRA's list [seen]."""
Rows = tuple[list[str], list[int]]
CODA_BLOBS = {"train": "a039907f", "test": "23c3881c"}
"""First digits of the git hashes (SHA-1) of ImageNet-R's list files. CODA-Prompt, InfLoRA and
Mammoth ship the same bytes [seen]."""

log = logging.getLogger(__name__)


def read_yaml_list(path: Path) -> Rows:
    """(paths, targets) of a list file with the keys `data` and `targets`.

    Read line by line, because a YAML parser takes minutes for DomainNet's 400,000 lines.
    """
    blocks: dict[str, list[str]] = {}
    current: list[str] | None = None
    for number, line in enumerate(_text(path).split("\n"), 1):
        word = line.strip()
        if word in ("data:", "targets:"):
            current = blocks.setdefault(word[:-1], [])
        elif word and current is not None and word[0] == "-":
            current.append(word[1:].strip(" '\""))
        elif word and word[0] != "#":
            raise DataError(f"{path}, line {number}: expected '- value' below data: or targets:")
    if set(blocks) != {"data", "targets"}:
        raise DataError(f"{path} must have the two keys data and targets")
    return blocks["data"], _numbers(blocks["targets"], len(blocks["data"]), path)


def read_text_list(path: Path) -> Rows:
    """(paths, targets) of a file with a path and a class number on each line."""
    rows = [line.rsplit(maxsplit=1) for line in _text(path).split("\n") if line.strip()]
    if any(len(row) != 2 for row in rows):
        raise DataError(f"{path}: every line must hold a path and a class number")
    return [row[0] for row in rows], _numbers([row[1] for row in rows], len(rows), path)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the list file {path} cannot be read: {error}") from None


def _numbers(words: list[str], count: int, path: Path) -> list[int]:
    if len(words) != count:
        raise DataError(f"{path}: {count} paths but {len(words)} targets")
    try:
        return [int(word) for word in words]
    except ValueError as error:
        raise DataError(f"{path}: a target is no number: {error}") from None


def split_of(root: Path, train: Rows, test: Rows, config: BenchConfig, depth: int) -> DataSplit:
    """The split that two lists give; only the last `depth` parts of each path are used.

    Splits called `..._sorted` number the classes by folder name, all others as the lists do.
    """
    rows = {
        name: (["/".join(p.split("/")[-depth:]) for p in paths], targets)
        for name, (paths, targets) in (("train", train), ("test", test))
    }
    names = _class_names(rows, config)
    _warn_of_copies(rows["train"][0], rows["test"][0])
    parts: dict[str, Listing] = {}
    for name, (paths, _) in rows.items():
        number = {c: i for i, c in enumerate(names)}
        labels = [number[p.split("/")[-2]] for p in paths]
        domains = [_domain(p) for p in paths] if depth == 3 else []
        parts[name] = listing(paths, labels, domains)
    domain_names = DOMAINS if depth == 3 else ("all",)
    return DataSplit(root, parts["train"], parts["test"], names, domain_names)


def _warn_of_copies(train: list[str], test: list[str]) -> None:
    """Warn about files listed twice. (Not an error, since a published list is used as it is.)"""
    if tested := sorted(set(train) & set(test)):
        log.warning("%d files are trained on and tested, such as %s", len(tested), tested[0])
    for name, paths in (("training", train), ("test", test)):
        if twice := len(paths) - len(set(paths)):
            log.warning("the %s list names %d files more than once", name, twice)


def _domain(path: str) -> int:
    domain = path.split("/")[0]
    if domain not in DOMAINS:
        raise DataError(f"{path}: unknown domain {domain!r}.{suggest(domain, DOMAINS)}")
    return DOMAINS.index(domain)


def _class_names(rows: dict[str, Rows], config: BenchConfig) -> tuple[str, ...]:
    """Class folders in the order of their numbers. Raises DataError for inconsistent lists."""
    of: dict[int, str] = {}
    problems = []
    for name, (paths, targets) in rows.items():
        for path, target in zip(paths, targets, strict=True):
            parts = path.split("/")
            if len(parts) < 2 or ".." in parts:
                problems.append(f"{name} list: {path!r} is no CLASS/FILE")
            elif not 0 <= target < config.classes:
                problems.append(f"{name} list: label {target} of {path} is out of range")
            elif of.setdefault(target, parts[-2]) != parts[-2]:
                problems.append(f"{name} list: {path} has label {target}, which is {of[target]}")
    if len(set(of.values())) != len(of):
        problems.append("one class folder has several labels")
    refuse(problems, f"the lists of bench {config.name} ({config.classes} classes)")
    if config.split.endswith("_sorted"):
        return tuple(sorted(of.values()))
    if missing := sorted(set(range(len(of))) - set(of)):
        raise DataError(f"bench {config.name}: the lists skip the labels {missing[:20]}")
    return tuple(of[n] for n in range(len(of)))


def load_imagenet_r(config: BenchConfig) -> Bench:
    """ImageNet-R with one of its three splits. Raises DataError naming what is missing."""
    root = Path(config.root or ".").expanduser()
    images = root / "imagenet-r" if (root / "imagenet-r").is_dir() else root
    if config.split == "folders":
        return folders.load_folders(config, below="imagenet-r")
    _known(config, ("coda_sorted", "coda_listed", "folders"))
    lists = [root / f"imagenet-r_{part}.yaml" for part in ("train", "test")]
    _present(config, lists, "utils/splits of InfLoRA or dataloaders/splits of CODA-Prompt")
    train, test = (read_yaml_list(path) for path in lists)
    if other := [p.name for p, b in zip(lists, CODA_BLOBS.values(), strict=True) if not _is(p, b)]:
        log.warning(
            "%s: not the published list file(s); figures made with them cannot stand beside those "
            "of CODA-Prompt's split",
            " and ".join(other),
        )
    return from_files(config, split_of(images, train, test, config, depth=2))


def _is(path: Path, blob: str) -> bool:
    """Whether the git hash of the file's bytes begins with `blob`."""
    content = path.read_bytes()
    digest = hashlib.sha1(b"blob %d\0" % len(content), usedforsecurity=False)
    digest.update(content)
    return digest.hexdigest().startswith(blob)


def load_domainnet(config: BenchConfig) -> Bench:
    """DomainNet with the `official` lists per domain, or with CODA's lists over all domains."""
    root = Path(config.root or ".").expanduser()
    _known(config, ("official", "coda_sorted", "coda_listed"))
    if config.split == "official":
        both = [[root / f"{d}_{part}.txt" for d in DOMAINS] for part in ("train", "test")]
        _present(config, [path for part in both for path in part], "http://ai.bu.edu/M3SDA")
        train, test = (_chained([read_text_list(path) for path in part]) for part in both)
    else:
        lists = [root / f"domainnet_{part}.yaml" for part in ("train", "test")]
        _present(config, lists, "dataloaders/splits of CODA-Prompt")
        train, test = (read_yaml_list(path) for path in lists)
    return from_files(config, split_of(root, train, test, config, depth=3))


def _chained(rows: list[Rows]) -> Rows:
    return [p for paths, _ in rows for p in paths], [n for _, numbers in rows for n in numbers]


def _known(config: BenchConfig, splits: tuple[str, ...]) -> None:
    if config.split not in splits:
        raise DataError(
            f"bench {config.name} has no split {config.split!r}.{suggest(config.split, splits)}"
        )


def _present(config: BenchConfig, lists: list[Path], where: str) -> None:
    if missing := [str(path) for path in lists if not path.is_file()]:
        raise DataError(
            f"bench {config.name} lacks the list files {', '.join(missing)}. They are published "
            f"at {where}; python -m janus.data list says how to get the images"
        )
