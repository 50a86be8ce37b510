"""Results from one store into another, through the store's own claims: for `merge` and `export`.

A merged result is committed like any other: once, and never over a different one. What is not
finished stays where it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from janus import atomic_files
from janus.errors import ConfigError, DataError, RunError
from janus.store import correct_images
from janus.store.correct_images import FIELD
from janus.store.store import Store
from sweeps.show.console import log
from sweeps.spec.cell_list import list_at


@dataclass
class Copied:
    """Counts and names of what was copied from one store, and of what was not."""

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


def open_existing(path: str) -> Store:
    """The store at `path`. Raises ConfigError where there is none."""
    store = Store(path)
    if not (store.root / "results").is_dir():
        raise ConfigError(f"no store in {store.root}: it has no folder results/; give another path")
    return store


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
        return correct_images.read_file(source.root, str(result[FIELD]))
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
            correct_images.keep_file(target.root, content)


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


def _provenance(source: Store, cell_id: str) -> dict[str, Any]:
    return (source.provenance(cell_id) or {}) | {"merged_from": source.root.name}


def log_copied(source: Store, copied: Copied) -> int:
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
