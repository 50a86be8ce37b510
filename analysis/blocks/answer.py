"""Writes a text per bench of a table: the leading row, its lead, and whether a test decides it.

The row with the best mean leads. It is tested against the reference; if the reference leads,
against the row that is second. Whether it is better than every other row is said apart.
"""

from __future__ import annotations

from collections.abc import Iterator

from analysis.blocks.details import units_needed
from analysis.stats.paired import ALPHA, AVERAGE, Column, Difference, corrected
from analysis.tables.comparison import Entry, Table, TableColumn
from analysis.tables.notes import P_COLUMN

FEWEST = 3
"""Units from which on the number of additional ones can be estimated."""


def answers(table: Table) -> list[str]:
    """The texts, one per bench with two rows or more, on the table's first ranked endpoint.

    [] if no endpoint is ranked.
    """
    ranked = [metric for metric in table.endpoints if metric.better]
    return list(_sentences(table, ranked[0])) if ranked else []


def _sentences(table: Table, metric: TableColumn) -> Iterator[str]:
    for number, column in enumerate(table.columns):
        found = {
            method: entry
            for method in table.methods
            if (entry := table.entry(method, number, metric.key)) and entry.mean is not None
        }
        if len(found) < 2:
            continue
        means = {method: metric.better * (entry.mean or 0) for method, entry in found.items()}
        first, second = sorted(means, key=means.__getitem__, reverse=True)[:2]
        lead = f"{first} leads on {column.title} with {metric.title} {_value(found[first], metric)}"
        parts = [f"{lead}, before {second} with {_value(found[second], metric)}."]
        if table.untested is None:
            parts += _tests(table, metric, column, first, second)
            if found[first].best and len(found) > 2:
                parts.append("It is better than every other row (each paired test at 5 %).")
        yield " ".join(parts)


def _value(entry: Entry, metric: TableColumn) -> str:
    shown = f"{metric.scale * (entry.mean or 0):.{metric.digits}f}"
    return f"{shown}{' ' * bool(metric.unit)}{metric.unit}"


def _tests(
    table: Table, metric: TableColumn, column: Column, first: str, second: str
) -> Iterator[str]:
    """Compare the leader with the reference; if the reference leads, with the second row."""
    row = second if first == table.reference else first
    for d in table.differences:
        here = d.column == column and d.column is not AVERAGE and d.metric == metric.key
        if here and d.method == row and d.mean is not None:
            yield from _compared(d, metric, first, table.correction)


def _compared(d: Difference, metric: TableColumn, leader: str, correction: str) -> Iterator[str]:
    sign = 1 if d.method == leader else -1
    other = d.reference if d.method == leader else d.method
    points = " points" if metric.unit == "%" else ""
    text = f"Against {other}: {sign * metric.scale * (d.mean or 0):+.{metric.digits}f}{points}"
    if d.interval is not None:
        ends = sorted(sign * metric.scale * end for end in (d.interval.low, d.interval.high))
        text += f" [{ends[0]:+.{metric.digits}f}, {ends[1]:+.{metric.digits}f}]"
    wins = d.wins if sign > 0 else d.losses
    if wins is not None:
        text += f", better in {wins} of {d.n} {d.column.unit}s"
    p = corrected(d, correction)
    if p is not None and p < ALPHA:
        yield f"{text}; decided, {P_COLUMN[correction]} {p:.4f}."
    elif d.n < FEWEST:
        yield f"{text}; not decided: {d.n} {d.column.unit}{'s' * (d.n > 1)} cannot decide."
    elif p is not None:
        yield f"{text}; not decided, {P_COLUMN[correction]} {p:.4f}. {_more(d, correction)}"


def _more(d: Difference, correction: str) -> str:
    """A sentence on the number of additional units with which the test would decide.

    The number is that of `units_needed`.
    """
    needed = units_needed(d, correction)
    unit = f"{d.column.unit}s"
    if needed.least is None:
        return f"More than 200 further {unit} would be needed to decide."
    if needed.most is None:
        return f"At least {needed.least} further {unit} would be needed to decide."
    if needed.least == needed.most:
        return f"About {needed.least} further {unit} would decide."
    return f"About {needed.least} to {needed.most} further {unit} would decide."
