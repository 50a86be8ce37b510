r"""Writes the table as LaTeX: booktabs tabulars, numbers set by siunitx with all their digits.

`\num` keeps trailing zeros and takes the font weight of the surrounding text, so bold and
underlined numbers need no special columns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from analysis.blocks.grid import Block, Grid, Text, blocks
from analysis.tables.comparison import Table

PREAMBLE = r"""\documentclass{article}
\usepackage[a4paper,landscape,margin=15mm]{geometry}
\usepackage[T1]{fontenc}
\usepackage{lmodern}
\usepackage{adjustbox,booktabs,caption,siunitx}
\input{glyphtounicode}\pdfgentounicode=1
\sisetup{separate-uncertainty=true,detect-all}
\begin{document}
"""
"""The beginning of a document with these tables: page size, packages and their settings."""

_ESCAPES = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": r"$<$",
    ">": r"$>$",
    "…": r"\ldots{}",
    "²": r"$^2$",
    "†": r"\dag{}",
    "≈": r"$\approx$",
}
_NUMBER = re.compile(r"([+-]?\d+(?:\.\d+)?)(?: ± (\d+(?:\.\d+)?))?")


def tex(value: str) -> str:
    """The text escaped for LaTeX; the sign of a negative number becomes a minus, `--` is kept."""
    escaped = "".join(_ESCAPES.get(c, c) for c in value)
    return re.sub(r"(?<![\w-])-(?=\d)", "$-$", escaped)


def cell_tex(cell: Text) -> str:
    r"""A cell in LaTeX: `63.45 ± 0.31` becomes `\num{63.45 +- 0.31}`, other values are text."""
    found = _NUMBER.fullmatch(cell.value)
    if found is None:
        shown = tex(cell.value)
    else:
        # siunitx drops the sign of +0.31 without this option
        plus = "[print-implicit-plus]" if found[1].startswith("+") else ""
        if found[2] and not float(found[2]):  # siunitx drops an uncertainty of zero
            shown = rf"\num{plus}{{{found[1]}}}${{}}\pm{{}}$\num{{{found[2]}}}"
        elif found[2]:
            shown = rf"\num{plus}{{{found[1]} +- {found[2]}}}"
        else:
            shown = rf"\num{plus}{{{found[1]}}}"
    mark = rf"\textsuperscript{{{tex(cell.mark)}}}" if cell.mark else ""
    if cell.strong:
        return rf"\textbf{{{shown}}}{mark}"
    return (rf"\underline{{{shown}}}" if cell.second else shown) + mark


def to_latex(table: Table | None, extra: Sequence[Block] = ()) -> str:
    """LaTeX text with one floating table per block (see `table_of`).

    It begins with comments that list the needed packages.
    """
    body = "\n".join(table_of(block) for block in blocks(table, extra))
    return f"% needs \\usepackage{{adjustbox,booktabs,caption,siunitx}}\n{_SETUP}\n{body}"


_SETUP = r"% and \sisetup{separate-uncertainty=true,detect-all}"


PAGE = 38
"""Number of lines that a float may fill on a landscape page at 10 pt."""

HEAD = 4
"""Number of lines that a grid needs in addition to its rows: title, spans, header, rules."""

NOTE = 180
"""Number of characters in a line of a caption on that page."""


def table_of(block: Block, caption: str = "", label: str = "") -> str:
    """A floating table of the block's grids; its notes follow the caption.

    A table longer than a page continues in floats with the same number and repeated headers. Notes
    longer than half a page become ordinary text, which can break over pages.
    """
    notes = " ".join(tex(note) for note in block.notes)
    lines = -(-(len(caption) + len(notes)) // NOTE)
    apart = lines > PAGE // 2
    said = [caption, "Notes: in the text." if apart else notes]
    parts = _pages(block.grids, PAGE - (2 if apart else lines))
    floats = [_float(parts[0], " ".join(filter(None, said)), label)]
    floats += [_float(part, "continued.", again=True) for part in parts[1:]]
    if apart:
        named = f"Table~\\ref{{{label}}}" if label else "the table"
        floats.append(f"\\noindent\\textit{{Notes on {named}.}} {notes}\n")
    return "\n".join(floats)


def _pages(grids: Sequence[Grid], room: int) -> list[list[Grid]]:
    """The grids of each page; a grid that does not fit continues on the next page.

    `room`: number of lines on the first page.
    """
    pages: list[list[Grid]] = [[]]
    for grid in grids:
        rows = grid.rows
        while rows:
            if room < HEAD + min(len(rows), 4):  # a heading needs four rows below it, or all rows
                pages.append([])
                room = PAGE - 2
            taken = rows[: room - HEAD]
            pages[-1].append(replace(grid, rows=taken))
            rows = rows[len(taken) :]
            room -= HEAD + len(taken)
    return pages


def _float(grids: Sequence[Grid], text: str, label: str = "", again: bool = False) -> str:
    body = "\n\n\\medskip\n\n".join(tabular(grid) for grid in grids)
    same = "\\ContinuedFloat\n" if again else ""
    mark = f"\\label{{{label}}}" if label else ""
    inside = f"{same}\\centering\n{body}\n\\caption{{{text}}}{mark}"
    return f"\\begin{{table}}\n{inside}\n\\end{{table}}\n"


def tabular(grid: Grid) -> str:
    """One grid as a LaTeX tabular under its title, shrunk to the line width if it is wider."""
    columns = "l" * grid.words + "r" * (len(grid.header) - grid.words)
    lines = [r"\begin{tabular}{" + columns + "}", r"\toprule"]
    if any(title for title, _ in grid.spans):
        lines += _spans(grid)
    lines += [_row([tex(h) for h in grid.header]), r"\midrule"]
    lines += [_row([cell_tex(cell) for cell in row]) for row in grid.rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    body = "\n".join(lines)
    shown = f"\\begin{{adjustbox}}{{max width=\\linewidth}}\n{body}\n\\end{{adjustbox}}"
    return f"\\textit{{{tex(grid.title)}}}\\par\\smallskip\n{shown}" if grid.title else shown


def _spans(grid: Grid) -> list[str]:
    cells, rules, start = [], [], 1
    for title, span in grid.spans:
        cells.append(f"\\multicolumn{{{span}}}{{c}}{{{tex(title)}}}" if title else "")
        if title:
            rules.append(f"\\cmidrule(lr){{{start}-{start + span - 1}}}")
        start += span
    return [_row(cells), "".join(rules)]


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
