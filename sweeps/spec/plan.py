"""From a sweep to its cells, and from the store to which of them are still open.

Seeds and orders are crossed and the same for every row of the table to come, so that every
comparison is paired; several crossed blocks may be joined. Cells are listed pair by pair: a sweep
that is cut short still holds whole pairs. Pure bookkeeping: no torch, no Ray, no Hydra.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from janus import atomic_files, plugins
from janus.config.cell import Cell, TrainConfig, Value
from janus.config.compose import cautions, compose, unread
from janus.config.method_spec import method_spec, read_yaml
from janus.config.own_order import check_numbers, parse_order
from janus.errors import ConfigError, suggest
from janus.safe_names import check_name, is_cell_id
from janus.store.store import Store

PROTOCOLS = ("unified", "as_published")
"""`unified`: every method trains with the bench's own epochs and batch size. `as_published`: with
those of its own publication, for rows that are printed side by side and never tested."""

MOST_CELLS = 300_000
"""Most cells of one sweep: planning them takes about a minute. Ten times what was ever needed."""

BARE_KEYS = ("backbone", "eval")
"""Keys of a cell without a dot; every other bare name in a variant is a setting of the method."""

Block = tuple[tuple[str, ...], tuple[int, ...]]
"""Orders and seeds, to be crossed."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A set of cells: rows (methods, their variants, grid points) x benches x orders x seeds."""

    name: str
    """Also the name of the list of cells that is kept in the store."""
    methods: tuple[str, ...]
    """Methods to compare."""
    benches: tuple[str, ...] = ("glyphs",)
    """Benches to compare them on."""
    orders: tuple[str, ...] = ("0", "1", "2", "3")
    """Orders, each as `Cell.order` has it, or as a list of classes in JSON; crossed with the
    seeds."""
    seeds: tuple[int, ...] = (0,)
    """Seeds; crossed with the orders."""
    blocks: tuple[Block, ...] = ()
    """Where given, these crossed blocks are joined and take the place of orders x seeds: the
    natural order with five seeds and ten seeded orders with one, say."""
    protocol: str = "unified"
    """One of `PROTOCOLS`."""
    variants: Mapping[str, Mapping[str, Mapping[str, Value]]] = field(default_factory=dict)
    """Named rows of a method: {method: {row: {setting: value}}}. Other methods are one row."""
    grid: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    """Values to cross for dotted keys, e.g. {'method.rank': (4, 8)}."""
    fixed: Mapping[str, Value] = field(default_factory=dict)
    """Overrides of every cell, e.g. {'train.epochs': 3}."""

    def __post_init__(self) -> None:
        for axis in ("methods", "benches", "orders", "seeds"):
            if not getattr(self, axis):
                raise ConfigError(f"sweep {self.name!r} has no {axis}; give at least one")
        if self.protocol not in PROTOCOLS:
            hint = suggest(self.protocol, PROTOCOLS)
            raise ConfigError(f"unknown protocol {self.protocol!r}.{hint}")
        for method in self.variants:
            if method not in self.methods:
                hint = suggest(method, self.methods)
                raise ConfigError(f"variants of {method!r}, which is not in methods.{hint}")
        for key in self.grid:
            if key in self.fixed:
                raise ConfigError(f"{key} is both fixed and in the grid; give it once")
        self._refuse_absurd_size()

    def _refuse_absurd_size(self) -> None:
        """Raise ConfigError for more than MOST_CELLS, counted without making any."""
        blocks = self.blocks or ((self.orders, self.seeds),)
        pairs = sum(len(orders) * len(seeds) for orders, seeds in blocks)
        points = math.prod(len(values) for values in self.grid.values())
        variants = sum(len(self.variants.get(method, {"": {}})) for method in self.methods)
        cells = len(self.benches) * variants * points * pairs
        if cells > MOST_CELLS:
            raise ConfigError(
                f"sweep {self.name} has up to {cells} cells: {len(self.benches)} benches x "
                f"{variants} rows x {points} grid points x {pairs} pairs of order and seed; the "
                f"most is {MOST_CELLS}. Cut an axis, or split it into several sweeps"
            )

    def pairs(self) -> list[tuple[str, int]]:
        """Every (order, seed), once: the same for every row."""
        blocks = self.blocks or ((self.orders, self.seeds),)
        found = (pair for orders, seeds in blocks for pair in itertools.product(orders, seeds))
        return list(dict.fromkeys(found))


