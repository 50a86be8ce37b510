"""Turns the comparison table into grids of text cells, which every text format prints alike.

A `Grid` is one printed table; a `Block` is several grids with notes. analysis/formats prints them
as plain text, Markdown and LaTeX, analysis/pages as HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from analysis.stats.paired import ALPHA, AVERAGE, Difference, corrected
from analysis.tables.comparison import COLUMNS, Entry, Table, TableColumn
from analysis.tables.notes import P_COLUMN, notes, p_text

NONE = "--"


@dataclass(frozen=True, slots=True)
class Text:
    """One printed cell."""

    value: str
    strong: bool = False
    """Whether the value is bold."""
    second: bool = False
    """Whether the value is the second best and underlined, in formats that can underline."""
    mark: str = ""
    """Footnote mark after the value."""

    @property
    def shown(self) -> str:
        """The value, followed by its footnote mark."""
        return self.value + self.mark


@dataclass(frozen=True, slots=True)
class Grid:
    """One printed table of text cells."""

    title: str
    spans: tuple[tuple[str, int], ...]
    """(title, number of columns) of each group of columns, from left to right."""
    header: tuple[str, ...]
    rows: tuple[tuple[Text, ...], ...]
    words: int
    """Number of leading columns that hold words; the others hold numbers."""


WIDEST = 13
"""Largest number of columns of one grid of means, as many as the paper's main table has. A wider
grid would wrap in a terminal and be too small on paper, so wider tables have one grid per bench."""


def grids(table: Table) -> list[Grid]:
    """The grids of means (one per bench if a single one is too wide), then those of differences."""
    numbers = range(len(table.columns))
    averaged = len(_averaged(table))
    wide = len(numbers) > 1 and 1 + len(numbers) * (1 + len(table.metrics)) + averaged > WIDEST
    return _apart(table) if wide else [_means(table, numbers, True), *_differences(table)]


def _apart(table: Table) -> list[Grid]:
    """One grid of means per bench, one of the averages over benches, then those of differences."""
    means = [_means(table, [number]) for number in range(len(table.columns))]
    return [*means, *([_means(table, [], True)] if _averaged(table) else []), *_differences(table)]


def _averaged(table: Table) -> list[TableColumn]:
    """The metrics that have an average over benches; [] if the table has no average."""
    return [m for m in table.metrics if any(key == m.key for _, key in table.averages)]


def _means(table: Table, numbers: Sequence[int], average: bool = False) -> Grid:
    """The grid of means of the columns `numbers`; with `average` also the average over benches."""
    averaged = _averaged(table) if average else []
    spans = [("", 1)]
    header = ["method"]
    for column in (table.columns[number] for number in numbers):
        spans.append((column.title, 1 + len(table.metrics)))
        header += ["n", *(metric.title for metric in table.metrics)]
    if averaged:
        spans.append((f"average of {len(table.columns)}", len(averaged)))
        header += [metric.title for metric in averaged]
    rows = []
    for method in table.methods:
        row = [Text(method)]
        for number in numbers:
            n = table.units(method, number)
            row.append(Text(str(n) if n else NONE))
            for metric in table.metrics:
                found = table.entry(method, number, metric.key)
                row.append(_entry(found, metric, n, table.spread))
        row += [_average(table.averages.get((method, m.key)), m, table.spread) for m in averaged]
        rows.append(tuple(row))
    return Grid("", tuple(spans), tuple(header), tuple(rows), words=1)


def _average(entry: Entry | None, metric: TableColumn, spread: str) -> Text:
    """The cell of an average: `63.45`, or with spread `ci` also half of its interval.

    A standard deviation is not shown, because there is none over benches.
    """
    if entry is None:
        return Text(NONE)
    shown = number_text(entry.mean, metric)
    shown += f" ± {number_text(entry.half_width, metric)}" if spread == "ci" else ""
    return Text(shown, entry.best, entry.second)


def _entry(entry: Entry | None, metric: TableColumn, row_n: int, spread: str) -> Text:
    """The cell of a mean: `63.45 ± 0.31`, followed by `(n=4)` if n is not that of the row."""
    if entry is None:
        return Text(NONE)
    behind = entry.half_width if spread == "ci" else entry.std
    shown = f"{number_text(entry.mean, metric)} ± {number_text(behind, metric)}"
    if entry.n != row_n:
        shown += f" (n={entry.n})"
    return Text(shown, entry.best, entry.second)


def number_text(value: float | None, metric: TableColumn) -> str:
    """A stored value as text, in the metric's unit but without its name; `--` for None."""
    return NONE if value is None else f"{value * metric.scale:z.{metric.digits}f}"


