"""Builds the block of `--details`.

It shows statistics across benches, standard deviations due to order and due to seed, and the number
of additional orders that a test needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from analysis.blocks.grid import NONE, Block, Grid, Text, signed
from analysis.runs.protocol import Group
from analysis.stats import across_benches, significance, variance
from analysis.stats.paired import ALPHA, AVERAGE, Difference, corrected
from analysis.stats.significance import Interval
from analysis.tables.comparison import COLUMNS, PRIMARY, Table, TableColumn, values_of


@dataclass(frozen=True, slots=True)
class AcrossBenches:
    """Statistics of one method over those benches on which every method was measured."""

    method: str
    benches: int
    iqm: float | None
    """Interquartile mean of the scores, in standard deviations (see `across_benches.normalised`);
    None for a single bench."""
    iqm_interval: Interval | None
    improvement: float | None
    """Probability (0 to 1) that a random order of this method is better than one of the reference,
    over common orders. None for the reference, without a reference, and if a bench has no common
    order."""
    improvement_interval: Interval | None


@dataclass(frozen=True, slots=True)
class VarianceParts:
    """The standard deviations of one method on one bench that are due to order and to seed."""

    bench: str
    method: str
    parts: variance.Components


@dataclass(frozen=True, slots=True)
class UnitsNeeded:
    """The number of additional units (orders) that a test needs: between `least` and `most`."""

    bench: str
    method: str
    mean: float | None
    n: int
    least: int | None
    """For max-T at the level of a single test, for Holm as `most`. None: more than 200, or `n` is
    below 3."""
    most: int | None
    """At the level divided by the number of tests (not divided if there is no correction). None:
    as for `least`."""


@dataclass(frozen=True, slots=True)
class Details:
    """All details for one metric, in stored units; only `across` has scores and probabilities."""

    metric: str
    across: tuple[AcrossBenches, ...]
    spread: tuple[VarianceParts, ...]
    further: tuple[UnitsNeeded, ...]


def build_details(groups: Sequence[Group], labels: Mapping[str, str], table: Table) -> Details:
    """The details of the table that was built from the same groups.

    Their metric is the first endpoint of the table that is ranked, or ACC if no endpoint is ranked.
    """
    ranked = [metric for metric in table.endpoints if metric.better]
    metric = ranked[0] if ranked else COLUMNS[PRIMARY]
    values = [values_of(group.runs, labels, {metric})[metric.key] for group in groups]
    spread = [
        VarianceParts(column.title, method, variance.components(found[method]))
        for column, found in zip(table.columns, values, strict=True)
        for method in table.methods
        if method in found
    ]
    further = [
        units_needed(d, table.correction)
        for d in table.differences
        if d.metric == metric.key and d.column is not AVERAGE
    ]
    across = _across(values, metric, table)
    return Details(metric.key, tuple(across), tuple(spread), tuple(further))


def units_needed(d: Difference, correction: str) -> UnitsNeeded:
    """The additional units that the test of `d` needs under this correction.

    Both bounds are 0 if the table's test is already significant; else they are simulated. For max-T
    the needed number lies between the bounds (that of a single test, and that of the level divided
    by the number of tests), because it depends on the correlation of the rows.
    """
    p = corrected(d, correction)
    decided = p is not None and p < ALPHA
    shares = {"none": (1, 1), "holm": (d.family, d.family), "maxt": (1, d.family)}[correction]
    found = [0 if decided else _more(d, ALPHA / max(1, share)) for share in shares]
    return UnitsNeeded(d.column.title, d.method, d.mean, d.n, *found)


def _more(d: Difference, alpha: float) -> int | None:
    found = variance.units_to_decide(d.differences, alpha)
    return 1 if found == 0 else found


def _across(
    values: Sequence[Mapping[str, Mapping[significance.Place, float]]],
    metric: TableColumn,
    table: Table,
) -> list[AcrossBenches]:
    methods = [m for m in table.methods if any(m in found for found in values)]
    whole = [i for i, found in enumerate(values) if all(m in found for m in methods)]
    if not whole:
        return []
    units = {
        m: [significance.average_units(values[i][m], table.columns[i].unit) for i in whole]
        for m in methods
    }
    scores = across_benches.normalised(
        {m: [np.array(list(found.values())) for found in units[m]] for m in methods}
    )
    out = []
    for method in methods:
        iqm, interval = None, None
        if len(whole) > 1:
            iqm = across_benches.interquartile_mean(scores[method])
            interval = across_benches.bootstrap(
                [scores[method]], across_benches.interquartile_mean, paired=True
            )
        better = _improvement(units[method], units.get(table.reference or ""), metric.better)
        if method == table.reference:
            better = (None, None)
        out.append(AcrossBenches(method, len(whole), iqm, interval, *better))
    return out


def _improvement(
    ours: Sequence[Mapping[str, float]],
    theirs: Sequence[Mapping[str, float]] | None,
    sign: int,
) -> tuple[float | None, Interval | None]:
    if theirs is None:
        return None, None
    a, b = [], []
    for mine, other in zip(ours, theirs, strict=True):
        common = [key for key in mine if key in other]
        if not common:
            return None, None
        a.append(sign * np.array([mine[key] for key in common]))
        b.append(sign * np.array([other[key] for key in common]))
    found = across_benches.probability_of_improvement(a, b)
    # Orders are drawn for each method separately, as in rliable. If the same orders were drawn for
    # both, an order would be compared with itself too often, and the interval would shift away from
    # the estimate.
    return found, across_benches.bootstrap(
        [a, b], across_benches.probability_of_improvement, paired=False
    )


def details_json(details: Details) -> dict[str, Any]:
    """The details as a dict of plain values, for JSON."""
    return asdict(details)


def details_block(details: Details, table: Table) -> Block:
    """The details as a block: one grid each for benches, variance and more orders, with notes.

    A grid without rows is left out.
    """
    title = COLUMNS[details.metric].title
    grids = [_across_grid(details, table), _spread_grid(details)]
    notes = [
        "P: how often a random order of the method is better than a random, usually another, order "
        "of the reference, mean over benches; with a 95 % stratified bootstrap interval (orders "
        "resampled inside benches, for each method by itself). P is not paired, so it includes the "
        "spread of the orders.",
        "Order and seed: standard deviations of a one-way random-effects model, in points of "
        f"{title}; where no order has a second seed, that of the order includes that of the seed. "
        "Inaccurate with few orders; an estimate below 0 is shown as 0.",
    ]
    if any(row.iqm is not None for row in details.across):
        notes.insert(
            0,
            f"IQM: mean of the middle half of all scores of all benches. Score: {title} minus the "
            "mean of the rows' means on its bench, divided by the std of all values of that bench, "
            "so that easy and hard benches have equal weight; it depends on the rows of the table. "
            "95 % stratified bootstrap interval.",
        )
    if details.further:
        grids.append(_further_grid(details, table))
        tests = max(d.family for d in table.differences)
        levels = {
            "none": f"at {ALPHA}",
            "holm": f"at {ALPHA} / {tests} (the number of tests)",
            "maxt": f"at {ALPHA} (the least) and at {ALPHA} / {tests}, the number of tests (the "
            "most): what max-T needs lies between",
        }
        notes.append(
            "More orders: the fewest additional orders with which the test is significant in 80 % "
            f"of simulations {levels[table.correction]}; 0: it is already; >200: more than 200."
        )
    return Block(tuple(grid for grid in grids if grid.rows), tuple(notes))


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.2f}"


def _range(interval: Interval | None, scale: float = 100) -> str:
    if interval is None:
        return NONE
    return f"[{scale * interval.low:z.2f}, {scale * interval.high:z.2f}]"


def _across_grid(details: Details, table: Table) -> Grid:
    """The grid of statistics across benches.

    It has no rows if there is only one bench and no reference, because there is nothing to show.
    """
    count = details.across[0].benches if details.across else 0
    scored = any(row.iqm is not None for row in details.across)
    header = ["method", *(["IQM", "95 % interval"] if scored else [])]
    header += [f"P over {table.reference} (%)", "95 % interval"] if table.reference else []
    rows = []
    for row in details.across if len(header) > 1 else ():
        cells = [row.method]
        if scored:
            cells += [NONE if row.iqm is None else f"{row.iqm:+z.2f}", _range(row.iqm_interval, 1)]
        if table.reference:
            cells += [_percent(row.improvement), _range(row.improvement_interval)]
        rows.append(tuple(map(Text, cells)))
    metric = COLUMNS[details.metric].title
    title = f"Across {count} bench{'es' if count != 1 else ''}, {metric}"
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
    metric = COLUMNS[details.metric]
    header = ("bench", "method", "difference", "n", "more")
    rows = tuple(
        (
            Text(row.bench),
            Text(row.method),
            Text(signed(row.mean, metric)),
            Text(str(row.n)),
            Text(_between(row)),
        )
        for row in details.further
    )
    title = f"More orders to decide the difference to {table.reference}"
    return Grid(title, (("", len(header)),), header, rows, words=2)


def _between(row: UnitsNeeded) -> str:
    """The number of additional units as text: `3`, or `3 to 8`; `--` for fewer than 3 units."""
    if row.n < 3:
        return NONE
    least, most = (">200" if n is None else str(n) for n in (row.least, row.most))
    return least if least == most else f"{least} to {most}"
