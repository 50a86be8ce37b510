"""What `--details` adds to the table: across benches, order against seed, how many more orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from analysis import aggregate, stats, variance
from analysis.protocol import Group
from analysis.render import NONE, Block, Grid, Text, points
from analysis.stats import Interval
from analysis.tables import ALPHA, METRICS, PRIMARY, Difference, Table, values_of


@dataclass(frozen=True, slots=True)
class Across:
    """One method over all benches that every method of the table was measured on."""

    method: str
    benches: int
    iqm: float
    iqm_interval: Interval | None
    improvement: float | None
    """Probability of improvement over the reference, over common orders."""
    improvement_interval: Interval | None


@dataclass(frozen=True, slots=True)
class Spread:
    """Order and seed parts of one method's spread on one bench."""

    bench: str
    method: str
    parts: variance.Components


@dataclass(frozen=True, slots=True)
class Further:
    """How many more units would decide a difference."""

    bench: str
    method: str
    n: int
    further: int | None


@dataclass(frozen=True, slots=True)
class Details:
    """All of it, in stored units, for the primary metric."""

    across: tuple[Across, ...]
    spread: tuple[Spread, ...]
    further: tuple[Further, ...]


def build(groups: Sequence[Group], labels: Mapping[str, str], table: Table) -> Details:
    """The details of the table that was built from the same groups."""
    metric = METRICS[PRIMARY]
    values = [values_of(group.runs, labels, {metric})[PRIMARY] for group in groups]
    spread = [
        Spread(column.title, method, variance.components(found[method]))
        for column, found in zip(table.columns, values, strict=True)
        for method in table.methods
        if method in found
    ]
    family = max(1, sum(d.p is not None for d in table.differences))
    further = [
        Further(d.column.title, d.method, d.n, _further(d, ALPHA / family))
        for d in table.differences
    ]
    return Details(tuple(_across(values, table)), tuple(spread), tuple(further))


def _further(d: Difference, alpha: float) -> int | None:
    """0 exactly where the table's own test (Holm) decides; else what the simulation asks for."""
    if d.p_holm is not None and d.p_holm < ALPHA:
        return 0
    found = variance.units_to_decide(d.differences, alpha)
    return 1 if found == 0 else found


def _across(
    values: Sequence[Mapping[str, Mapping[stats.Place, float]]], table: Table
) -> list[Across]:
    methods = [m for m in table.methods if any(m in found for found in values)]
    whole = [i for i, found in enumerate(values) if all(m in found for m in methods)]
    if not whole:
        return []
    units = {
        m: [stats.average_units(values[i][m], table.columns[i].unit) for i in whole]
        for m in methods
    }
    out = []
    for method in methods:
        scores = [np.array(list(found.values())) for found in units[method]]
        interval = aggregate.bootstrap([scores], aggregate.interquartile_mean, paired=True)
        better = _improvement(units[method], units.get(table.reference or ""))
        if method == table.reference:
            better = (None, None)
        iqm = aggregate.interquartile_mean(scores)
        out.append(Across(method, len(whole), iqm, interval, *better))
    return out


def _improvement(
    ours: Sequence[Mapping[str, float]], theirs: Sequence[Mapping[str, float]] | None
) -> tuple[float | None, Interval | None]:
    if theirs is None:
        return None, None
    a, b = [], []
    for mine, other in zip(ours, theirs, strict=True):
        common = [key for key in mine if key in other]
        if not common:
            return None, None
        a.append(np.array([mine[key] for key in common]))
        b.append(np.array([other[key] for key in common]))
    found = aggregate.probability_of_improvement(a, b)
    # drawn apart, as rliable does: an order drawn for both at once meets itself too often, and
    # the interval would shift away from the estimate
    return found, aggregate.bootstrap([a, b], aggregate.probability_of_improvement, paired=False)


def to_json(details: Details) -> dict[str, Any]:
    """As plain values."""
    return asdict(details)


def block(details: Details, table: Table) -> Block:
    """The details as grids with their notes."""
    grids = [_across_grid(details, table), _spread_grid(details)]
    notes = [
        "IQM: mean of the middle half of all units of all benches; P: how often a random order of "
        "the method beats a random, usually another, order of the reference; both with 95 % "
        "stratified bootstrap intervals (orders resampled inside benches, for each method by "
        "itself). P is not paired: the spread of the orders is in it.",
        "Order and seed: standard deviations of a one-way random-effects model, in points of "
        "ACC; without a second seed the order's holds both. Rough where orders are few; an "
        "estimate below 0 is shown as 0.",
    ]
    if details.further:
        grids.append(_further_grid(details, table))
        notes.append(
            f"More orders: fewest further ones after which the test decides in 80 % of simulated "
            f"futures at {ALPHA} / {len(details.further)} (the number of tests); 0: decided; "
            ">200: not with 200 more."
        )
    return Block(tuple(grid for grid in grids if grid.rows), tuple(notes))


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.2f}"


def _range(interval: Interval | None) -> str:
    if interval is None:
        return NONE
    return f"[{_percent(interval.low)}, {_percent(interval.high)}]"


def _across_grid(details: Details, table: Table) -> Grid:
    count = details.across[0].benches if details.across else 0
    header = ["method", "IQM", "95 % interval"]
    header += [f"P over {table.reference} (%)", "95 % interval"] if table.reference else []
    rows = []
    for row in details.across:
        cells = [row.method, _percent(row.iqm), _range(row.iqm_interval)]
        if table.reference:
            cells += [_percent(row.improvement), _range(row.improvement_interval)]
        rows.append(tuple(map(Text, cells)))
    title = f"Across {count} bench{'es' if count != 1 else ''}, ACC"
    return Grid(title, (("", len(header)),), tuple(header), tuple(rows), words=1)


def _spread_grid(details: Details) -> Grid:
    header = ("bench", "method", "orders", "runs", "std order", "std seed", "order's share (%)")
    rows = tuple(
        tuple(
            map(
                Text,
                (
                    row.bench,
                    row.method,
                    str(row.parts.orders),
                    str(row.parts.runs),
                    _percent(row.parts.order),
                    _percent(row.parts.seed),
                    _percent(row.parts.order_share),
                ),
            )
        )
        for row in details.spread
    )
    return Grid("Order against seed", (("", len(header)),), header, rows, words=2)


def _further_grid(details: Details, table: Table) -> Grid:
    header = ("bench", "method", "difference", "n", "more")
    means = {(d.column.title, d.method): d.mean for d in table.differences}
    rows = tuple(
        (
            Text(row.bench),
            Text(row.method),
            Text(points(means[row.bench, row.method])),
            Text(str(row.n)),
            Text(NONE if row.n < 3 else ">200" if row.further is None else str(row.further)),
        )
        for row in details.further
    )
    title = f"More orders to decide the difference to {table.reference}"
    return Grid(title, (("", len(header)),), header, rows, words=2)
