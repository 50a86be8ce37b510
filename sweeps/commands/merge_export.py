"""`merge` and `export`: results from one store into another, through the store's own claims.

A merged result is committed like any other: once, and never over a different one. What is not
finished stays where it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from janus import atomic_files
from janus.config.overrides import path_override
from janus.errors import ConfigError, DataError, RunError, suggest
from janus.safe_names import check_name
from janus.store import correct_images
from janus.store.correct_images import FIELD
from janus.store.store import Store
from sweeps.show.console import log, print_line
from sweeps.spec.cell_list import list_at, list_path


@dataclass
class Copied:
    """What became of the results of one store."""

    new: int = 0
    known: int = 0
    """The target had the same result already."""
    busy: list[str] = field(default_factory=list)
    """Cells that somebody trains in the target right now."""
    different: list[str] = field(default_factory=list)
    """Cells whose result in the target is another one; it stays."""
    damaged: list[str] = field(default_factory=list)
    """Which result of either store cannot be used, and why."""
    without_images: int = 0
    """Results of the target that say the same and name no file of single test images, where the
    other store's do: they stay as they are."""
    lost_images: list[str] = field(default_factory=list)
    """Why the file of single test images of a new result was not brought along."""


def merge(words: Sequence[str]) -> int:
    """The action: bring the results of STORE... into the store `store=`."""
    paths, given = read_words(words, {"store": "runs"})
    if not paths:
        raise ConfigError("give the stores to merge: python -m sweeps merge STORE... store=runs")
    target, sources = Store(given["store"]), [_open(path) for path in paths]
    if any(source.root == target.root for source in sources):
        raise ConfigError(f"{target.root} cannot be merged into itself")
    missing = 0
    for source in sources:
        copied = copy_results(source, target, sorted(source.done()))
        copy_lists(source, target)
        missing += _log_copied(source, copied)
    print_line(f"{len(target.done())} results in {target.root}")
    return 3 if missing else 0


def export(words: Sequence[str]) -> int:
    """The action: write the results of the store `store=` (or of one sweep) into a new folder."""
    flags = [word for word in words if word == "--results-only"]
    paths, given = read_words(
        [word for word in words if word not in flags], {"store": "runs", "sweep": ""}
    )
    if len(paths) != 1:
        raise ConfigError("give one folder: python -m sweeps export DIR store=runs --results-only")
    if not flags:
        raise ConfigError(
            "say --results-only: checkpoints and logs belong to the machine that trains; to move "
            "a whole store, copy its folder while nobody trains in it"
        )
    source, target = _open(given["store"]), Store(paths[0])
    if target.root.exists() and any(target.root.iterdir()):
        raise ConfigError(f"{target.root} is not empty; export into a new folder")
    wanted = sorted(source.done() & _listed(source, given["sweep"]))
    copied = copy_results(source, target, wanted)
    copy_lists(source, target, given["sweep"])
    missing = _log_copied(source, copied)
    print_line(
        f"{copied.new} results in {target.root}, with their provenance and the lists of sweeps"
    )
    return 3 if missing else 0


def copy_results(source: Store, target: Store, cell_ids: Iterable[str]) -> Copied:
    """Commit each result, with its provenance, to `target`; safe to call again."""
    copied = Copied()
    for cell_id in cell_ids:
        try:
            result, there = source.result(cell_id), target.result(cell_id)
        except RunError as error:
            copied.damaged.append(str(error))
            continue
        if result is None or there is not None:
            if correct_images.same_facts(result or {}, there or {}):
                copied.known += 1
                _mend_images(source, target, result or {}, there or {}, copied)
            else:
                copied.different.append(cell_id)
            continue
        record = atomic_files.read_record(source.run_dir(cell_id) / "cell.json") or result.get(
            "cell", {}
        )
        claim = target.claim_id(cell_id, record)
        if claim is None:
            copied.busy.append(cell_id)
            continue
        try:
            claim.commit(result, _provenance(source, cell_id), _images(source, result, copied))
            copied.new += 1
        except RunError as error:
            if error.cause != "result-differs":
                raise
            copied.different.append(cell_id)
        finally:
            claim.release()
    return copied


