"""The table for people: aligned text, terminal, Markdown (LaTeX: `latex.py`).

All show the same grids (means; paired differences, one grid an endpoint), the same further blocks
and notes. Accuracies are percentages here; what was not measured is `--`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TextIO

from analysis.notes import P_COLUMN, notes, p_text
from analysis.paired import ALPHA, AVERAGE, Difference, corrected
from analysis.tables import METRICS, Entry, Metric, Table

NONE = "--"


@dataclass(frozen=True, slots=True)
class Text:
    """One printed cell."""

    value: str
    strong: bool = False
    second: bool = False
    """Underlined where the format can: second only to the strong one."""
    mark: str = ""
    """Footnote mark behind the value."""

    @property
    def shown(self) -> str:
        """The value with its mark."""
        return self.value + self.mark


@dataclass(frozen=True, slots=True)
class Grid:
    """A block of printed cells under a header; `spans` groups header columns under a title."""

    title: str
    spans: tuple[tuple[str, int], ...]
    header: tuple[str, ...]
    rows: tuple[tuple[Text, ...], ...]
    words: int
    """How many leading columns hold words; the others are numbers."""


WIDEST = 13
"""Most columns of one grid of means, as many as the paper's main table has: a row that is wider
wraps in a terminal and shrinks to nothing on paper, so its benches stand below each other."""


def grids(table: Table) -> list[Grid]:
    """The means, one grid per bench where all together are too wide, then paired differences."""
    numbers = range(len(table.columns))
    averaged = len(_averaged(table))
    wide = len(numbers) > 1 and 1 + len(numbers) * (1 + len(table.metrics)) + averaged > WIDEST
    return _apart(table) if wide else [_means(table, numbers, True), *_differences(table)]


def _apart(table: Table) -> list[Grid]:
    """One grid of means per bench, one of their averages, then paired differences."""
    means = [_means(table, [number]) for number in range(len(table.columns))]
    return [*means, *([_means(table, [], True)] if _averaged(table) else []), *_differences(table)]


def _averaged(table: Table) -> list[Metric]:
    """The columns of the average over benches, where the table has one."""
    return [m for m in table.metrics if any(key == m.key for _, key in table.averages)]


def _means(table: Table, numbers: Sequence[int], average: bool = False) -> Grid:
    """The means on the columns with these numbers, and their average where it is asked for."""
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


def _average(entry: Entry | None, metric: Metric, spread: str) -> Text:
    """`63.45`, or with half of its interval; benches have no standard deviation in common."""
    if entry is None:
        return Text(NONE)
    shown = number(entry.mean, metric)
    shown += f" ± {number(entry.half_width, metric)}" if spread == "ci" else ""
    return Text(shown, entry.best, entry.second)


def _entry(entry: Entry | None, metric: Metric, row_n: int, spread: str) -> Text:
    """`63.45 ± 0.31`; with its own n where it is not the row's."""
    if entry is None:
        return Text(NONE)
    behind = entry.half_width if spread == "ci" else entry.std
    shown = f"{number(entry.mean, metric)} ± {number(behind, metric)}"
    if entry.n != row_n:
        shown += f" (n={entry.n})"
    return Text(shown, entry.best, entry.second)


def number(value: float | None, metric: Metric) -> str:
    """A stored value in the metric's unit, or `--`."""
    return NONE if value is None else f"{value * metric.scale:z.{metric.digits}f}"


def _differences(table: Table) -> list[Grid]:
    """The paired block, a grid an endpoint; a single bench goes into its title."""
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
    metric = METRICS[d.metric]
    deciding = corrected(d, correction)
    interval, shown = NONE, signed(d.mean, metric)
    if d.interval is not None:
        interval = f"[{signed(d.interval.low, metric)}, {signed(d.interval.high, metric)}]"
    if d.n and d.column is not AVERAGE:
        shown += f" ± {number(d.std, metric)}"
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


def signed(value: float | None, metric: Metric) -> str:
    """A difference in the metric's unit with its sign, or `--`."""
    return NONE if value is None else f"{value * metric.scale:+z.{metric.digits}f}"


Line = list[Text]
"""Padded pieces of one printed line, gaps included."""


@dataclass(frozen=True, slots=True)
class Block:
    """Grids that belong together, and what must be said below them."""

    grids: tuple[Grid, ...]
    notes: tuple[str, ...] = ()


def blocks(table: Table | None, extra: Sequence[Block] = ()) -> list[Block]:
    """The table as a block of its own, then the further blocks."""
    own = [] if table is None else [Block(tuple(grids(table)), tuple(notes(table)))]
    return [*own, *extra]


def per_bench(table: Table) -> Block:
    """The table with one grid of means per bench: for pages that are read by scrolling down."""
    titles = [*(c.title for c in table.columns), *([AVERAGE.title] if _averaged(table) else [])]
    shown = _apart(table)
    named = [replace(grid, title=t) for grid, t in zip(shown, titles, strict=False)]
    return Block((*named, *shown[len(titles) :]), tuple(notes(table)))


