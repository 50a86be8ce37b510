"""Writes a text per bench of a table: the leading row, its lead, and whether a test decides it.

The row with the best mean leads. It is compared with the reference; if the reference leads, with
the row that is second.
"""

from __future__ import annotations

from collections.abc import Iterator

from analysis.blocks.details import units_needed
from analysis.stats.paired import ALPHA, AVERAGE, Column, Difference, corrected
from analysis.tables.comparison import Table, TableColumn

TESTS = {"maxt": "p (max-T)", "holm": "p (Holm)", "none": "p"}
"""{correction: name of its p in the sentences}."""


def answers(table: Table) -> list[str]:
    """The texts, one per bench with two rows or more, on the table's first ranked endpoint.

    [] if no endpoint is ranked.
    """
    ranked = [metric for metric in table.endpoints if metric.better]
    return list(_sentences(table, ranked[0])) if ranked else []


def _sentences(table: Table, metric: TableColumn) -> Iterator[str]:
    for number, column in enumerate(table.columns):
        means = {
            method: entry.mean
            for method in table.methods
            if (entry := table.entry(method, number, metric.key)) and entry.mean is not None
        }
        if len(means) < 2:
            continue
        order = sorted(means, key=lambda method: metric.better * means[method], reverse=True)
        yield " ".join(_parts(table, metric, column, order, means[order[0]]))


def _parts(
    table: Table, metric: TableColumn, column: Column, order: list[str], mean: float
) -> Iterator[str]:
    """Yield the parts of a bench's text.

    `order`: the rows of the bench, best mean first; `mean`: the mean of the first, in stored units.
    """
    leader = order[0]
    shown = f"{metric.scale * mean:.{metric.digits}f}{' ' * bool(metric.unit)}{metric.unit}"
    yield f"{leader} leads on {column.title} with {metric.title} {shown}"
    # the row whose difference to the reference is reported: the leader; if the reference leads, the
    # second row
    row = order[1] if leader == table.reference else leader
    found = [
        d
        for d in table.differences
        if d.column == column and d.column is not AVERAGE and d.metric == metric.key
        if d.method == row and d.mean is not None
    ]
    if not found or table.untested is not None:
        yield "(not tested against a reference)."
        return
    yield from _compared(found[0], metric, leader, table.correction)


def _compared(d: Difference, metric: TableColumn, leader: str, correction: str) -> Iterator[str]:
    sign = 1 if d.method == leader else -1
    other = d.reference if d.method == leader else d.method
    points = " points" if metric.unit == "%" else ""
    text = f"({sign * metric.scale * (d.mean or 0):+.{metric.digits}f}{points} against {other}"
    if d.interval is not None:
        ends = sorted(sign * metric.scale * end for end in (d.interval.low, d.interval.high))
        text += f" [{ends[0]:+.{metric.digits}f}, {ends[1]:+.{metric.digits}f}]"
    wins = d.wins if sign > 0 else d.losses
    if wins is not None:
        text += f", better in {wins} of {d.n} {d.column.unit}s"
    yield text + ")."
    p = corrected(d, correction)
    if d.n == 1:
        yield f"Not decided: a single {d.column.unit}."
    elif p is not None and p < ALPHA:
        yield f"Decided: {TESTS[correction]} {p:.4f}."
    elif p is not None:
        yield f"Not decided: {TESTS[correction]} {p:.4f}{_more(d, correction)}."


def _more(d: Difference, correction: str) -> str:
    """A clause on the number of additional units with which the test would decide the difference.

    The number is that of `units_needed`.
    """
    needed = units_needed(d, correction)
    unit = d.column.unit
    if needed.least is None:
        return f"; more than 200 further {unit}s would be needed to decide it"
    if needed.most is None:
        return f"; at least {needed.least} further {unit}s would be needed to decide it"
    if needed.least == needed.most:
        return f"; about {needed.least} further {unit}s would decide it"
    return f"; about {needed.least} to {needed.most} further {unit}s would decide it"