def _images(source: Store, result: Mapping[str, Any], copied: Copied) -> bytes | None:
    """The file of single test images that `result` names; None where there is no sound one."""
    if FIELD not in result:
        return None
    try:
        return correct_images.read(source.root, str(result[FIELD]))
    except DataError as error:
        copied.lost_images.append(str(error))
        return None


def _mend_images(
    source: Store,
    target: Store,
    result: Mapping[str, Any],
    there: Mapping[str, Any],
    copied: Copied,
) -> None:
    """Bring the file that the target's own result names and no longer has."""
    if FIELD not in there:
        copied.without_images += FIELD in result
    elif not correct_images.path_of(target.root, there[FIELD]).exists():
        content = _images(source, there, copied)
        if content is not None:
            correct_images.keep(target.root, content)


def copy_lists(source: Store, target: Store, name: str = "") -> None:
    """Bring the lists of sweeps along; a list that both have keeps the cells of both."""
    for path in sorted((source.root / "sweeps").glob(f"{name or '*'}.json")):
        ours, theirs = target.root / "sweeps" / path.name, list_at(path)
        before = list_at(ours)
        if theirs is None:
            log(f"  {path} is damaged and is left out; its sweep's run writes it anew")
            continue
        if before is not None:
            known = {cell["id"] for cell in before["cells"]}
            added = [cell for cell in theirs["cells"] if cell["id"] not in known]
            theirs = before | {"cells": before["cells"] + added}
        atomic_files.replace(ours, atomic_files.json_writer(theirs))


def read_words(words: Sequence[str], known: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """Positional words, and KEY=VALUE words over the defaults in `known`."""
    paths, given = [], dict(known)
    typed: dict[str, str] = {}
    for word in words:
        key, separator, value = word.partition("=")
        if separator and key in known:
            if typed.setdefault(key, value) != value:
                raise ConfigError(
                    f"{key} is given twice, as {typed[key]!r} and {value!r}; give it once"
                )
            if path := path_override(word):
                value = path[1] or known[key]
            given[key] = value
        elif word.startswith("-") or (separator and "/" not in key):
            raise ConfigError(f"unknown word {word!r}.{suggest(key, known)}")
        else:
            paths.append(word)
    return paths, given


def _provenance(source: Store, cell_id: str) -> dict[str, Any]:
    return (source.provenance(cell_id) or {}) | {"merged_from": source.root.name}


def _open(path: str) -> Store:
    store = Store(path)
    if not (store.root / "results").is_dir():
        raise ConfigError(f"no store in {store.root}: it has no folder results/; give another path")
    return store


def _listed(store: Store, name: str) -> set[str]:
    """Cells of a sweep; of every one, and of none, without a name."""
    if not name:
        return store.done()
    record = list_at(list_path(store, check_name(name, "the name of a sweep")))
    if record is None:
        known = [Path(p).stem for p in (store.root / "sweeps").glob("*.json")]
        hint = suggest(name, known) or " It knows no sweep; without sweep= every result is taken"
        raise ConfigError(f"no sweep {name!r} in {store.root}.{hint}")
    return {cell["id"] for cell in record["cells"]}


def _log_copied(source: Store, copied: Copied) -> int:
    """Say what was merged; returns how many results were not."""
    log(f"{source.root}: {copied.new} new results, {copied.known} known already")
    for cell_id in copied.busy:
        log(f"  {cell_id} is being trained in the target: merge again when it has ended")
    for cell_id in copied.different:
        log(f"  {cell_id} has another result in the target, which stays; compare `numerics`")
    for why in copied.damaged:
        log(f"  not merged: {why}")
    _log_images(source, copied)
    return len(copied.busy) + len(copied.different) + len(copied.damaged)


def _log_images(source: Store, copied: Copied) -> None:
    """Say which files of single test images did not come along."""
    for why in copied.lost_images:
        log(f"  without single test images: {why}")
    if copied.without_images:
        log(
            f"  {copied.without_images} of the known results keep no single test images in the "
            f"target, and a result is never edited: for comparisons by image, name both stores: "
            f"analysis/compare.py --images --store TARGET --store {source.root}"
        )
