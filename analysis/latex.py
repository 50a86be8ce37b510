r"""The table for a paper: booktabs tabulars, every number set by siunitx, digits as they stand.

`\num` keeps trailing zeros, aligns nothing away and follows the surrounding weight, so bold and
underlined numbers need no special columns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from analysis.render import Block, Grid, Text, blocks
from analysis.tables import Table

PREAMBLE = r"""\documentclass{article}
\usepackage[a4paper,landscape,margin=15mm]{geometry}
\usepackage[T1]{fontenc}
\usepackage{lmodern}
\usepackage{adjustbox,booktabs,siunitx}
\input{glyphtounicode}\pdfgentounicode=1
\sisetup{separate-uncertainty=true,detect-all}
\begin{document}
"""
"""Everything that a document with these tables needs."""

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
    """Escaped text; a hyphen before a number is a minus, `--` stays the dash it prints as."""
    escaped = "".join(_ESCAPES.get(c, c) for c in value)
    return re.sub(r"(?<![\w-])-(?=\d)", "$-$", escaped)


def cell_tex(cell: Text) -> str:
    r"""A printed cell: `63.45 ± 0.31` becomes `\num{63.45 +- 0.31}`, anything else is text."""
    found = _NUMBER.fullmatch(cell.value)
    if found is None:
        shown = tex(cell.value)
    elif found[2]:
        shown = rf"\num{{{found[1]} +- {found[2]}}}"
    elif found[1].startswith("+"):
        shown = rf"\num[print-implicit-plus]{{{found[1]}}}"
    else:
        shown = rf"\num{{{found[1]}}}"
    mark = rf"\textsuperscript{{{tex(cell.mark)}}}" if cell.mark else ""
    if cell.strong:
        return rf"\textbf{{{shown}}}{mark}"
    return (rf"\underline{{{shown}}}" if cell.second else shown) + mark


def to_latex(table: Table | None, extra: Sequence[Block] = ()) -> str:
    """One floating table per block, to be placed in a document with the packages it names."""
    body = "\n".join(table_of(block) for block in blocks(table, extra))
    return f"% needs \\usepackage{{adjustbox,booktabs,siunitx}}\n{_SETUP}\n{body}"


_SETUP = r"% and \sisetup{separate-uncertainty=true,detect-all}"


def table_of(block: Block, caption: str = "", label: str = "") -> str:
    """A floating table of the block's grids; its notes follow the caption."""
    tabulars = "\n\n\\medskip\n\n".join(tabular(grid) for grid in block.grids)
    text = " ".join([*([caption] if caption else []), *(tex(note) for note in block.notes)])
    mark = f"\\label{{{label}}}" if label else ""
    return f"\\begin{{table}}\n\\centering\n{tabulars}\n\\caption{{{text}}}{mark}\n\\end{{table}}\n"


def tabular(grid: Grid) -> str:
    """One grid, no wider than the line."""
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