def to_text(table: Table | None, extra: Sequence[Block] = ()) -> str:
    """Plain aligned text; a trailing * stands for bold."""
    parts = []
    for block in blocks(table, extra):
        shown = [
            "\n".join("".join(p.value for p in line).rstrip() for line in layout(grid, "*"))
            for grid in block.grids
        ]
        plain = [_starred(note) for note in block.notes]
        parts.append("\n\n".join([*shown, *(["\n".join(plain)] if plain else [])]))
    return "\n\n\n".join(parts) + "\n"


def _starred(note: str) -> str:
    """The note as it reads where bold is a trailing star."""
    for bold, star in (
        ("Bold:", "*:"),
        ("Bold ", "* behind a "),
        ("the bold one", "the starred one"),
    ):
        note = note.replace(bold, star)
    return note


def print_terminal(table: Table | None, stream: TextIO, extra: Sequence[Block] = ()) -> None:
    """Print for a terminal: bold is bold; benches stand below each other where it is narrow."""
    from rich.console import Console
    from rich.text import Text as RichText

    console = Console(file=stream, highlight=False)
    first = True
    for block in blocks(table, extra):
        own = table is not None and first
        shown = _fitting(table, console.width) if own and table else block.grids
        for grid in shown:
            for line in [[Text("")]] * (not first) + layout(grid):
                styled = RichText.assemble(*((p.value, "bold" if p.strong else "") for p in line))
                styled.rstrip()
                console.print(styled, soft_wrap=True)  # a line too long is the terminal's to wrap
            first = False
        console.print()
        for note in block.notes:
            console.print(note, style="dim", markup=False)


def _fitting(table: Table, width: int) -> list[Grid]:
    """The grids, with one grid of means per bench if all of them together are too wide."""
    together = grids(table)
    means = [grid for grid in together if not grid.title]
    single = len(table.columns) == 1
    return together if single or len(means) > 1 or _width(means[0]) <= width else _apart(table)


def _width(grid: Grid) -> int:
    return sum(len(piece.value) for piece in layout(grid)[1])


def layout(grid: Grid, star: str = "") -> list[Line]:
    """The lines of a grid: title or bench names, header, rule, rows; `star` marks strong cells."""
    body = [[c.shown + (star if c.strong else "") for c in row] for row in grid.rows]
    widths = [max(map(len, column)) for column in zip(grid.header, *body, strict=True)]
    title = Text(grid.title, strong=True) if grid.title else Text(_span_line(grid, widths))
    lines: list[Line] = [[title], _aligned(grid.header, widths, grid.words)]
    lines.append([Text("-" * sum(len(piece.value) for piece in lines[1]))])
    for row, values in zip(grid.rows, body, strict=True):
        lines.append(_aligned(values, widths, grid.words, [c.strong for c in row]))
    return lines


def _span_line(grid: Grid, widths: Sequence[int]) -> str:
    parts, start = [], 0
    for title, span in grid.spans:
        width = sum(widths[start : start + span]) + 2 * (span - 1)
        parts.append(title.ljust(width))
        start += span
    return "  ".join(parts)


def _aligned(
    row: Sequence[str], widths: Sequence[int], words: int, strong: Sequence[bool] = ()
) -> Line:
    line: Line = []
    for i, (value, width) in enumerate(zip(row, widths, strict=True)):
        padded = value.ljust(width) if i < words else value.rjust(width)
        line += [Text("  " if i else ""), Text(padded, bool(strong) and strong[i])]
    return line


def to_markdown(table: Table | None, extra: Sequence[Block] = ()) -> str:
    """Markdown tables; the bench's name stands in front of each column title."""
    parts = []
    for block in blocks(table, extra):
        shown = [_markdown(grid) for grid in block.grids]
        shown.append("\n".join(f"- {note}" for note in block.notes))
        parts.append("\n\n".join(part for part in shown if part))
    return "\n\n".join(parts) + "\n"


def _markdown(grid: Grid) -> str:
    titles = [title for title, span in grid.spans for _ in range(span)]
    header = [f"{t} {h}".strip() for t, h in zip(titles, grid.header, strict=True)]
    rule = [":--" if i < grid.words else "--:" for i in range(len(header))]
    body = [[_marked(cell) for cell in row] for row in grid.rows]
    lines = [f"{grid.title}:\n"] if grid.title else []
    lines += [f"| {' | '.join(_pipes(row))} |" for row in [header, rule, *body]]
    return "\n".join(lines)


def _marked(cell: Text) -> str:
    if cell.strong:
        return f"**{cell.value}**{cell.mark}"
    return f"<u>{cell.value}</u>{cell.mark}" if cell.second else cell.shown


def _pipes(row: Sequence[str]) -> list[str]:
    return [value.replace("|", "\\|") for value in row]
