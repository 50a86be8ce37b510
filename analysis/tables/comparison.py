"""Builds the comparison table as data: its columns, means, tests and differences.

Rows are method configurations, columns are (bench, metric). Inside a column every run has the same
protocol. Means and deviations are over the units of the bench: the orders, each a mean over its
seeds; or the seeds, if the bench was run with a single order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from analysis.runs import filters, method_cautions
from analysis.runs.load import RunRecord, provenance
from analysis.runs.protocol import Group
from analysis.stats import paired, significance
from analysis.stats.paired import ALPHA, AVERAGE, Column, Difference
from analysis.stats.significance import Place
from analysis.tables import cautions
from janus import plugins
from janus.errors import ConfigError
from janus.metrics import METRICS as COMPUTED


@dataclass(frozen=True, kw_only=True, slots=True)
class TableColumn:
    """A metric that the table can show. To add one, add an entry to `COLUMNS`."""

    key: str
    title: str
    scale: float = 100.0
    """Factor for printing the stored value: 100 turns fractions into percentages."""
    unit: str = "%"
    digits: int = 2
    better: int = 1
    """+1: more is better, -1: less is better, 0: not ranked."""
    read: Callable[[RunRecord], float | None]
    """The function that returns a run's stored value; None if it was not measured."""


def _from_counts() -> Iterator[TableColumn]:
    """Yield a `TableColumn` for each metric of `janus.metrics`; these are computed from counts."""
    for metric in COMPUTED.values():
        yield TableColumn(
            key=metric.key,
            title=metric.title,
            scale=metric.scale,
            unit=metric.unit,
            digits=metric.digits,
            better=metric.better,
            read=_computed(metric.key),
        )


def _computed(key: str) -> Callable[[RunRecord], float | None]:
    return lambda run: run.metrics.get(key)


def _without_head(key: str) -> Callable[[RunRecord], float | None]:
    return lambda run: run.metrics_ncm.get(key)


def _in_task(key: str) -> Callable[[RunRecord], float | None]:
    return lambda run: run.metrics_in_task.get(key)


def _recorded(key: str) -> Callable[[RunRecord], float | None]:
    def read(run: RunRecord) -> float | None:
        value = provenance(run).get(key)
        return float(value) if isinstance(value, int | float) else None

    return read


def _kept(run: RunRecord) -> float | None:
    return None if run.kept_bytes is None else float(run.kept_bytes)


_MIB = 1 / 2**20
COLUMNS = {
    metric.key: metric
    for metric in (
        *_from_counts(),
        TableColumn(key="acc_in_task", title="ACC in task", read=_in_task("acc")),
        TableColumn(key="bwt_in_task", title="BWT in task", read=_in_task("bwt")),
        TableColumn(key="acc_ncm", title="ACC (NCM)", read=_without_head("acc")),
        TableColumn(key="maa_ncm", title="MAA (NCM)", read=_without_head("maa")),
        TableColumn(key="bwt_ncm", title="BWT (NCM)", read=_without_head("bwt")),
        TableColumn(
            key="seconds",
            title="Seconds",
            scale=1,
            unit="s",
            digits=1,
            better=0,
            read=_recorded("seconds"),
        ),
        TableColumn(
            key="memory",
            title="Memory",
            scale=_MIB,
            unit="MiB",
            digits=0,
            better=0,
            read=_recorded("peak_memory_bytes"),
        ),
        TableColumn(key="kept", title="Kept", scale=_MIB, unit="MiB", better=0, read=_kept),
    )
}
"""{key: metric} of all metrics that the table can show. `janus.metrics.METRICS` defines the
accuracies."""


def add_outside() -> None:
    """Add to `COLUMNS` the metrics and the columns that modules from outside registered.

    Raises ConfigError if a registered column has the name of another one.
    """
    plugins.every("metric")  # imports the modules, which adds their metrics to METRICS of janus
    for metric in _from_counts():
        COLUMNS.setdefault(metric.key, metric)
    for entry in plugins.every("column"):
        before = COLUMNS.get(entry.name)
        if before is not None and before.read is not entry.value["read"]:
            raise ConfigError(
                f"column {entry.name!r} is in analysis/tables/comparison.py and in "
                f"{entry.source.path}; rename the second"
            )
        COLUMNS[entry.name] = TableColumn(**entry.value)


