"""Writes pieces of HTML: sortable tables, notes, lists, figures, small curves.

The layout of the page is in report.py and page/.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO

from analysis.blocks.grid import Block, Grid, Text
from analysis.figures.style import WIDTH, Drawn, styled

_NUMBER = re.compile(r"\s*[\[<>]?([+-]?\d+(?:\.\d+)?)")


def table_html(grid: Grid, caption: str = "") -> str:
    """A grid as an HTML table; buttons in the header sort the rows by a column."""
    titles = [title for title, span in grid.spans for _ in range(span)]
    heads = []
    for index, name in enumerate(grid.header):
        full = f"{titles[index]} {name}".strip() if titles[index] and len(grid.spans) > 2 else name
        word = ' class="word"' if index < grid.words else ""
        inner = f'<button type="button">{escape(full)}</button>' if full else ""
        heads.append(f'<th scope="col"{word}>{inner}</th>')
    body = "\n".join(_row(row, grid.words) for row in grid.rows)
    title = caption or grid.title
    shown = f"<caption>{escape(title)}</caption>" if title else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(title or "table")}">'
        f"<table>{shown}<thead><tr>{''.join(heads)}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(row: Sequence[Text], words: int) -> str:
    cells = []
    for index, cell in enumerate(row):
        text = escape(cell.shown)
        if cell.strong:
            text = f"<strong>{text}</strong>"
        elif cell.second:
            text = f"<u>{text}</u>"
        found = _NUMBER.match(cell.value) if index >= words else None
        data = f' data-value="{found[1]}"' if found else ""
        word = ' class="word"' if index < words else ""
        name, scope = ("th", ' scope="row"') if index == 0 and words else ("td", "")
        cells.append(f"<{name}{scope}{word}{data}>{text}</{name}>")
    return f"<tr>{''.join(cells)}</tr>"


def block_html(found: Block, caption: str = "") -> str:
    """The block as HTML: its tables, then its notes as a list. `caption`: of the first table."""
    tables = "\n".join(
        table_html(grid, caption if i == 0 else "") for i, grid in enumerate(found.grids)
    )
    return tables + bullet_list(found.notes, "notes")


def bullet_list(items: Iterable[str], css: str = "") -> str:
    """The items, escaped, as an HTML list; '' for no items."""
    lines = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f'<ul class="{css}">{lines}</ul>' if lines else ""


def plain_table(rows: Iterable[Sequence[str]], header: Sequence[str], caption: str) -> str:
    """A table of texts as HTML."""
    cells = tuple(tuple(map(Text, row)) for row in rows)
    return table_html(Grid(caption, (("", len(header)),), tuple(header), cells, words=len(header)))


def figure_html(drawn: Drawn) -> str:
    """A figure as HTML with an embedded SVG and the caption, which is also the alternative text.

    A figure wider than a column gets a line of the page for itself; on a phone the reader scrolls
    it, because shrunk text could not be read.
    """
    buffer = BytesIO()
    with styled():
        drawn.figure.savefig(buffer, format="svg", metadata={"Date": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    inches = drawn.figure.get_figwidth()
    wide = inches > 1.5 * WIDTH
    image = f'<img alt="{escape(drawn.caption)}" src="data:image/svg+xml;base64,{data}"'
    image += f' style="min-width:{80 * inches:.0f}px">' if wide else ">"
    if wide:
        label = f'role="region" aria-label="{escape(drawn.name)}"'
        image = f'<div class="scroll" tabindex="0" {label}>{image}</div>'
    css = ' class="wide"' if wide else ""
    return (
        f'<figure id="{escape(drawn.name)}"{css}>{image}'
        f"<figcaption>{escape(drawn.caption)}</figcaption></figure>"
    )


def curve_svg(values: Sequence[float]) -> str:
    """A small curve of accuracies in percent as SVG; '' for fewer than two values.

    Its alternative text lists every value.
    """
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    step = 320 / (len(values) - 1)
    points = [(10 + i * step, 10 + 60 * (high - v) / span) for i, v in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    said = ", ".join(f"{v:.2f}" for v in values)
    return (
        f'<svg class="curve" viewBox="0 0 340 92" role="img" aria-label="accuracy after each task: '
        f'{said} percent"><polyline points="{line}" fill="none" stroke="currentColor" '
        'stroke-width="2"/><g aria-hidden="true">'
        f'<text x="10" y="88">first: {values[0]:.1f} %</text>'
        f'<text x="338" y="88" text-anchor="end">last: {values[-1]:.1f} %</text>'
        "</g></svg>"
    )
