"""The list of a sweep's cells that is kept in the store: for `status`, and for the analysis."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from janus import atomic_files, plugins
from janus.errors import ConfigError, suggest
from janus.safe_names import check_name, is_cell_id
from janus.store.store import Store
from sweeps.spec.plan import PlannedCell


def list_path(store: Store, name: str) -> Path:
    """Where the list of cells of the sweep `name` is kept."""
    return store.root / "sweeps" / f"{name}.json"


def write_list(store: Store, name: str, command: str, cells: Sequence[PlannedCell]) -> None:
    """Keep the list of cells of the sweep `name`; `command` is what trains them."""
    entries = [
        {"id": p.cell.id, "title": p.title, "row": p.row, "protocol": p.protocol} for p in cells
    ]
    record: dict[str, Any] = {"name": name, "command": command, "cells": entries}
    if outside := plugins.for_workers()["include"]:
        record["include"] = outside  # for people: nothing is imported because a store says so
    atomic_files.replace(list_path(store, name), atomic_files.json_writer(record))


def read_list(store: Store, name: str, command: str) -> dict[str, Any]:
    """What `write_list` kept. Raises ConfigError, which names `command`, when nothing was."""
    path = list_path(store, check_name(name, "the name of a sweep"))
    record = list_at(path)
    if record is None and not path.exists():
        folder = store.root / "sweeps"
        known = [path.stem for path in folder.glob("*.json")] if folder.is_dir() else []
        raise ConfigError(
            f"no sweep {name!r} was started in {store.root}.{suggest(name, known)} "
            f"Start it with: {command}"
        )
    if record is None:
        raise ConfigError(
            f"{path} is damaged: it is no list of a sweep's cells. Write it anew with: {command}"
        )
    return {"name": name, "command": command, **record}


def list_at(path: Path) -> dict[str, Any] | None:
    """The list of cells at `path`; None when it is missing or damaged."""
    record = atomic_files.read_record(path)
    cells = record.get("cells")
    sound = isinstance(cells, list) and all(_is_entry(cell) for cell in cells)
    return record if sound else None


def _is_entry(cell: Any) -> bool:
    """Whether a list's entry names a cell; an id in a list is never taken for a path."""
    return isinstance(cell, dict) and is_cell_id(cell.get("id")) and "title" in cell
