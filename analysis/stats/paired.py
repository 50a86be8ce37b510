"""The paired test (sign-flip): differences of a row to the reference, interval, p, corrections.

`significance.py` computes the t interval, the sign-flip p, max-T and Holm.

There is a difference for each row, each endpoint, and each bench and the average over benches. The
tests of a bench over all rows and endpoints are one family; those of the average are another.
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
"""Corrections of p for many tests. The chosen one decides which differences are printed bold."""


@dataclass(frozen=True, slots=True)
class Column:
    """A bench under one protocol, or the average over benches."""

    bench: str
    mark: int | None
    """Number of the footnote on its protocol; None if the table has the bench with one protocol."""
    protocol: tuple[tuple[str, str], ...]
    unit: str
    """`order` or `seed`: the exchangeable unit, whose number is n. For the average: `unit`."""

    @property
    def title(self) -> str:
        """The bench's name with its footnote mark."""
        return self.bench if self.mark is None else f"{self.bench} [{self.mark}]"


AVERAGE = Column("average", None, (), "unit")
"""The column of the mean over all benches, in which each bench has the same weight."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """The paired difference, row minus reference, in stored units, with its statistics."""

    column: Column
    metric: str
    """Key of the endpoint."""
    method: str
    reference: str
    by_unit: Mapping[str, float]
    """{common unit: difference}; for the average the keys are `bench unit`."""
    terms: Mapping[str, float]
    """{key as in `by_unit`: difference divided by the number of units of its bench}. The test flips
    the signs of these terms; their sum, divided by the number of benches, is `mean`."""
    mean: float | None
    """Mean over common units; for the average the mean of the benches' means."""
    std: float | None
    """Standard deviation over units (ddof 1); None for the average."""
    interval: Interval | None
    """95 % t interval of the mean, not corrected for other tests."""
    p: float | None
    """p of the two-sided sign-flip test, uncorrected."""
    p_maxt: float | None = None
    """p adjusted within its family by step-down max-T."""
    p_holm: float | None = None
    """p adjusted within its family by Holm's method."""
    family: int = 0
    """Number of tests in the family."""
    p_smallest: float | None
    """The smallest p that this number of units can give."""
    d_z: float | None
    """Effect size: mean / std of the differences, corrected for few units; None for the average."""
    wins: int | None
    losses: int | None
    """Units in which the row is better / worse; None for an endpoint without ranking."""
    method_lacks: tuple[Place, ...] = ()
    reference_lacks: tuple[Place, ...] = ()
    """(order, seed) pairs that are left out because the method, or the reference, has no run there,
    while the other has one."""

    @property
    def differences(self) -> tuple[float, ...]:
        """The differences, one per common unit."""
        return tuple(self.by_unit.values())

    @property
    def n(self) -> int:
        """The number of common units."""
        return len(self.by_unit)


def corrected(d: Difference, correction: str) -> float | None:
    """The p of the difference under this correction (one of CORRECTIONS); None if not tested."""
    return {"maxt": d.p_maxt, "holm": d.p_holm, "none": d.p}[correction]


def terms_of(pairings: Mapping[str, Pairing]) -> dict[str, float]:
    """{unit: difference divided by the number of units of its bench}, for one or several benches.

    The sum of these terms is the sum of the benches' mean differences. For several benches the keys
    are `bench unit`, because order 3 of one bench is not order 3 of another. `pairings`: by bench.
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
    """The difference of one row, with p not yet adjusted for other tests.

    `better`: +1 if more of the metric is better, -1 if less is, 0 if it is not ranked. `names`: the
    row and the reference. `pairings`: by bench; if there are several, each must have a common unit.
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
    """The same differences, with `p_maxt`, `p_holm` and `family`; those of a column are one family.

    Rows of a family may have different units. A sign pattern flips a unit in every row that has it.
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
            # with random sign patterns the sampling errors of p and max-T p differ
            adjusted = max(p, together)
            out[i] = replace(out[i], p_maxt=adjusted, p_holm=stepped, family=len(members))
    return tuple(out)
