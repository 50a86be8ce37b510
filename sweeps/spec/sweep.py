"""What a sweep is: rows x benches x orders x seeds, checked where it is made.

Seeds and orders are crossed and the same for every row of the table to come, so that every
comparison is paired; several crossed blocks may be joined.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from janus.config.cell import Value
from janus.errors import ConfigError, suggest

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
