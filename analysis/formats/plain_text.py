"""Writes the table as aligned text, for a terminal, and as Markdown.

These formats and LaTeX (`latex.py`) show the same grids (means; paired differences, one grid per
endpoint), additional blocks and notes. Accuracies are percentages; a value that was not measured is
`--`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from analysis.blocks.grid import Block, Grid, Line, Text, _apart, blocks, grids
from analysis.tables.comparison import Table


def to_text(table: Table | None, extra: Sequence[Block] = ()) -> str:
    """The table and the blocks `extra` as aligned text; a * after a value stands for bold."""
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
    """The note with "*" instead of "Bold", for text in which a * after a value stands for bold."""
    for bold, star in (
        ("Bold:", "*:"),
        ("Bold ", "* behind a "),
        ("the bold one", "the starred one"),
    ):
        note = note.replace(bold, star)
    return note


def print_terminal(table: Table | None, stream: TextIO, extra: Sequence[Block] = ()) -> None:
    """Print the table and the blocks `extra` to a terminal, with bold type.

    On a terminal that is too narrow for the means of all benches, each bench has its own grid.
    """
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
                console.print(styled, soft_wrap=True)  # the terminal wraps long lines
            first = False
        console.print()
        for note in block.notes:
            console.print(note, style="dim", markup=False)


def _fitting(table: Table, width: int) -> list[Grid]:
    """The table's grids; one grid of means per bench if a single one is wider than `width`."""
    together = grids(table)
    means = [grid for grid in together if not grid.title]
    single = len(table.columns) == 1
    return together if single or len(means) > 1 or _width(means[0]) <= width else _apart(table)


def _width(grid: Grid) -> int:
    return sum(len(piece.value) for piece in layout(grid)[1])


def layout(grid: Grid, star: str = "") -> list[Line]:
    """The lines of a grid: title or titles of column groups, header, rule, rows.

    `star` is printed after bold values.
    """
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
    """The table and the blocks `extra` as Markdown; a column title begins with its bench's name."""
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
