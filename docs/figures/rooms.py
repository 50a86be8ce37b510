"""docs/rooms.svg: the rooms of the four packages, read from the imports of their files.

Rows follow LEVELS of tests/test_rooms.py, from the bottom up; rooms that do not import each other
share a row. An arrow leads from the room that imports to the room that is imported. One that
follows from two others is left out.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from tests.test_rooms import LEVELS, MODULES, imported, level

FILE = Path(__file__).resolve().parents[1] / "rooms.svg"

HOLDS = {
    "janus 0": "errors, metrics",
    "janus.config": "identity of a cell",
    "janus.store": "results, claims",
    "janus.machine": "devices, versions",
    "janus.weights": "weight files",
    "janus.data": "benches, tasks",
    "janus.nn": "ViT, LoRA, prompts",
    "janus.algorithms": "subspaces, losses",
    "janus.methods": "one file each",
    "janus.evaluation": "accuracy",
    "janus.tracking": "terminal, W&B",
    "janus.training": "loop, checkpoints",
    "sweeps.spec": "sweep files, plans",
    "sweeps.estimate": "time and memory",
    "sweeps.execution": "Ray, retries",
    "sweeps.show": "live table, texts",
    "sweeps.search": "tuning",
    "sweeps.commands": "run, status, export",
    "cluster.scheduler": "sbatch, squeue",
    "cluster.record": "profile, code copy",
    "cluster.node": "inside a job",
    "cluster.launchers": "SLURM, local",
    "cluster.commands": "submit, look after",
    "sweep_status.py": "progress of a job",
    "command_line.py": "which action is asked",
    "selection.py": "chosen runs",
    "analysis.runs": "read, select",
    "analysis.stats": "paired statistics",
    "analysis.tables": "rows, columns",
    "analysis.published": "figures of papers",
    "analysis.blocks": "parts of a table",
    "analysis.figures": "plots",
    "analysis.formats": "text, LaTeX, CSV",
    "analysis.notebooks": "worked examples",
    "analysis.pages": "report, paper",
}
"""What a room holds, in a few words; a room that is missing here is drawn without."""

COMMANDS = {
    "janus": "python -m janus",
    "sweeps": "python -m sweeps",
    "cluster": "python -m cluster",
    "analysis": "analysis/*.py",
}

TOP = "command line"
LEGEND = (
    "An arrow leads from a room to one that it imports;",
    "an arrow that follows from two others is left out.",
    "Numbers: files. Orange: a package imports from another.",
)

# ---- sizes in pixels -----------------------------------------------------------------------------
BOX_W, BOX_H, ROW, GAP = 124, 42, 64, 10
GUTTER, LANE, TITLE, EDGE = 28, 7, 36, 8
PANEL = 2 * BOX_W + GAP + 2 * GUTTER
BETWEEN = 34


@dataclass(frozen=True)
class Room:
    """A folder of a package, or the files of one level that lie directly in it."""

    key: str
    name: str
    modules: tuple[str, ...]

    @property
    def text(self) -> str:
        """What it holds."""
        if self.name == TOP:
            return COMMANDS[self.key.split()[0]]
        return HOLDS.get(self.key, HOLDS.get(self.name, ""))

    @property
    def files(self) -> int:
        """Files with code; the empty `__init__.py` of a folder is none."""
        return sum(1 for m in self.modules if MODULES[m].name != "__init__.py")


# ---- reading -------------------------------------------------------------------------------------
def rooms(package: str) -> list[list[Room]]:
    """The rooms of every level, from the bottom up."""
    found = []
    placed = {m: level(m) for m in MODULES if m.startswith(package + ".")}
    for number, names in enumerate(LEVELS[package]):
        row, loose = [], []
        for name in (n for n in names.split() if "." not in n):
            inside = [m for m in placed if m.startswith(f"{package}.{name}.")]
            if inside:
                row.append(Room(f"{package}.{name}", name, tuple(inside)))
            else:
                loose.append(f"{package}.{name}")
        if loose:
            top = number == len(LEVELS[package]) - 1
            name = TOP if top else "base" if not number else f"{names.split()[-1]}.py"
            row.append(Room(f"{package} {number}", name, tuple(loose)))
        if row:
            found.append(row)
    return found


def arrows(all_rooms: list[Room]) -> Counter[tuple[str, str]]:
    """{(importing room, imported room): imports}, of the rooms' keys."""
    home = {module: room.key for room in all_rooms for module in room.modules}
    found: Counter[tuple[str, str]] = Counter()
    for module, key in home.items():
        for other in imported(MODULES[module]):
            if home.get(other, key) != key:
                found[key, home[other]] += 1
    return found


