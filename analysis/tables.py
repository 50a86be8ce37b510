"""The comparison table as data: what stands in it, before anyone decides how it looks.

Rows are method configurations, columns are (bench, metric). Inside a column every run has the same
protocol. Means and deviations are over the bench's unit: the order, with seeds averaged inside it;
or the seed, where the bench was run with a single order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from analysis import choose, declared, stats
from analysis.load import Run, provenance
from analysis.protocol import Group
from analysis.stats import Interval, Place

ALPHA = 0.05
"""Level of every test and interval."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One kind of column."""

    key: str
    title: str
    scale: float = 100.0
    """Multiplies the stored value for print: fractions become percentages."""
    unit: str = "%"
    digits: int = 2
    better: int = 1
    """+1: more is better, -1: less is better, 0: not ranked."""
    read: Callable[[Run], float | None]


def _stored(key: str) -> Callable[[Run], float | None]:
    return lambda run: run.metrics.get(key)


def _without_head(key: str) -> Callable[[Run], float | None]:
    return lambda run: run.metrics_ncm.get(key)


def _in_task(key: str) -> Callable[[Run], float | None]:
    return lambda run: run.metrics_in_task.get(key)


def _recorded(key: str) -> Callable[[Run], float | None]:
    def read(run: Run) -> float | None:
        value = provenance(run).get(key)
        return float(value) if isinstance(value, int | float) else None

    return read


def _kept(run: Run) -> float | None:
    return None if run.kept_bytes is None else float(run.kept_bytes)


_MIB = 1 / 2**20
METRICS = {
    metric.key: metric
    for metric in (
        Metric(key="acc", title="ACC", read=_stored("acc")),
        Metric(key="maa", title="MAA", read=_stored("maa")),
        Metric(key="bwt", title="BWT", read=_stored("bwt")),
        Metric(key="acc_taskmean", title="ACC/task", read=_stored("acc_taskmean")),
        Metric(key="maa_taskmean", title="MAA/task", read=_stored("maa_taskmean")),
        Metric(key="forgetting", title="Forgetting", better=-1, read=_stored("forgetting")),
        Metric(key="learning_acc", title="Learning", read=_stored("learning_acc")),
        Metric(key="acc_in_task", title="ACC in task", read=_in_task("acc")),
        Metric(key="acc_ncm", title="ACC (NCM)", read=_without_head("acc")),
        Metric(key="maa_ncm", title="MAA (NCM)", read=_without_head("maa")),
        Metric(key="bwt_ncm", title="BWT (NCM)", read=_without_head("bwt")),
        Metric(
            key="seconds",
            title="Seconds",
            scale=1,
            unit="s",
            digits=1,
            better=0,
            read=_recorded("seconds"),
        ),
        Metric(
            key="memory",
            title="Memory",
            scale=_MIB,
            unit="MiB",
            digits=0,
            better=0,
            read=_recorded("peak_memory_bytes"),
        ),
        Metric(key="kept", title="Kept", scale=_MIB, unit="MiB", better=0, read=_kept),
    )
}
"""What a column can show; definitions of the accuracies are in `janus.metrics.summarise`."""

PRIMARY = "acc"
"""The endpoint of the paired comparison."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One number of the table, in stored units."""

    mean: float | None
    std: float | None
    n: int
    """Units with a value."""
    runs: int
    best: bool = False
    """Significantly better than every other row of the column (paired, Holm)."""
    second: bool = False
    """The same among the rows that are left when the best one is taken away."""
    half_width: float | None = None
    """Half of the 95 % t interval of the mean, where asked for."""


@dataclass(frozen=True, slots=True)
class Column:
    """A bench under one protocol."""

    bench: str
    mark: int | None
    """Footnote number, when the bench stands in the table under several protocols."""
    protocol: tuple[tuple[str, str], ...]
    unit: str
    """`order` or `seed`: what is counted by n and assumed exchangeable."""

    @property
    def title(self) -> str:
        """The bench's name, with its footnote mark."""
        return self.bench if self.mark is None else f"{self.bench} [{self.mark}]"


@dataclass(frozen=True, slots=True)
class Difference:
    """A method against the reference on one bench: the primary metric, paired."""

    column: Column
    method: str
    reference: str
    differences: tuple[float, ...]
    """One per common unit."""
    mean: float | None
    """Method minus reference, over common units: negative when the reference is better."""
    std: float | None
    interval: Interval | None
    n: int
    p: float | None
    """Exact sign-flip test."""
    p_holm: float | None
    """The same, adjusted over all methods and benches of the table."""
    p_smallest: float | None
    """What n units could give at best."""
    effect: float | None
    """Hedges' g of the differences: mean / std, corrected for few units."""
    wins: int
    losses: int
    """Units in which the method is better / worse than the reference."""
    method_lacks: tuple[Place, ...]
    reference_lacks: tuple[Place, ...]
    """(order, seed) pairs that the other one has: left out."""


@dataclass(frozen=True, slots=True)
class Table:
    """Everything that is printed."""

    columns: tuple[Column, ...]
    metrics: tuple[Metric, ...]
    methods: tuple[str, ...]
    entries: Mapping[tuple[str, int, str], Entry]
    """By (method, column number, metric key)."""
    reference: str | None
    differences: tuple[Difference, ...]
    spread: str = "std"
    """What stands behind ±: `std`, or `ci` for half of a 95 % t interval."""
    untested: tuple[str, ...] | None = None
    """Notes on rows that are not alike; given, nothing in the table is tested."""
    cautions: tuple[str, ...] = ()
    """Reasons to read single rows with care."""

    def entry(self, method: str, column: int, metric: str) -> Entry | None:
        """The number at this place, or None when nothing was measured."""
        return self.entries.get((method, column, metric))

    def units(self, method: str, column: int) -> int:
        """Units of this column's bench that the method was measured on."""
        found = (self.entry(method, column, metric.key) for metric in self.metrics)
        return max((entry.n for entry in found if entry), default=0)


