"""Widens a grid until the best rates of every row lie inside it.

A winner on the edge of its grid says only that the best value may lie beyond. Then the next value
on that side (by the grid's own factor) is added to the grid of *every* row that has the setting, so
that all rows go on with the same number of configurations. Only rates are widened: other settings
have natural bounds, and a winner on their edge is only told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from janus.config.cell import Value
from sweeps.spec.search_space import Configuration, Dimension, Space, grid

RATES = ("lr", "head_lr")
"""The settings whose grids are widened."""

Side = tuple[str, str]
"""(setting, `lowest` or `highest`)."""


def edges(space: Space, best: Configuration) -> list[Side]:
    """The settings of `best` that have the lowest or highest of several values in the grid."""
    found = []
    for name, dimension in space.items():
        values = _numbers(dimension)
        if len(values) > 1 and best[name] in (values[0], values[-1]):
            found.append((name, "lowest" if best[name] == values[0] else "highest"))
    return found


def widened(space: Space, sides: Iterable[Side]) -> dict[str, Dimension]:
    """The space with one more value at each of these sides, where it has the setting."""
    out = dict(space)
    for name, side in sides:
        values = _numbers(out[name]) if name in out else []
        if len(values) > 1:
            end, next_ = (values[0], values[1]) if side == "lowest" else (values[-1], values[-2])
            beyond = float(f"{end * end / next_:.3g}")
            out[name] = replace(out[name], choices=(*out[name].choices, beyond))
    return out


def added(before: Space, after: Space) -> list[dict[str, Value]]:
    """The points of the wider grid that the narrower one lacks."""
    known = grid(before)
    return [point for point in grid(after) if point not in known]


def _numbers(dimension: Dimension) -> list[float]:
    """The choices in ascending order; [] if they are no numbers."""
    values = dimension.choices
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return []
    return sorted(float(value) for value in values if isinstance(value, int | float))