PRIMARY = "acc"
"""The default endpoint of the paired comparison."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One number of the table, in stored units."""

    mean: float | None
    std: float | None
    n: int
    """Number of units with a value."""
    runs: int
    best: bool = False
    """Whether the row is better than every other row: each paired test has p < ALPHA."""
    second: bool = False
    """Whether the row is better, by the same tests, than every other row except the best one."""
    half_width: float | None = None
    """Half of the 95 % t interval of the mean."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """The whole table: columns, rows, means, differences and settings for printing."""

    columns: tuple[Column, ...]
    metrics: tuple[TableColumn, ...]
    methods: tuple[str, ...]
    entries: Mapping[tuple[str, int, str], Entry]
    """{(row name, column number, metric key): entry}; endpoints that are not shown are included."""
    averages: Mapping[tuple[str, str], Entry]
    """{(row name, metric key): mean over the benches}, for rows that were measured on all benches.
    {} for one bench, and if a bench has several protocols."""
    reference: str | None
    endpoints: tuple[TableColumn, ...]
    """The metrics that are compared with the reference."""
    differences: tuple[Difference, ...]
    """Sorted by endpoint, then column, then row."""
    correction: str = "maxt"
    """One of `paired.CORRECTIONS`; the p it gives decides which differences are bold."""
    spread: str = "std"
    """The value after ±: `std`, or `ci` for half of the 95 % t interval."""
    untested: tuple[str, ...] | None = None
    """Notes on rows that differ in more than the method; None if there are no such rows. If given,
    nothing is tested."""
    cautions: tuple[str, ...] = ()
    """Sentences on differences between rows besides the method, and on settings of methods."""

    def entry(self, method: str, column: int, metric: str) -> Entry | None:
        """The entry of this row, column and metric; None if it was not measured."""
        return self.entries.get((method, column, metric))

    def units(self, method: str, column: int) -> int:
        """The number of units of this column for which the row has a value of a shown metric."""
        found = (self.entry(method, column, metric.key) for metric in self.metrics)
        return max((entry.n for entry in found if entry), default=0)


Values = dict[str, dict[str, dict[Place, float]]]
"""{metric key: {row name: {(order, seed): stored value}}}."""


def build_table(
    groups: Sequence[Group],
    labels: Mapping[str, str],
    metrics: Sequence[str],
    reference: str | None = None,
    rows: Sequence[str] | None = None,
    spread: str = "std",
    untested: tuple[str, ...] | None = None,
    endpoints: Sequence[str] = (PRIMARY,),
    correction: str = "maxt",
) -> Table:
    """The table of the runs in `groups`, one column per group and metric.

    `labels`: {run id: row name}. `rows`: the row names in order; else they are sorted by name, with
    the reference last. `untested`: notes on rows that differ in more than the method; if given, no
    row is tested, and `reference` must be None.
    """
    assert untested is None or reference is None
    methods = tuple(rows) if rows else _row_order(labels.values(), reference)
    shown = tuple(COLUMNS[key] for key in metrics)
    tested = tuple(COLUMNS[key] for key in endpoints)
    every = list(dict.fromkeys([*shown, *tested]))
    names = [group.bench for group in groups]
    columns = tuple(
        Column(g.bench, i + 1 if names.count(g.bench) > 1 else None, g.protocol, unit_of(g.runs))
        for i, g in enumerate(groups)
    )
    values = [values_of(group.runs, labels, set(every)) for group in groups]
    entries: dict[tuple[str, int, str], Entry] = {}
    averages: dict[tuple[str, str], Entry] = {}
    averaged = len(columns) > 1 and all(column.mark is None for column in columns)
    for metric in every:
        benches = [(found[metric.key], c.unit) for found, c in zip(values, columns, strict=True)]
        for number, bench in enumerate(benches):
            for method, entry in _entries(metric, [bench], untested is None).items():
                entries[method, number, metric.key] = entry
        if averaged and metric.unit == "%":
            for method, entry in _entries(metric, benches, untested is None).items():
                averages[method, metric.key] = entry
    differences: list[Difference] = []
    for metric in tested:
        found = {c: v[metric.key] for c, v in zip(columns, values, strict=True)}
        for column in columns:
            differences += _compare(column, {column: found[column]}, metric, methods, reference)
        if averaged:
            differences += _compare(AVERAGE, found, metric, methods, reference)
    adjusted = paired.adjust(differences)
    return Table(
        columns=columns,
        metrics=shown,
        methods=methods,
        entries=entries,
        averages=averages,
        reference=reference,
        endpoints=tested,
        differences=adjusted,
        correction=correction,
        spread=spread,
        untested=untested,
        cautions=(
            *method_cautions.of_rows(groups, labels),
            *cautions.of_runs(groups, labels),
            *cautions.of_differences(adjusted),
        ),
    )


def ranked(table: Table) -> Table:
    """The table with its rows sorted by the mean of the first ranked endpoint, the best row first.

    For several benches it is the mean over those benches on which the row was measured. Rows
    without a value come last. If no endpoint is ranked, the table is returned as it is.
    """
    metric = next((m for m in table.endpoints if m.better), None)
    if metric is None:
        return table

    def place(method: str) -> tuple[bool, float]:
        found = [table.entry(method, i, metric.key) for i in range(len(table.columns))]
        means = [entry.mean for entry in found if entry and entry.mean is not None]
        return not means, -metric.better * math.fsum(means) / max(1, len(means))

    return replace(table, methods=tuple(sorted(table.methods, key=place)))


def _row_order(labels: Iterable[str], reference: str | None) -> tuple[str, ...]:
    return tuple(
        sorted(set(labels), key=lambda label: (label == reference, filters.natural(label)))
    )


def unit_of(runs: Sequence[RunRecord]) -> str:
    """The unit that n counts: `order`, or `seed` if all runs have the same order."""
    return "order" if len({run.order for run in runs}) > 1 else "seed"


def values_of(
    runs: Sequence[RunRecord], labels: Mapping[str, str], metrics: set[TableColumn]
) -> Values:
    """{metric key: {row name: {(order, seed): stored value}}}, without values not measured."""
    out: Values = {metric.key: {} for metric in metrics}
    for run in runs:
        for metric in metrics:
            value = metric.read(run)
            if value is not None:
                out[metric.key].setdefault(labels[run.id], {})[run.order, run.seed] = value
    return out


BenchValues = tuple[Mapping[str, Mapping[Place, float]], str]
"""({row: {(order, seed): value}} of one metric, the unit over whose values means are taken)."""


def _entries(metric: TableColumn, benches: Sequence[BenchValues], tested: bool) -> dict[str, Entry]:
    """{row: entry of the metric}: on one bench, or the mean over several benches.

    Rows that were not measured on all these benches are left out. Without `tested` no row is best.
    """
    rows = [row for row in benches[0][0] if all(row in values for values, _ in benches)]
    best = _best(metric, rows, benches) if tested else None
    second = _best(metric, [row for row in rows if row != best], benches) if best else None
    out = {}
    for row in rows:
        groups = _units(row, benches)
        interval = significance.t_interval(groups, 1 - ALPHA)
        out[row] = Entry(
            mean=_mean(groups),
            std=significance.mean_std(groups[0])[1] if len(groups) == 1 else None,
            n=sum(map(len, groups)),
            runs=sum(len(values[row]) for values, _ in benches),
            best=row == best,
            second=row == second,
            half_width=None if interval is None else (interval.high - interval.low) / 2,
        )
    return out


def _units(row: str, benches: Sequence[BenchValues]) -> list[list[float]]:
    return [
        list(significance.average_units(values[row], unit).values()) for values, unit in benches
    ]


def _mean(groups: Sequence[Sequence[float]]) -> float:
    return math.fsum(math.fsum(group) / len(group) for group in groups) / len(groups)


def _best(metric: TableColumn, rows: Sequence[str], benches: Sequence[BenchValues]) -> str | None:
    """The row that is better than every other row in paired sign-flip tests at ALPHA; None if none.

    It is an intersection-union test (Berger 1982): the row with the best mean counts as better than
    all others only if every hypothesis "not better than this other row" is rejected, so the level
    holds without a correction. The tests are two-sided because this row was selected on the same
    data.
    """
    if metric.better == 0 or len(rows) < 2:
        return None
    means = {row: metric.better * _mean(_units(row, benches)) for row in sorted(rows)}
    leader, *others = sorted(means, key=lambda row: means[row], reverse=True)
    for row in others:  # the closest row first, because one p that is too large ends the search
        pairings = {
            str(number): significance.pair(values[leader], values[row], unit)
            for number, (values, unit) in enumerate(benches)
        }
        terms = list(paired.terms_of(pairings).values())
        common = all(pairing.differences for pairing in pairings.values())
        ahead = common and metric.better * sum(terms) > 0
        if not ahead or significance.sign_flip_p(terms) >= ALPHA:
            return None
    return leader


def _compare(
    column: Column,
    values: Mapping[Column, Mapping[str, Mapping[Place, float]]],
    metric: TableColumn,
    methods: Sequence[str],
    reference: str | None,
) -> list[Difference]:
    """The differences of one column to the reference, with unadjusted p; [] without a reference.

    `values`: by bench (one, or all for the average). Rows without a value on a bench are left out,
    and for the average also rows that have no unit in common with the reference on a bench.
    """
    if reference is None:
        return []
    out = []
    for method in methods:
        if method == reference or not all({method, reference} <= v.keys() for v in values.values()):
            continue
        pairings = {
            c.title: significance.pair(found[method], found[reference], c.unit)
            for c, found in values.items()
        }
        if len(values) == 1 or all(pairing.differences for pairing in pairings.values()):
            names = (method, reference)
            out.append(paired.difference(column, metric.key, metric.better, names, pairings))
    return out
