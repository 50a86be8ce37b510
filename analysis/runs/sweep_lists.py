"""Reads the list of cells that a sweep planned, and finds those that are missing.

The list is the sweep's file `<store>/sweeps/<name>.json`, or any JSON list of {"id", "title"}. It
is needed to report missing cells, because the results in a store show only the finished ones.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from janus import atomic_files
from janus.errors import ConfigError, suggest
from janus.safe_names import check_name, is_cell_id
from janus.store.store import Store


@dataclass(frozen=True, slots=True)
class ListedCell:
    """One planned cell."""

    id: str
    title: str
    """Bench, row, order and seed, e.g. `glyphs janus[none] order=3 seed=0`."""
    row: str | None = None
    """The sweep's name of the configuration, e.g. `janus[none]`; None if it gives no name."""
    protocol: str = "unified"
    """`unified`, or `as_published`: every row was run with the settings of its publication."""

    @property
    def bench(self) -> str:
        """The name of the bench: the first word of the title."""
        return self.title.split(" ")[0]

    @property
    def method(self) -> str:
        """The name of the method: the second word of the title, without the row's brackets."""
        return [*self.title.split(" "), ""][1].partition("[")[0]


@dataclass(frozen=True, slots=True)
class SweepList:
    """The cells of a sweep, and the command that runs them."""

    source: str
    command: str | None
    cells: tuple[ListedCell, ...]


def read_sweep_list(path: Path) -> SweepList:
    """The list in the file `path`, which is a sweep's file or a JSON list of cells.

    Raises ConfigError for a missing file and for other contents.
    """
    record = atomic_files.read_json(path)
    if record is None:
        what = "is not JSON, or damaged" if path.is_file() else "is missing, or is not a file"
        raise ConfigError(
            f"cannot read the plan {path}: it {what}. Give a sweep's list, such as "
            "runs/sweeps/smoke.json"
        )
    try:
        cells = record["cells"] if isinstance(record, dict) else record
        planned = tuple(
            ListedCell(str(c["id"]), str(c["title"]), c.get("row"), c.get("protocol", "unified"))
            for c in cells
        )
        command = record.get("command") if isinstance(record, dict) else None
        if not all(is_cell_id(cell.id) for cell in planned):
            raise TypeError("an id must be a cell id, not a path")
    except (KeyError, TypeError, AttributeError):
        raise ConfigError(
            f'the plan {path} must hold a list of {{"id", "title"}}, or a sweep\'s file'
        ) from None
    return SweepList(str(path), _command(command), planned)


def _command(value: Any) -> str | None:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return str(value) if value else None


def find_sweep(name: str, roots: Sequence[Path]) -> SweepList:
    """The list of the sweep `name`, from the first of the stores `roots` that has one.

    Raises ConfigError if no store has one, with the nearest name of a sweep.
    """
    check_name(name, "--sweep")
    known: set[str] = set()
    for root in roots:
        folder = root / "sweeps"
        if (folder / f"{name}.json").is_file():
            return read_sweep_list(folder / f"{name}.json")
        known |= {p.stem for p in folder.glob("*.json")}
    hint = suggest(name, known) or f" Start it with: python -m sweeps run {name}"
    raise ConfigError(f"no sweep {name!r} in {', '.join(map(str, roots))}.{hint}")


def missing(plan: SweepList, done: Collection[str]) -> list[ListedCell]:
    """The planned cells whose id is not in `done`, in the order of the list."""
    return [cell for cell in plan.cells if cell.id not in done]


def cell_state(cell: ListedCell, roots: Sequence[Path]) -> str:
    """The reason why a cell has no result, e.g. `failed: CAUSE`, `running` or `not run yet`.

    `result not usable`: there is a result file, but it could not be loaded.
    """
    for root in roots:
        store = Store(root)
        found = store.status(cell.id)
        if found == "done":
            return "result not usable"
        if found == "failed":
            cause = (store.failure(cell.id) or {}).get("cause", "unknown cause")
            return f"failed: {cause}"
        if found == "running":
            return "running"
    return "not run yet"
