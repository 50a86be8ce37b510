"""From a sweep to its plan: the cells to train, and what to know before.

A command makes the plan once and hands it on. Each row is composed once on each bench; its cells
are that one in other orders and with other seeds. Cells are listed pair by pair: a sweep that is
cut short still holds whole pairs. Pure bookkeeping: no torch, no Ray, no Hydra.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from janus.config.cell import Cell
from janus.config.compose import cautions, unused_overrides
from sweeps.spec.rows import Row, at, pattern, rows, without_effect
from sweeps.spec.sweep import Sweep

Patterns = Mapping[tuple[str, str], Cell]
"""{(bench, label of a row): its cell in the natural order with seed 0}, in the table's order."""


@dataclass(frozen=True)
class PlannedCell:
    """A cell and the row it belongs to."""

    cell: Cell
    row: str
    protocol: str = "unified"
    """The sweep's; written down with the cell, because tables must know it."""

    @property
    def title(self) -> str:
        """'glyphs janus[none] order=3 seed=0'."""
        return f"{self.cell.bench.name} {self.row} order={self.cell.order} seed={self.cell.seed}"


@dataclass(frozen=True)
class Plan:
    """A sweep with everything that follows from it; the store adds which cells are done."""

    sweep: Sweep
    rows: tuple[Row, ...]
    """Of the table to come, also those that are an earlier one under another name."""
    patterns: Patterns
    entries: tuple[PlannedCell, ...]
    """Every cell once, pairs together; a cell of several rows belongs to the first."""
    notes: tuple[str, ...]
    """What of the sweep has no effect, and what methods say of their settings: to be printed."""

    @property
    def name(self) -> str:
        """The sweep's."""
        return self.sweep.name

    @cached_property
    def cells(self) -> list[Cell]:
        """The cells without their rows."""
        return [entry.cell for entry in self.entries]

    @cached_property
    def titles(self) -> dict[str, str]:
        """{cell id: its title}."""
        return {entry.cell.id: entry.title for entry in self.entries}

    def cells_of(self, row: Row) -> list[Cell]:
        """All cells of a row, also those that an earlier equal row stands for."""
        columns = [cell for (_, label), cell in self.patterns.items() if label == row.label]
        return [at(cell, *pair) for cell in columns for pair in self.sweep.pairs()]


def plan(sweep: Sweep) -> Plan:
    """The plan of `sweep`; the same cells for the same sweep. Raises ConfigError as `rows` does."""
    listed = tuple(rows(sweep))
    patterns = {
        (bench, row.label): pattern(bench, row, sweep.protocol)
        for bench in sweep.benches
        for row in listed
    }
    found: dict[str, PlannedCell] = {}
    for order, seed in sweep.pairs():
        for (_, label), column in patterns.items():
            cell = at(column, order, seed)
            found.setdefault(cell.id, PlannedCell(cell, label, sweep.protocol))
    notes = _notes(sweep, listed, patterns)
    return Plan(sweep, listed, patterns, tuple(found.values()), tuple(notes))


def _notes(sweep: Sweep, listed: Sequence[Row], patterns: Patterns) -> list[str]:
    missed = without_effect(sweep).items()
    found = [f"{key} is no setting of: {', '.join(methods)}" for key, methods in missed]
    remarks = _remarks(listed, [patterns[sweep.benches[0], row.label] for row in listed]).items()
    found += [f"{sentence}, in: {', '.join(labels)}" for sentence, labels in remarks]
    same = _same_rows(patterns).items()
    return found + [
        f"{row} is the same as {earlier}, which stands for both" for row, earlier in same
    ]


def _remarks(listed: Sequence[Row], cells: Sequence[Cell]) -> dict[str, list[str]]:
    """{a sentence about values: the rows it is true of}.

    Values that nothing reads beside others, and what the method's file says of its settings.
    """
    found: dict[str, list[str]] = {}
    for row, cell in zip(listed, cells, strict=True):
        for sentence in [*unused_overrides(row.overrides, cell), *cautions(cell)]:
            found.setdefault(sentence, []).append(row.label)
    return found


def _same_rows(patterns: Patterns) -> dict[str, str]:
    """Rows that are an earlier one under another name, and go without cells: {row: that one}."""
    first: dict[str, str] = {}
    found: dict[str, str] = {}
    for (_, label), cell in patterns.items():
        earlier = first.setdefault(cell.id, label)
        if earlier != label:
            found[label] = earlier
    return found
