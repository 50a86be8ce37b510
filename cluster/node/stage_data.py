"""Prepared data sets on node-local scratch, copied once for each node and content.

Only what `python -m janus.data prepare` wrote is staged: a few large files with a manifest that
holds their hashes. A copy is named by its manifest, gets its name last, and is copied anew when
its files are gone or cut short (scratch is purged by many sites while jobs wait).
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from cluster.record.profile import Profile
from janus import atomic_files
from janus.config.cell import BenchConfig, Cell
from janus.errors import DataError

MANIFEST = "manifest.json"


def scratch(profile: Profile) -> Path:
    """Node-local folder of this user."""
    given = profile.scratch or os.environ.get("SLURM_TMPDIR")
    return Path(given or tempfile.gettempdir()) / f"janus-{os.getuid()}"


def staged(cell: Cell, profile: Profile) -> Cell:
    """The cell, reading the copy on this node where one was asked for. Never changes its id."""
    source = source_of(cell.bench) if profile.stage else None
    if source is None:
        return cell
    return replace(cell, bench=_local(source, cell.bench, profile))


def source_of(bench: BenchConfig) -> Path | None:
    """The prepared arrays of a bench; None for one that comes with the package."""
    return None if bench.root is None and bench.cache is None else bench.prepared_folder


def folders_to_stage(cells: Iterable[Cell], profile: Profile) -> list[tuple[Path, BenchConfig]]:
    """The prepared data sets to copy: none unless the profile asks. Raises DataError."""
    benches = {source_of(cell.bench): cell.bench for cell in cells} if profile.stage else {}
    found = []
    for source, bench in benches.items():
        if source is None:
            continue
        if not (source / MANIFEST).exists():
            raise DataError(
                f"profile.stage is on, but {source} holds no prepared data set. Write it with: "
                f"python -m janus.data prepare {bench.words}"
            )
        found.append((source, bench))
    return found


def stage(cells: Iterable[Cell], profile: Profile) -> list[str]:
    """Copy to this node the `folders_to_stage`; returns one line per folder. Raises DataError."""
    told = []
    for source, bench in folders_to_stage(cells, profile):
        target = _local(source, bench, profile).prepared_folder
        if not _whole(target):
            _copy(source, target)
            told.append(str(target))
    return told


def _local(source: Path, bench: BenchConfig, profile: Profile) -> BenchConfig:
    """The bench with the cache `scratch/<hash of the manifest>`, which the copy has for itself."""
    try:
        digest = sha256((source / MANIFEST).read_bytes()).hexdigest()[:16]
    except FileNotFoundError:
        raise DataError(f"{source} is gone since this was submitted; prepare it again") from None
    return replace(bench, cache=str(scratch(profile) / digest))


def _whole(folder: Path) -> bool:
    """Whether manifest and arrays are there in full length."""
    sizes: Any = atomic_files.read_record(folder / MANIFEST).get("bytes")
    try:
        return isinstance(sizes, dict) and all(
            (folder / f"{name}.u8").stat().st_size == size for name, size in sizes.items()
        )
    except OSError:
        return False


def _copy(source: Path, target: Path) -> None:
    """Copy under a temporary name, then rename. If another process was first, its copy is used."""
    needed = sum(path.stat().st_size for path in source.iterdir())
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise DataError(
            f"staging {source} needs {needed / 1e9:.1f} GB and {target.parent} has "
            f"{free / 1e9:.1f} GB free. Name another folder with profile.scratch, or turn "
            "profile.stage off"
        )
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        shutil.copytree(source, beside)
        if target.exists():  # what a purge left of it
            target.rename(target.with_name(f".{target.name}.{secrets.token_hex(4)}.old"))
        beside.rename(target)
    except OSError:
        if not _whole(target):
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        for old in target.parent.glob(f".{target.name}.*.old"):
            shutil.rmtree(old, ignore_errors=True)