@dataclass(frozen=True)
class Row:
    """One row of the table to come: a method, its variant and grid point, as overrides."""

    method: str
    label: str
    """`janus`, `janus[none]`, `janus[none,rank=4]`; no spaces."""
    overrides: Mapping[str, Value]

    @property
    def variant(self) -> str:
        """What the label has in brackets: '', `none`, `none,rank=4`."""
        return self.label.removeprefix(self.method).strip("[]")


@dataclass(frozen=True)
class Planned:
    """A cell and the row it belongs to."""

    cell: Cell
    row: str
    protocol: str = "unified"
    """The sweep's; written down with the cell, because tables must know it."""

    @property
    def title(self) -> str:
        """'glyphs janus[none] order=3 seed=0'."""
        return f"{self.cell.bench.name} {self.row} order={self.cell.order} seed={self.cell.seed}"


def plan(sweep: Sweep) -> list[Cell]:
    """The cells of `sweep`, each once, pairs together; the same list for the same sweep."""
    return [planned.cell for planned in plan_rows(sweep)]


def plan_rows(sweep: Sweep) -> list[Planned]:
    """As `plan`, with the row of each cell; a cell of several rows belongs to the first."""
    columns = [
        (row, pattern(bench, row, sweep.protocol)) for bench in sweep.benches for row in rows(sweep)
    ]
    found: dict[str, Planned] = {}
    for order, seed in sweep.pairs():
        for row, column in columns:
            cell = at(column, order, seed)
            found.setdefault(cell.id, Planned(cell, row.label, sweep.protocol))
    return list(found.values())


def at(cell: Cell, order: str, seed: int) -> Cell:
    """The same cell in another order and with another seed; `order` as in `Sweep.orders`."""
    name, own = _parsed_order(order)
    if own is not None and cell.bench.scenario == "class":
        check_numbers(own, cell.bench.classes)
    return replace(cell, order=name, own_order=own, seed=seed)


_parsed_order = lru_cache(maxsize=1024)(parse_order)


def pattern(bench: str, row: Row, protocol: str = "unified") -> Cell:
    """The cell of a row on a bench, in the natural order with seed 0."""
    shared = shared_training(bench) if protocol == "unified" else {}
    return compose({**shared, **row.overrides, "bench": bench, "method": row.method})


@lru_cache
def shared_training(bench: str) -> Mapping[str, Value]:
    """What the bench itself says of training, against which a method's own values lose."""
    declared = {f.name: f.default for f in fields(TrainConfig) if f.default is not MISSING}
    own = read_yaml("bench", bench).get("train", {})
    return {f"train.{name}": value for name, value in {**declared, **own}.items()}


def rows(sweep: Sweep) -> list[Row]:
    """Every method, variant and grid point. Raises ConfigError for a key that no method has.

    A `method.` key of the grid or of the fixed overrides reaches the methods that have such a
    setting: rank means nothing to a method without adapters.
    """
    for key in (*sweep.fixed, *sweep.grid):
        _check_known(key, sweep.methods)
    found: dict[tuple[str, str], Row] = {}
    for method in sweep.methods:
        fixed = {key: value for key, value in sweep.fixed.items() if _applies(key, method)}
        axes = {key: values for key, values in sweep.grid.items() if _applies(key, method)}
        for variant, changes in sweep.variants.get(method, {"": {}}).items():
            _refuse_collision(method, variant, _dotted(changes), {**fixed, **axes})
            for point in _points(axes):
                label = _label(method, variant, point)
                row = Row(method, label, fixed | point | _dotted(changes))
                found.setdefault((method, label), row)
    return list(found.values())


def _refuse_collision(
    method: str, variant: str, changes: Mapping[str, Value], others: Mapping[str, object]
) -> None:
    """A key that a row sets may not be set elsewhere too: one of the two would be silently lost."""
    if both := sorted(set(changes) & set(others)):
        raise ConfigError(
            f"{both[0]} is set by the row {method}[{variant}] of this sweep and given besides; "
            "leave it out, or write a sweep file of your own"
        )


def without_effect(sweep: Sweep) -> dict[str, list[str]]:
    """Overrides that do not concern some of the methods: {key: those methods}."""
    missed = {
        key: [method for method in sweep.methods if not _applies(key, method)]
        for key in (*sweep.fixed, *sweep.grid)
    }
    return {key: methods for key, methods in missed.items() if methods}


