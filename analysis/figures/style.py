"""The style of all figures: colours that can be distinguished by colour-blind readers and in grey.

The palette is Okabe and Ito's (2008). Markers and dashes differ, too, so that a line can be
recognised without its colour. pyplot is not used, so no global state changes and no display is
needed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8a8a00")
MARKERS = "osD^vPX>"
DASHES = ("-", "--", "-.", ":")
CROWD = 30
"""A row with more points than this is drawn paler, so that the density of points is visible."""

WIDTH = 3.4
"""Width of one column of a two-column paper, in inches."""

RC: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.4,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "janus",
    "figure.dpi": 100,
}


@dataclass(frozen=True, slots=True)
class Drawn:
    """A finished figure with its name and caption."""

    name: str
    """File name without ending."""
    figure: Figure
    caption: str
    """What the figure shows, the number of units, and the meaning of bars and bands."""

    def _repr_png_(self) -> bytes:
        """The figure as PNG, for notebooks."""
        buffer = BytesIO()
        with styled():
            self.figure.savefig(buffer, format="png", dpi=150)
        return buffer.getvalue()


def line_style(index: int) -> dict[str, Any]:
    """The colour, marker and dash of row number `index`, as arguments of matplotlib's `plot`.

    After each round of colours the markers shift by one, so that colour and marker together
    distinguish 64 rows, also without lines.
    """
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[(index + index // len(COLOURS)) % len(MARKERS)],
        "linestyle": DASHES[(index // len(COLOURS)) % len(DASHES)],
    }


def canvas(
    columns: int = 1, width: float = WIDTH, height: float = 2.4, rows: int = 1
) -> tuple[Figure, list[Axes]]:
    """An empty figure and its panels, line by line; `width` and `height` in inches.

    Both this call and the drawing must be inside `with styled():`.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False)
    return figure, [panel for line in panels for panel in line]


def styled() -> AbstractContextManager[None]:
    """A context manager: the project's style inside, matplotlib's earlier settings afterwards."""
    return matplotlib.rc_context(RC)


def legend(figure: Figure, panel: Axes) -> None:
    """Add one legend of the panel's rows below all panels; the figure becomes higher if needed."""
    handles, names = panel.get_legend_handles_labels()
    longest = max(map(len, names))
    columns = 3 if longest < 15 else 2 if longest < 28 else 1
    lines = -(-len(names) // columns)
    figure.set_figheight(figure.get_figheight() + 0.15 * max(0, lines - 2))
    figure.legend(handles, names, loc="outside lower center", ncols=min(columns, len(names)))


def cloud(panel: Axes, xs: Sequence[float], ys: Sequence[float], row: str, index: int) -> None:
    """Draw the points of row number `index`, and over them a large point at their mean.

    The legend names the large point `row`.
    """
    style = line_style(index) | {"linestyle": "none"}
    panel.plot(xs, ys, alpha=0.35 if len(xs) <= CROWD else 0.12, gid=row, **style)
    mean = math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)
    style |= {"markersize": 8, "markeredgecolor": "white", "zorder": 3}
    panel.plot(*[[m] for m in mean], label=row, **style)


def folded(row: str, most: int = 24) -> str:
    """A row's name, broken at brackets and commas into lines of at most `most` characters.

    A longer piece without bracket or comma is not broken.
    """
    lines = [""]
    for piece in re.findall(r"[^,\[]*[,\[]?", row):
        if len(lines[-1]) + len(piece) > most and lines[-1]:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)


def write_values(panel: Axes, values: Sequence[Sequence[float]], colour_limit: float) -> None:
    """Write the numbers of a drawn matrix into its cells.

    Numbers below `colour_limit`, whose cells are dark, are white; the others are black.
    """
    size = max(4, 7 - max(0, len(values) - 8) * 0.25)
    for i, line in enumerate(values):
        for j, value in enumerate(line):
            if not math.isnan(value):
                tone = "white" if value < colour_limit else "black"
                panel.text(
                    j, i, f"{value:.0f}", ha="center", va="center", color=tone, fontsize=size
                )


def save_figure(drawn: Drawn, folder: Path) -> list[Path]:
    """Write the figure as PDF and PNG (300 dpi); returns the two paths.

    Equal figures give equal bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    out = []
    kinds: dict[str, dict[str, Any]] = {
        ".pdf": {"metadata": {"CreationDate": None}},
        ".png": {"dpi": 300},
    }
    with styled():
        for ending, extra in kinds.items():
            path = folder / f"{drawn.name}{ending}"
            drawn.figure.savefig(path, **extra)
            out.append(path)
    return out
