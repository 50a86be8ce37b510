"""Writes the cautions below a table: sentences on differences between its rows besides the method.

They are part of the table in every format but CSV, so that a copy of the table holds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from analysis.runs.load import RunRecord, provenance
from analysis.runs.protocol import Group
from analysis.stats.paired import Difference
from analysis.stats.significance import mean_std

NAMED = 4
"""Largest number of rows that a sentence names."""

Record = Mapping[str, Any]


def of_runs(groups: Sequence[Group], labels: Mapping[str, str]) -> list[str]:
    """Sentences on rows with unequal orders, seeds, devices, versions or commits; [] if there are
    none.

    Runs that were resumed under other hardware or versions, or trained with uncommitted changes,
    are counted, too.
    """
    runs = [run for group in groups for run in group.runs]
    records = {run.id: provenance(run) for run in runs}
    uneven = [f(group, labels) for group in groups for f in (_other_orders, _uneven_seeds)]
    out = [note for note in uneven if note]
    for name, read in ORIGINS.items():
        found = {run.id: read(records[run.id]) for run in runs}
        if _differs_between_rows(groups, found):
            out.append(_holders(name, runs, labels, found))
    resumed = sum(bool(r.get("resumed_under_other_numerics")) for r in records.values())
    dirty = sum(bool((r.get("git") or {}).get("dirty")) for r in records.values())
    if resumed:
        out.append(f"{resumed} of {len(runs)} runs: resumed under other hardware or versions.")
    if dirty:
        out.append(f"{dirty} of {len(runs)} runs: source tree with uncommitted changes.")
    return out


def of_differences(differences: Sequence[Difference]) -> list[str]:
    """Sentences on rows without a common run with the reference, and on constant differences."""
    first = differences[0].metric if differences else ""  # the other endpoints lack the same runs
    alone = [_place(d) for d in differences if d.metric == first and not d.n]
    equal = [_place(d) for d in differences if d.n > 1 and mean_std(list(d.terms.values()))[1] == 0]
    out = []
    if alone:
        out.append(
            f"No (order, seed) in common with the reference, so no difference: {_few(alone)}."
        )
    if equal:
        out.append(
            f"Intervals without width: all differences are equal ({_few(equal)}), so the data say "
            "nothing about how they vary."
        )
    return out


def _place(d: Difference) -> str:
    return f"{d.method} on {d.column.title}"


def _few(names: Sequence[str]) -> str:
    unique = list(dict.fromkeys(names))
    more = f" and {len(unique) - NAMED} more" if len(unique) > NAMED else ""
    return ", ".join(unique[:NAMED]) + more


def _other_orders(group: Group, labels: Mapping[str, str]) -> str:
    """A sentence on rows that have equally many orders, but not the same ones; '' if there are no
    such rows.

    Rows with fewer orders are named by `notes`.
    """
    orders: dict[str, set[str]] = {}
    for run in group.runs:
        orders.setdefault(labels[run.id], set()).add(run.order)
    other = {
        row
        for row, found in orders.items()
        if any(len(found) == len(theirs) and found != theirs for theirs in orders.values())
    }
    if not other:
        return ""
    return (
        f"{group.bench}: rows have equally many, but other orders ({_few(sorted(other))}), so "
        "their means are not like for like; the paired differences are."
    )


def _uneven_seeds(group: Group, labels: Mapping[str, str]) -> str:
    """A sentence on rows with different seeds in the same order; '' if there are none.

    The means of such rows are over different runs.
    """
    seeds: dict[str, dict[str, set[int]]] = {}
    for run in group.runs:
        seeds.setdefault(run.order, {}).setdefault(labels[run.id], set()).add(run.seed)
    uneven = {
        row
        for rows in seeds.values()
        if len({frozenset(found) for found in rows.values()}) > 1
        for row in rows
    }
    if not uneven:
        return ""
    counts = {row: [len(rows[row]) for rows in seeds.values() if row in rows] for row in uneven}
    said = _few([f"{row} {_span(counts[row])}" for row in sorted(uneven)])
    return (
        f"{group.bench}: rows have other seeds in the same order (seeds an order: {said}), so "
        "their means are not like for like; the paired differences are."
    )


def _span(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _numerics(name: str) -> Callable[[Record], str | None]:
    """A function that reads the numerical setting `name` of a run from its provenance.

    It returns `A then B` if attempts of the run differ, None if nothing was recorded.
    """

    def read(record: Record) -> str | None:
        attempts = record.get("numerics") or []
        values = dict.fromkeys(str(a[name]) for a in attempts if a.get(name) not in (None, ""))
        return " then ".join(values) or None

    return read


def _janus(record: Record) -> str | None:
    return (record.get("packages") or {}).get("janus-lora")


def _commit(record: Record) -> str | None:
    git = record.get("git") or {}
    return str(git.get("sha") or "")[:8] or None


ORIGINS: Mapping[str, Callable[[Record], str | None]] = {
    "devices": _numerics("device"),
    "versions of torch": _numerics("torch"),
    "versions of timm": _numerics("timm"),
    "versions of janus": _janus,
    "commits": _commit,
}
"""{name in the sentence: function that reads it from the provenance}, for the origins of runs that
may differ between two rows."""


def _differs_between_rows(groups: Sequence[Group], found: Mapping[str, str | None]) -> bool:
    """Whether two runs of the same group, order and seed have different values in `found`.

    `found`: by run id; None: not known, which differs from nothing.
    """
    places: dict[tuple[int, str, int], set[str]] = {}
    for number, group in enumerate(groups):
        for run in group.runs:
            if (value := found[run.id]) is not None:
                places.setdefault((number, run.order, run.seed), set()).add(value)
    return any(len(values) > 1 for values in places.values())


def _holders(
    name: str, runs: Sequence[RunRecord], labels: Mapping[str, str], found: Mapping[str, str | None]
) -> str:
    """A sentence on the values in `found` (by run id) and the rows that have them.

    E.g. `Rows differ in their devices (runs of each): A (janus: 4); B (seqlora: 4).`
    """
    counts: dict[str, dict[str, int]] = {}
    for run in runs:
        rows = counts.setdefault(found[run.id] or "not recorded", {})
        rows[labels[run.id]] = rows.get(labels[run.id], 0) + 1
    said = [
        f"{value} ({_few([f'{row}: {n}' for row, n in rows.items()])})"
        for value, rows in sorted(counts.items())
    ]
    return f"Rows differ in their {name} (runs of each): {'; '.join(said)}."
