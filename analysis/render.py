"""The table for people: aligned text, terminal, Markdown (LaTeX: `latex.py`).

All show the same two grids (means; paired differences), the same further blocks and notes.
Accuracies are percentages here; what was not measured is `--`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TextIO

from analysis import stats
from analysis.tables import ALPHA, Column, Difference, Entry, Metric, Table

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
    wide = len(numbers) > 1 and 1 + len(numbers) * (1 + len(table.metrics)) > WIDEST
    found = [_means(table, [i]) for i in numbers] if wide else [_means(table, numbers)]
    if table.differences:
        found.append(_differences(table))
    return found


def _means(table: Table, numbers: Sequence[int]) -> Grid:
    """The means on the columns with these numbers."""
    spans = [("", 1)]
    header = ["method"]
    for column in (table.columns[number] for number in numbers):
        spans.append((column.title, 1 + len(table.metrics)))
        header += ["n", *(metric.title for metric in table.metrics)]
    rows = []
    for method in table.methods:
        row = [Text(method)]
        for number in numbers:
            n = table.units(method, number)
            row.append(Text(str(n) if n else NONE))
            for metric in table.metrics:
                found = table.entry(method, number, metric.key)
                row.append(_entry(found, metric, n, table.spread))
        rows.append(tuple(row))
    return Grid("", tuple(spans), tuple(header), tuple(rows), words=1)


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


def p_text(p: float | None) -> str:
    """A p value to four decimals."""
    if p is None:
        return NONE
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"


def _differences(table: Table) -> Grid:
    """The paired block; a single bench goes into the title rather than into a column."""
    several = len(table.columns) > 1
    header = (
        *(["bench"] if several else []),
        "method",
        "difference",
        "95 % interval",
        "n",
        "g",
        "p",
        "p (Holm)",
        "min p",
        "wins",
    )
    rows = tuple(_difference(d)[0 if several else 1 :] for d in table.differences)
    where = "" if several else f" on {table.columns[0].title}"
    title = f"Paired differences to {table.reference}{where}, in points of ACC"
    return Grid(title, (("", len(header)),), header, rows, words=1 + several)


def _difference(d: Difference) -> tuple[Text, ...]:
    interval = NONE
    if d.interval is not None:
        interval = f"[{points(d.interval.low)}, {points(d.interval.high)}]"
        interval += "" if d.interval.method == "BCa" else " (perc.)"
    spread = NONE if d.std is None else f"{100 * d.std:.2f}"
    return (
        Text(d.column.title),
        Text(d.method),
        Text(f"{points(d.mean)} ± {spread}" if d.n else NONE, _significant(d)),
        Text(interval),
        Text(str(d.n)),
        Text(NONE if d.effect is None else f"{d.effect:+.2f}"),
        Text(p_text(d.p)),
        Text(p_text(d.p_holm)),
        Text(p_text(d.p_smallest)),
        Text(f"{d.wins}/{d.losses}" if d.n else NONE),
    )


def points(value: float | None) -> str:
    """A difference of fractions in signed percentage points, or `--`."""
    return NONE if value is None else f"{100 * value:+z.2f}"


def _significant(d: Difference) -> bool:
    return d.p_holm is not None and d.p_holm < ALPHA


def notes(table: Table) -> list[str]:
    """What a reader must know to read the numbers: one sentence each."""
    out = [_unit_note(table.columns, table.spread)]
    units = [f"{m.title} in {m.unit}" for m in table.metrics if m.unit != "%"]
    if units:
        out.append(f"{', '.join(units)}. Seconds and memory depend on the machine.")
    if any(entry.best for entry in table.entries.values()):
        out.append(
            "Bold: better than every other row of its column "
            f"(paired exact sign-flip test, Holm over rows, p < {ALPHA})."
        )
    if any(entry.second for entry in table.entries.values()):
        out.append("Underlined, where the format can: better than every row but the bold one.")
    out += _uneven_orders(table)
    out += [
        f"[{c.mark}] {', '.join(f'{name} {value}' for name, value in c.protocol)}; "
        "not tested against the bench's other columns."
        for c in table.columns
        if c.mark is not None
    ]
    out += [*(table.untested or ()), *_test_notes(table.differences)]
    return [*out, *table.cautions]


def _uneven_orders(table: Table) -> list[str]:
    """A mean over fewer orders than the next row's is not its equal: it is said below."""
    out = []
    for number, column in enumerate(table.columns):
        counts = {m: n for m in table.methods if (n := table.units(m, number))}
        most = max(counts.values(), default=0)
        few = [f"{method} {n}" for method, n in counts.items() if n < most]
        if few:
            out.append(
                f"{column.title}: means over fewer than {most} {column.unit}s ({', '.join(few)}) "
                "are not like for like; the paired differences are."
            )
    return out


def _unit_note(columns: Sequence[Column], spread: str) -> str:
    behind = "std (ddof 1)" if spread == "std" else "half of the 95 % t interval"
    single = [c.title for c in columns if c.unit == "seed"]
    if single and len(single) == len(columns):
        return (
            f"Percent, mean ± {behind} over n seeds of one single order; -- is not measured. "
            "Nothing here says how results vary with the order."
        )
    note = (
        f"Percent, mean ± {behind} over n orders, seeds averaged inside an order; "
        "-- is not measured."
    )
    return note + (f" On {', '.join(single)}: n seeds of one single order." if single else "")


def _test_notes(differences: Sequence[Difference]) -> list[str]:
    if not differences:
        return []
    tests = sum(d.p is not None for d in differences)
    family = f"{tests} tests" if tests != 1 else "one test"
    out = [
        "Differences: over common (order, seed) pairs; bootstrap interval (BCa; perc. = percentile)"
        "; g: mean / std of the differences, Hedges' correction; two-sided sign-flip p; "
        f"Holm over the table's {family}; "
        "min p: the smallest p that n can give; wins: units in which the method is above/below "
        f"the reference; bold: p (Holm) < {ALPHA}."
    ]
    fewest = min((d.n for d in differences if d.n), default=0)
    if fewest and fewest < 6:
        out.append(
            f"With fewer than 6 units no p can fall below {ALPHA} (see min p), bootstrap "
            "intervals are narrower than 95 %, and all inference is conditional on these units."
        )
    most = max(d.n for d in differences)
    if most >= 6 and tests * stats.smallest_p(most) >= ALPHA:
        needed = stats.units_for_p(ALPHA / tests)
        out.append(
            f"With {family} and {most} units no p (Holm) can fall below {ALPHA}, whatever the "
            f"differences: the first needs {needed} units, or fewer rows and benches."
        )
    return out


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
    means = [_means(table, [number]) for number in range(len(table.columns))]
    named = [replace(grid, title=c.title) for grid, c in zip(means, table.columns, strict=True)]
    further = (_differences(table),) if table.differences else ()
    return Block((*named, *further), tuple(notes(table)))


def to_text(table: Table | None, extra: Sequence[Block] = ()) -> str:
    """Plain aligned text; a trailing * stands for bold."""
    parts = []
    for block in blocks(table, extra):
        shown = [
            "\n".join("".join(p.value for p in line).rstrip() for line in layout(grid, "*"))
            for grid in block.grids
        ]
        plain = [n.replace("Bold:", "*:").replace("bold:", "*:") for n in block.notes]
        parts.append("\n\n".join([*shown, *(["\n".join(plain)] if plain else [])]))
    return "\n\n\n".join(parts) + "\n"


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
    if len(means) == len(table.columns) or _width(together[0]) <= width:
        return together
    return [_means(table, [i]) for i in range(len(table.columns))] + together[1:]


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
