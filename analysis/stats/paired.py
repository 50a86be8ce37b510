"""Paired differences to the reference: means, intervals, tests, and the families they stand in.

A difference is of one row on one bench, or on the average over benches, in one endpoint. The
tests of a bench, over all rows and endpoints, are one family; those of the average are another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from analysis.stats import significance
from analysis.stats.significance import Interval, Pairing, Place

ALPHA = 0.05
"""Level of every test and interval."""

CORRECTIONS = ("maxt", "holm", "none")
"""What may decide which difference is marked: see `corrected`."""


@dataclass(frozen=True, slots=True)
class Column:
    """A bench under one protocol, or the average over benches."""

    bench: str
    mark: int | None
    """Footnote number, when the bench stands in the table under several protocols."""
    protocol: tuple[tuple[str, str], ...]
    unit: str
    """`order` or `seed`: what is counted by n and assumed exchangeable. Of the average: `unit`."""

    @property
    def title(self) -> str:
        """The bench's name, with its footnote mark."""
        return self.bench if self.mark is None else f"{self.bench} [{self.mark}]"


AVERAGE = Column("average", None, (), "unit")
"""The mean over the benches of a table, each counted once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A row against the reference, paired, in stored units: row minus reference."""

    column: Column
    metric: str
    """Key of the endpoint."""
    method: str
    reference: str
    by_unit: Mapping[str, float]
    """The difference of each common unit; of the average by `bench unit`."""
    terms: Mapping[str, float]
    """The same, divided by the number of units of its bench: what a sign pattern flips, and what
    the mean over benches is the sum of, up to the number of benches."""
    mean: float | None
    """Over common units; of the average: the mean of the benches' means."""
    std: float | None
    """Over units (ddof 1); None for the average."""
    interval: Interval | None
    """95 % t interval of the mean, of this difference alone."""
    p: float | None
    """Two-sided sign-flip test, uncorrected."""
    p_maxt: float | None = None
    """Adjusted within its family by step-down max-T."""
    p_holm: float | None = None
    """Adjusted within the same family by Holm's method."""
    family: int = 0
    """Tests in the family."""
    p_smallest: float | None
    """The smallest p that so many units can give."""
    d_z: float | None
    """Mean / std of the differences, corrected for few units; None for the average."""
    wins: int | None
    losses: int | None
    """Units in which the row is better / worse; None for an endpoint that is not ranked."""
    method_lacks: tuple[Place, ...] = ()
    reference_lacks: tuple[Place, ...] = ()
    """(order, seed) pairs that the other one has: left out."""

    @property
    def differences(self) -> tuple[float, ...]:
        """One per common unit."""
        return tuple(self.by_unit.values())

    @property
    def n(self) -> int:
        """Common units."""
        return len(self.by_unit)


def corrected(d: Difference, correction: str) -> float | None:
    """The p that decides under one of CORRECTIONS."""
    return {"maxt": d.p_maxt, "holm": d.p_holm, "none": d.p}[correction]


def terms_of(pairings: Mapping[str, Pairing]) -> dict[str, float]:
    """The differences of one or several benches, each divided by the number of its bench's units.

    Their sum is the sum of the benches' mean differences. Keys are `unit`, or `bench unit` where
    there are several benches: an order of one bench is not the same order of another.
    """
    named = _by_unit(pairings)
    counts = [len(pairing.differences) for pairing in pairings.values()]
    sizes = [count for count in counts for _ in range(count)]
    return {key: d / size for (key, d), size in zip(named.items(), sizes, strict=True)}


def _by_unit(pairings: Mapping[str, Pairing]) -> dict[str, float]:
    several = len(pairings) > 1
    return {
        f"{bench} {unit}" if several else unit: d
        for bench, pairing in pairings.items()
        for unit, d in pairing.differences.items()
    }


def difference(
    column: Column,
    metric: str,
    better: int,
    names: tuple[str, str],
    pairings: Mapping[str, Pairing],
) -> Difference:
    """The untested-against-others difference of one row: `pairings` by bench, one or several.

    `better`: +1 where more of the metric is better, -1 where less is, 0 where it is not ranked.
    `names`: the row and the reference. Several benches must each have a common unit.
    """
    groups = [list(pairing.differences.values()) for pairing in pairings.values()]
    by_unit = _by_unit(pairings)
    alone = groups[0] if len(groups) == 1 else []
    means = [significance.mean_std(group)[0] for group in groups]
    known = [mean for mean in means if mean is not None]
    terms = terms_of(pairings)
    wins, losses = significance.count_wins(by_unit.values(), better)
    return Difference(
        column=column,
        metric=metric,
        method=names[0],
        reference=names[1],
        by_unit=by_unit,
        terms=terms,
        mean=math.fsum(known) / len(groups) if len(known) == len(groups) else None,
        std=significance.mean_std(alone)[1],
        interval=significance.t_interval(groups, 1 - ALPHA),
        p=significance.sign_flip_p(list(terms.values())) if terms else None,
        p_smallest=significance.smallest_p(len(terms)) if terms else None,
        d_z=significance.d_z(alone),
        wins=wins if better else None,
        losses=losses if better else None,
        method_lacks=tuple(place for p in pairings.values() for place in p.only_theirs),
        reference_lacks=tuple(place for p in pairings.values() for place in p.only_ours),
    )


def adjust(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """The differences with their adjusted p; those of one column are a family.

    Rows of a family may have different units: each takes part with those it has, and a sign
    pattern flips a unit in every row that has it.
    """
    out = list(differences)
    families: dict[Column, list[int]] = {}
    for index, d in enumerate(out):
        if d.p is not None:
            families.setdefault(d.column, []).append(index)
    for members in families.values():
        alone = [out[i].p or 0.0 for i in members]
        maxt = significance.max_t([out[i].terms for i in members])
        holm = significance.holm(alone)
        for i, p, together, stepped in zip(members, alone, maxt, holm, strict=True):
            adjusted = max(p, together)  # both may be drawn: their sampling errors differ
            out[i] = replace(out[i], p_maxt=adjusted, p_holm=stepped, family=len(members))
    return tuple(out)