def _differences(table: Table) -> list[Grid]:
    """The grids of paired differences, one per endpoint.

    Several benches have a column of names; a single bench is named in the grid's title.
    """
    several = len(table.columns) > 1
    p_column = P_COLUMN[table.correction]
    header = (
        *(["bench"] if several else []),
        "method",
        "difference",
        "95 % interval",
        "n",
        "d_z",
        "p",
        *([p_column] if table.correction != "none" else []),
        "wins",
    )
    where = "" if several else f" on {table.columns[0].title}"
    out = []
    for metric in table.endpoints if table.differences else ():
        unit = "points" if metric.unit == "%" else metric.unit
        title = f"Paired differences to {table.reference}{where}, in {unit} of {metric.title}"
        rows = tuple(
            _difference(d, table.correction)[0 if several else 1 :]
            for d in table.differences
            if d.metric == metric.key
        )
        out.append(Grid(title, (("", len(header)),), header, rows, words=1 + several))
    return [grid for grid in out if grid.rows]


def _difference(d: Difference, correction: str) -> tuple[Text, ...]:
    metric = COLUMNS[d.metric]
    deciding = corrected(d, correction)
    interval, shown = NONE, signed(d.mean, metric)
    if d.interval is not None:
        interval = f"[{signed(d.interval.low, metric)}, {signed(d.interval.high, metric)}]"
    if d.n and d.column is not AVERAGE:
        shown += f" ± {number_text(d.std, metric)}"
    return (
        Text(d.column.title),
        Text(d.method),
        Text(shown, deciding is not None and deciding < ALPHA),
        Text(interval),
        Text(str(d.n)),
        Text(NONE if d.d_z is None else f"{d.d_z:+.2f}"),
        Text(p_text(d.p)),
        *([Text(p_text(deciding))] if correction != "none" else []),
        Text(f"{d.wins}/{d.losses}" if d.n and d.wins is not None else NONE),
    )


def signed(value: float | None, metric: TableColumn) -> str:
    """A difference as text with its sign, in the metric's unit; `--` for None."""
    return NONE if value is None else f"{value * metric.scale:+z.{metric.digits}f}"


Line = list[Text]
"""The texts of one printed line: cells padded to the column's width, and the gaps between them."""


@dataclass(frozen=True, slots=True)
class Block:
    """Grids that are printed together, and the notes below them."""

    grids: tuple[Grid, ...]
    notes: tuple[str, ...] = ()


def blocks(table: Table | None, extra: Sequence[Block] = ()) -> list[Block]:
    """The table as a block (left out if it is None), followed by the additional blocks."""
    own = [] if table is None else [Block(tuple(grids(table)), tuple(notes(table)))]
    return [*own, *extra]


def per_bench(table: Table) -> Block:
    """The table as a block with one grid of means per bench, titled by it, for the HTML report."""
    titles = [*(c.title for c in table.columns), *([AVERAGE.title] if _averaged(table) else [])]
    shown = _apart(table)
    named = [replace(grid, title=t) for grid, t in zip(shown, titles, strict=False)]
    return Block((*named, *shown[len(titles) :]), tuple(notes(table)))