Values = dict[str, dict[str, dict[Place, float]]]
"""metric -> method -> (order, seed) -> stored value."""


def build(
    groups: Sequence[Group],
    labels: Mapping[str, str],
    metrics: Sequence[str],
    reference: str | None = None,
    rows: Sequence[str] | None = None,
    spread: str = "std",
    untested: tuple[str, ...] | None = None,
) -> Table:
    """The table of these runs; rows in the order given, else by name with the reference last.

    `untested`: notes on rows that differ in more than the method, which are then never compared.
    """
    assert untested is None or reference is None
    methods = tuple(rows) if rows else _row_order(labels.values(), reference)
    shown = tuple(METRICS[key] for key in metrics)
    benches = [group.bench for group in groups]
    columns: list[Column] = []
    entries: dict[tuple[str, int, str], Entry] = {}
    differences: list[Difference] = []
    for number, group in enumerate(groups):
        mark = number + 1 if benches.count(group.bench) > 1 else None
        column = Column(group.bench, mark, group.protocol, unit_of(group.runs))
        columns.append(column)
        values = values_of(group.runs, labels, {METRICS[PRIMARY], *shown})
        for metric in shown:
            found = _entries(metric, values[metric.key], column.unit, spread, untested is None)
            for method, entry in found.items():
                entries[method, number, metric.key] = entry
        if reference is not None:
            differences += _compare(column, methods, reference, values[PRIMARY])
    adjusted = _adjust(differences)
    found_all = (tuple(columns), shown, methods, entries, reference, adjusted)
    return Table(*found_all, spread, untested, tuple(declared.of_rows(groups, labels)))


def _row_order(labels: Iterable[str], reference: str | None) -> tuple[str, ...]:
    return tuple(sorted(set(labels), key=lambda label: (label == reference, choose.natural(label))))


def unit_of(runs: Sequence[Run]) -> str:
    """`order`, or `seed` when all runs share one order and seeds are all that varies."""
    return "order" if len({run.order for run in runs}) > 1 else "seed"


def values_of(runs: Sequence[Run], labels: Mapping[str, str], metrics: set[Metric]) -> Values:
    """The stored values of these metrics; what a run did not measure is left out."""
    out: Values = {metric.key: {} for metric in metrics}
    for run in runs:
        for metric in metrics:
            value = metric.read(run)
            if value is not None:
                out[metric.key].setdefault(labels[run.id], {})[run.order, run.seed] = value
    return out


def _entries(
    metric: Metric,
    values: Mapping[str, Mapping[Place, float]],
    unit: str,
    spread: str,
    tested: bool,
) -> dict[str, Entry]:
    best = _best(metric, values, unit) if tested else None
    rest = {method: draws for method, draws in values.items() if method != best}
    second = _best(metric, rest, unit) if best else None
    out = {}
    for method, draws in values.items():
        units = list(stats.average_units(draws, unit).values())
        mean, std = stats.mean_std(units)
        half = stats.t_half_width(units, 1 - ALPHA) if spread == "ci" else None
        marks = (method == best, method == second)
        out[method] = Entry(mean, std, len(units), len(draws), *marks, half)
    return out


def _best(metric: Metric, values: Mapping[str, Mapping[Place, float]], unit: str) -> str | None:
    """The row that beats every other one at ALPHA (paired sign-flip, Holm over them), or None."""
    if metric.better == 0 or len(values) < 2:
        return None

    def mean(method: str) -> float:
        units = stats.average_units(values[method], unit)
        return metric.better * sum(units.values()) / len(units)

    leader, *others = sorted(sorted(values), key=mean, reverse=True)
    p_values = []
    for method in others:  # the closest rival first: one p that is too large settles it
        found = list(stats.pair(values[leader], values[method], unit).differences.values())
        ahead = metric.better * sum(found) > 0
        p_values.append(stats.sign_flip_p(found) if ahead else 1.0)
        if p_values[-1] >= ALPHA:
            return None
    return leader if max(stats.holm(p_values)) < ALPHA else None


def _compare(
    column: Column,
    methods: Sequence[str],
    reference: str,
    values: Mapping[str, Mapping[Place, float]],
) -> list[Difference]:
    """Unadjusted differences of one column; nothing for methods without a value in it."""
    theirs = values.get(reference, {})
    out = []
    for method in methods:
        if method == reference or method not in values or not theirs:
            continue
        pairing = stats.pair(values[method], theirs, column.unit)
        found = list(pairing.differences.values())
        mean, std = stats.mean_std(found)
        wins, losses = stats.count_wins(found)
        out.append(
            Difference(
                column=column,
                method=method,
                reference=reference,
                differences=tuple(found),
                mean=mean,
                std=std,
                interval=stats.bootstrap_interval(found),
                n=len(found),
                p=stats.sign_flip_p(found) if found else None,
                p_holm=None,
                p_smallest=stats.smallest_p(len(found)) if found else None,
                effect=stats.hedges_g(found),
                wins=wins,
                losses=losses,
                method_lacks=pairing.only_theirs,
                reference_lacks=pairing.only_ours,
            )
        )
    return out


def _adjust(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """The differences with Holm's p over the whole family."""
    tested = [d for d in differences if d.p is not None]
    adjusted = dict(
        zip(map(id, tested), stats.holm([d.p for d in tested if d.p is not None]), strict=True)
    )
    return tuple(replace(d, p_holm=adjusted.get(id(d))) for d in differences)