def reduced(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Without those that follow from two others."""
    below: dict[str, set[str]] = {}

    def reach(key: str) -> set[str]:
        if key not in below:
            below[key] = set()  # ends a circle, which tests/test_rooms.py does not allow
            direct = {b for a, b in edges if a == key}
            below[key] = direct.union(*(reach(b) for b in direct))
        return below[key]

    return {
        (a, b) for a, b in edges if not any(b in reach(c) for x, c in edges if x == a and c != b)
    }


def packed(levels: list[list[Room]], edges: set[tuple[str, str]]) -> list[list[Room]]:
    """Rows of at most two rooms that do not import each other, in the order of the levels."""
    rows: list[list[Room]] = []
    for room in (room for row in levels for room in row):
        apart = rows and not any((room.key, x.key) in edges for x in rows[-1])
        if apart and len(rows[-1]) < 2 and room.name != TOP:
            rows[-1].append(room)
        else:
            rows.append([room])
    return rows


def untangled(rows: list[list[Room]], edges: set[tuple[str, str]]) -> list[list[Room]]:
    """The rows with the rooms of each in the order that crosses the fewest arrows."""

    def tangle(choice: list[list[Room]]) -> int:
        at = {room.key: (n, c) for n, row in enumerate(choice) for c, room in enumerate(row)}
        double = {n for n, row in enumerate(choice) if len(row) == 2}
        return sum(
            at[a][1] != at[b][1] and {at[a][0], at[b][0]} <= double for a, b in sorted(edges)
        )

    orders = [[row, row[::-1]] if len(row) == 2 else [row] for row in rows]
    return min((list(choice) for choice in product(*orders)), key=tangle)


# ---- drawing -------------------------------------------------------------------------------------
STYLE = """
  svg { --paper: #ffffff; --panel: #f4f6f8; --box: #ffffff; --line: #8a97a5; --text: #17202a;
        --soft: #52606d; --arrow: #6b7a89; --across: #b4540a }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #0d1117; --panel: #161c24; --box: #222b36; --line: #5b6b7c; --text: #e8edf2;
          --soft: #a9b6c3; --arrow: #8b9bab; --across: #f0a050 } }
  text { font-family: system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif }
  .paper { fill: var(--paper) } .panel { fill: var(--panel); stroke: var(--line) }
  .box { fill: var(--box); stroke: var(--line) }
  .title { fill: var(--text); font-size: 16px; font-weight: 700 }
  .name { fill: var(--text); font-size: 13px; font-weight: 600 }
  .count, .holds { fill: var(--soft); font-size: 11px }
  .arrow { fill: none; stroke: var(--arrow); stroke-width: 1.4; marker-end: url(#tip) }
  .across { fill: none; stroke: var(--across); stroke-width: 3; marker-end: url(#tip-across) }
  #tip path { fill: var(--arrow) } #tip-across path { fill: var(--across) }
"""
MARKERS = """<defs>
<marker id="tip" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" markerHeight="8"
 markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0 L8 4 L0 8 z"/></marker>
<marker id="tip-across" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="13" markerHeight="13"
 markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0 L8 4 L0 8 z"/></marker>
</defs>"""

Place = tuple[float, float, int, int]
"""Left edge, top edge, row from the top, column."""


def written(class_: str, x: float, y: float, text: str, anchor: str = "start") -> str:
    """A text element."""
    place = f'x="{x:g}" y="{y:g}" text-anchor="{anchor}"'
    return f'<text class="{class_}" {place}>{html.escape(text)}</text>'


class Panel:
    """One package: a frame, its boxes, and the arrows between them."""

    def __init__(self, package: str, x: float, y: float) -> None:
        self.package, self.x, self.y = package, x, y
        levels = rooms(package)
        self.rooms = [room for row in levels for room in row]
        self.edges = set(arrows(self.rooms))
        self.rows = untangled(packed(levels, self.edges)[::-1], reduced(self.edges))
        self.height = TITLE + len(self.rows) * ROW - (ROW - BOX_H) + EDGE
        self.places: dict[str, Place] = {}
        for number, row in enumerate(self.rows):
            width = len(row) * BOX_W + (len(row) - 1) * GAP
            for column, room in enumerate(row):
                left = x + (PANEL - width) / 2 + column * (BOX_W + GAP)
                self.places[room.key] = (left, y + TITLE + number * ROW, number, column)

    def drawn(self) -> Iterator[str]:
        """Its elements."""
        frame = f'x="{self.x:g}" y="{self.y:g}" width="{PANEL:g}" height="{self.height:g}"'
        yield f'<rect class="panel" {frame} rx="10"/>'
        yield written("title", self.x + 14, self.y + 23, f"{self.package}/")
        total = sum(room.files for room in self.rooms)
        yield written("count", self.x + PANEL - 14, self.y + 23, f"{total} files", "end")
        lanes: list[tuple[int, int, int, int]] = []
        for a, b in sorted(reduced(self.edges), key=self._span):
            yield f'<path class="arrow" d="{self._path(a, b, lanes)}"/>'
        for room in self.rooms:
            yield from self._box(room)

    def _box(self, room: Room) -> Iterator[str]:
        x, y, _, _ = self.places[room.key]
        yield f'<rect class="box" x="{x:g}" y="{y:g}" width="{BOX_W}" height="{BOX_H}" rx="6"/>'
        yield written("name", x + 8, y + 17, room.name)
        if not room.name.endswith(".py"):
            yield written("count", x + BOX_W - 8, y + 17, str(room.files), "end")
        yield written("holds", x + 8, y + 33, room.text)

    def _span(self, edge: tuple[str, str]) -> tuple[int, tuple[str, str]]:
        return self.places[edge[1]][2] - self.places[edge[0]][2], edge

    def _path(self, a: str, b: str, lanes: list[tuple[int, int, int, int]]) -> str:
        """Down to the next row, or along a side of the panel past the rows between.

        `lanes` are those in use: (side, lane, first row, last row).
        """
        (ax, ay, arow, acol), (bx, by, brow, bcol) = self.places[a], self.places[b]
        if brow == arow + 1:
            # a little apart, where several arrows leave or reach one box
            shift = (bx - ax) / 6
            x0, x1 = ax + BOX_W / 2 + shift, bx + BOX_W / 2 - shift
            y0, y1 = ay + BOX_H, by
            middle = (y0 + y1) / 2
            return f"M{x0:g} {y0:g} C{x0:g} {middle:g} {x1:g} {middle - 4:g} {x1:g} {y1:g}"
        side = self._side(arow, acol, brow, bcol)
        lane = next(
            n
            for n in range(len(lanes) + 1)
            if not any(
                (side, n) == taken[:2] and arow <= taken[3] and taken[2] <= brow for taken in lanes
            )
        )
        lanes.append((side, lane, arow, brow))
        edge = self.x + PANEL / 2 + side * (PANEL / 2 - GUTTER + 8 + LANE * lane)
        x1, y1, bend = bx + (BOX_W if side > 0 else 0), by + BOX_H / 2 - 5 + 5 * lane, 6 * side
        if len(self.rows[arow]) == 2 and (acol == 0) == (side > 0):
            # its neighbour lies between it and that side: below it, then
            x0, y0 = ax + BOX_W / 2 + 12 * side, ay + BOX_H
            turn = y0 + 7
            start = f"M{x0:g} {y0:g} V{turn - 5:g} Q{x0:g} {turn:g} {x0 + 5 * side:g} {turn:g}"
        else:
            x0, turn = ax + (BOX_W if side > 0 else 0), ay + BOX_H / 2 + 5 * (1 - lane)
            start = f"M{x0:g} {turn:g}"
        return (
            f"{start} H{edge - bend:g} Q{edge:g} {turn:g} {edge:g} {turn + 6:g} "
            f"V{y1 - 6:g} Q{edge:g} {y1:g} {edge - bend:g} {y1:g} H{x1:g}"
        )

    def _side(self, arow: int, acol: int, brow: int, bcol: int) -> int:
        """-1 or 1: the side on which nothing lies between the panel's edge and the target."""
        if len(self.rows[brow]) == 2:
            return 1 if bcol else -1
        return -1 if len(self.rows[arow]) == 2 and acol == 0 else 1


def across(panels: dict[str, Panel]) -> Iterator[str]:
    """Arrows between packages."""
    everything = [room for panel in panels.values() for room in panel.rooms]
    owner = {room.key: panel.package for panel in panels.values() for room in panel.rooms}
    pairs = {(owner[a], owner[b]) for a, b in arrows(everything)}
    for a, b in sorted(pairs):
        if a == b:
            continue
        left, right = panels[a], panels[b]
        if left.x == right.x:
            x, y0, y1 = left.x + PANEL / 2, left.y + left.height, right.y
            yield f'<path class="across" d="M{x:g} {y0:g} V{y1:g}"/>'
        else:
            y = min(left.y + left.height, right.y + right.height) - 46
            start, end = (
                (left.x + PANEL, right.x) if left.x < right.x else (left.x, right.x + PANEL)
            )
            yield f'<path class="across" d="M{start:g} {y:g} H{end:g}"/>'


def picture() -> str:
    """The whole SVG."""
    cluster = Panel("cluster", EDGE, EDGE)
    sweeps = Panel("sweeps", EDGE, EDGE + cluster.height + BETWEEN)
    janus = Panel("janus", EDGE + PANEL + BETWEEN, EDGE)
    analysis = Panel("analysis", EDGE + 2 * (PANEL + BETWEEN), EDGE)
    panels = {p.package: p for p in (janus, sweeps, cluster, analysis)}
    width = 2 * EDGE + 3 * PANEL + 2 * BETWEEN
    height = max(p.y + p.height for p in panels.values()) + EDGE
    parts = [part for panel in panels.values() for part in panel.drawn()]
    below = analysis.y + analysis.height + 30
    parts += [
        written("holds", analysis.x + 14, below + 17 * number, line)
        for number, line in enumerate(LEGEND)
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
            f'width="{width:g}" height="{height:g}" role="img" aria-labelledby="name">',
            '<title id="name">The rooms of Janus, and which imports which</title>',
            f"<style>{STYLE}</style>",
            MARKERS,
            f'<rect class="paper" width="{width:g}" height="{height:g}"/>',
            *parts,
            *across(panels),
            "</svg>\n",
        ]
    )
