"""Packs the results of a sweep into `docs/results/NAME.jsonl.gz`, and unpacks it into a run store.

The first line of the file is the sweep's list of cells; one line per result follows, sorted by id,
with its provenance. Diagnostics are rounded to four digits, and provenance fields that name a
machine are left out. `python -m docs.figures` makes the documents' figures from these files, so
that every reader can compute the figures again.
"""

from __future__ import annotations

import gzip
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.runs import sweep_lists
from janus.errors import ConfigError
from janus.store.store import Store

SUFFIX = ".jsonl.gz"

PRIVATE = ("host", "platform", "committed_at", "merged_from")
"""Provenance fields that name a machine or a time; they do not affect the result."""

DIGITS = 4
"""Number of significant digits to which a result's `diagnostics` are rounded."""


def committed_sweeps(folder: Path) -> list[str]:
    """The names of the sweeps whose packed results are in the folder, sorted."""
    return sorted(path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}"))


def pack(root: Path, name: str, folder: Path) -> Path:
    """Pack the results of sweep `name` in the store at `root` into `folder`; returns the file.

    Equal results give equal bytes. Raises ConfigError for a sweep that is not in the store or has
    missing results, because a document must not show an incomplete sweep.
    """
    listed = sweep_lists.find_sweep(name, [root])
    store = Store(root)
    lines: list[dict[str, Any]] = []
    for cell in sorted(listed.cells, key=lambda cell: cell.id):
        result = store.result(cell.id)
        if result is None:
            missing = len(sweep_lists.missing(listed, store.done()))
            command = shlex.join(["python", "-m", "sweeps", "run", name, f"store={root}"])
            raise ConfigError(
                f"{missing} of {len(listed.cells)} cells of {name} have no result in {root}, e.g. "
                f"{cell.title}; run them first: {command}"
            )
        lines.append(_reduced(result) | {"provenance": _public(store.provenance(cell.id) or {})})
    cells = [
        {"id": c.id, "title": c.title, "row": c.row, "protocol": c.protocol} for c in listed.cells
    ]
    head = {"name": name, "command": f"python -m sweeps run {name}", "cells": cells}
    text = "".join(json.dumps(line, sort_keys=True) + "\n" for line in [head, *lines])
    path = folder / f"{name}{SUFFIX}"
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    return path


def unpack_results(folder: Path, sweeps: Sequence[str], root: Path) -> None:
    """Write a run store at `root` with the results of these sweeps.

    Claims are not written: they would take a hundred times as long, and this store needs none,
    because nothing is trained in it.
    """
    store = Store(root)
    for name in sweeps:
        head, *records = _lines(folder / f"{name}{SUFFIX}")
        _write(root / "sweeps" / f"{name}.json", head)
        for record in records:
            provenance = record.pop("provenance")
            run = store.run_dir(record["id"])
            _write(store.result_path(record["id"]), record)
            _write(run / "committed.json", {"attempt": 1})
            _write(run / "attempts" / "000001" / "provenance.json", provenance)


def _write(path: Path, record: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record), encoding="utf-8")


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        text = gzip.decompress(path.read_bytes()).decode()
        return [json.loads(line) for line in text.splitlines()]
    except (OSError, EOFError, ValueError) as error:
        raise ConfigError(f"cannot read the committed results {path}: {error}") from None


def _public(provenance: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in provenance.items() if key not in PRIVATE}


def _reduced(result: dict[str, Any]) -> dict[str, Any]:
    return result | {"diagnostics": _rounded(result.get("diagnostics"))}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list) else value