def remarks(sweep: Sweep) -> dict[str, list[str]]:
    """What to know of rows before they are trained: {the sentence: the rows}.

    Values that nothing reads beside others, and what the method's file says of its settings.
    """
    found: dict[str, list[str]] = {}
    for row in rows(sweep):
        cell = pattern(sweep.benches[0], row, sweep.protocol)
        for told in [*unread(row.overrides, cell), *cautions(cell)]:
            found.setdefault(told, []).append(row.label)
    return found


def same_rows(sweep: Sweep) -> dict[str, str]:
    """Rows that are an earlier one under another name, and go without cells: {row: that one}."""
    first: dict[str, str] = {}
    found: dict[str, str] = {}
    for bench, row in itertools.product(sweep.benches, rows(sweep)):
        earlier = first.setdefault(pattern(bench, row, sweep.protocol).id, row.label)
        if earlier != row.label:
            found[row.label] = earlier
    return found


def notes(sweep: Sweep) -> list[str]:
    """What of a sweep has no effect, for whoever looks at its plan."""
    keys = without_effect(sweep).items()
    told = [f"{key} is no setting of: {', '.join(methods)}" for key, methods in keys]
    told += [f"{what}, in: {', '.join(found)}" for what, found in remarks(sweep).items()]
    same = same_rows(sweep).items()
    return told + [
        f"{row} is the same as {earlier}, which stands for both" for row, earlier in same
    ]


def _applies(key: str, method: str) -> bool:
    part, _, name = key.partition(".")
    return part != "method" or name in method_spec(method).settings


def _check_known(key: str, methods: Sequence[str]) -> None:
    if any(_applies(key, method) for method in methods):
        return  # keys of other parts are checked by compose
    settings = {f"method.{name}" for m in methods for name in method_spec(m).settings}
    who = f"method {methods[0]!r} has" if len(methods) == 1 else "no method of this sweep has"
    what = "no setting" if len(methods) == 1 else "a setting"
    raise ConfigError(f"{who} {what} {key!r}.{suggest(key, settings)}")


def _points(axes: Mapping[str, tuple[Value, ...]]) -> Iterator[dict[str, Value]]:
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _dotted(changes: Mapping[str, Value]) -> dict[str, Value]:
    """In a variant, a name without a dot is a setting of the method."""
    whole = {key: "." in key or key in BARE_KEYS for key in changes}
    return {key if whole[key] else f"method.{key}": value for key, value in changes.items()}


def _label(method: str, variant: str, point: Mapping[str, Value]) -> str:
    parts = [variant] if variant else []
    parts += [f"{key.removeprefix('method.')}={value}" for key, value in point.items()]
    return f"{method}[{','.join(parts)}]" if parts else method


@dataclass(frozen=True)
class Split:
    """The cells of a sweep by what the store knows of them; each is in one of the lists."""

    done: list[str]
    running: list[str]
    failed: list[str]
    open: list[str]
    damaged: dict[str, str] = field(default_factory=dict)
    """Finished cells whose result is damaged, with what to do: not trained over, not counted."""


def split_open(ids: Iterable[str], store: Store) -> Split:
    """Sort cell ids into done, running (somewhere), failed (last attempt), open and damaged.

    One listing finds the finished ones; only the others are looked at one by one.
    """
    done = store.done()
    ids = list(ids)
    split = Split([], [], [], [], store.damaged([i for i in ids if i in done]))
    for cell_id in ids:
        if cell_id in split.damaged:
            continue
        status = "done" if cell_id in done else store.status(cell_id)
        getattr(split, status).append(cell_id)
    return split


def list_path(store: Store, name: str) -> Path:
    """Where the list of cells of the sweep `name` is kept."""
    return store.root / "sweeps" / f"{name}.json"


def write_list(store: Store, name: str, command: str, cells: Sequence[Planned]) -> None:
    """Keep the list of cells in the store, for `status` and for the analysis."""
    entries = [
        {"id": p.cell.id, "title": p.title, "row": p.row, "protocol": p.protocol} for p in cells
    ]
    record: dict[str, Any] = {"name": name, "command": command, "cells": entries}
    if outside := plugins.state()["include"]:
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
