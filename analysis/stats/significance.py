"""Statistical functions for few runs: sign-flip test, max-T, Holm, intervals, effect size.

The exchangeable unit is the order: runs of an order with different seeds share its difficulty, so
they are averaged before testing. With n units the smallest two-sided p of a sign-flip test is
2 / 2^n for any data, so with four orders no difference can be significant at 5 %.

scipy is imported where it is used: every table needs a t quantile (scipy.special, 0.1 s), only
exports need scipy.stats (0.4 s). Sign flips are computed by a matrix product, because
scipy.stats.permutation_test takes 40 times as long; the tests compare the two.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EXACT_UP_TO = 14
"""Largest number of units for which all sign patterns are enumerated."""

DRAWS = 100_000
"""Number of random sign patterns for more units than EXACT_UP_TO."""

BLOCK = 10_000
"""Number of random sign patterns that are drawn at a time, to limit the memory."""

Place = tuple[str, int]
"""(order, seed) of a run: runs of two methods with the same place are compared."""


def mean_std(values: Sequence[float]) -> tuple[float | None, float | None]:
    """(mean, standard deviation with ddof 1); None without values, the latter for one value, too.

    Values that differ only by rounding have a standard deviation of exactly 0.
    """
    if not values:
        return None, None
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, None
    std = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))
    return mean, 0.0 if std <= 1e-12 * max(1.0, *map(abs, values)) else std


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval and its method."""

    low: float
    high: float
    method: str
    """`t`, `two-way t`, `BCa`, `percentile` or `image bootstrap`."""


def t_interval(groups: Sequence[Sequence[float]], level: float = 0.95) -> Interval | None:
    """Student's t interval of the mean of the groups' means.

    For one group it is the usual interval of the mean. Several groups (benches) have equal weight
    and are taken as independent; their variances may differ, and the degrees of freedom are
    Satterthwaite's (1946). None if a group has fewer than 2 values.
    """
    if not groups or any(len(group) < 2 for group in groups):
        return None
    from scipy.special import stdtrit

    mean = math.fsum(math.fsum(g) / len(g) for g in groups) / len(groups)
    errors = [(mean_std(group)[1] or 0.0) ** 2 / len(group) for group in groups]
    total = math.fsum(errors)
    if total <= 0:
        return Interval(mean, mean, "t")
    shares = math.fsum((e / total) ** 2 / (len(g) - 1) for e, g in zip(errors, groups, strict=True))
    half = float(stdtrit(1 / shares, (1 + level) / 2)) * math.sqrt(total) / len(groups)
    return Interval(mean - half, mean + half, "t")


def t_half_width(values: Sequence[float], level: float = 0.95) -> float | None:
    """Half of Student's t interval of the mean; None for fewer than 2 values."""
    interval = t_interval([values], level)
    return None if interval is None else (interval.high - interval.low) / 2


def d_z(differences: Sequence[float]) -> float | None:
    """The standardised mean of paired differences: mean / std (ddof 1) of the differences, times
    Hedges' (1981) factor 1 - 3 / (4 (n - 1) - 1) against the bias of few units.

    It is not Hedges' g of two independent groups, which uses the std of the values. None if the std
    is missing or zero, and for two units: the factor is then 0, so d_z would suggest no effect.
    """
    mean, std = mean_std(differences)
    if mean is None or not std or len(differences) < 3:
        return None
    return mean / std * (1 - 3 / (4 * (len(differences) - 1) - 1))


def average_units(values: Mapping[Place, float], unit: str = "order") -> dict[str, float]:
    """{unit: mean of its values}: for `order` over its seeds; for `seed` each value by itself.

    `unit="seed"` is for runs with a single order; conclusions are then valid for that order only.
    """
    groups: dict[str, list[float]] = {}
    for (order, seed), value in sorted(values.items()):
        key = order if unit == "order" else f"{order}/{seed}"
        groups.setdefault(key, []).append(value)
    return {key: math.fsum(group) / len(group) for key, group in groups.items()}


@dataclass(frozen=True, slots=True)
class Pairing:
    """The differences of two methods over their common units."""

    differences: dict[str, float]
    """{unit: ours minus theirs}."""
    only_ours: tuple[Place, ...]
    only_theirs: tuple[Place, ...]
    """(order, seed) pairs that only one of the two has, and that are left out."""


def pair(
    ours: Mapping[Place, float], theirs: Mapping[Place, float], unit: str = "order"
) -> Pairing:
    """The differences ours - theirs over common (order, seed) pairs, averaged inside each unit."""
    common = ours.keys() & theirs.keys()
    differences = {key: ours[key] - theirs[key] for key in common}
    return Pairing(
        average_units(differences, unit),
        only_ours=tuple(sorted(ours.keys() - common)),
        only_theirs=tuple(sorted(theirs.keys() - common)),
    )


def smallest_p(units: int) -> float:
    """The smallest p that `sign_flip_p` can give with this number of units: 2 / 2^n if exact."""
    exact = min(1.0, 2.0 / 2.0**units)
    return exact if units <= EXACT_UP_TO else max(exact, 1 / (DRAWS + 1))


def units_for_p(alpha: float) -> int:
    """The smallest number of units with which a p can be below `alpha`.

    `alpha` must exceed 1 / (DRAWS + 1), the smallest p with random sign patterns.
    """
    return next(n for n in range(1, 64) if smallest_p(n) < alpha)


def attainable_level(units: int, alpha: float) -> float:
    """The largest p below `alpha` that an exact sign-flip test with this number of units can give.

    Its p values are multiples of 2 / 2^n: with seven units and alpha 0.025 the level is 0.0156. For
    more than EXACT_UP_TO units `alpha` itself is returned.
    """
    if units > EXACT_UP_TO:
        return alpha
    step = smallest_p(units)
    return step * max(0, math.ceil(alpha / step - 1e-9) - 1)


def sign_flip_p(differences: Sequence[float], draws: int = DRAWS, seed: int = 0) -> float:
    """The two-sided p of the sign-flip test that the mean difference is 0; 1 without differences.

    In Fisher's randomisation test p is the share of sign patterns whose |mean| is at least the
    observed one. Up to n = 14 all 2^n patterns are counted; for more units, `draws` seeded random
    patterns and the observed one (Phipson and Smyth 2010).
    """
    return max_t([{str(i): d for i, d in enumerate(differences)}], draws, seed)[0]


def max_t(rows: Sequence[Mapping[str, float]], draws: int = DRAWS, seed: int = 0) -> list[float]:
    """The adjusted p of each of many paired tests: step-down max-T (Westfall and Young 1993).

    Each row is one test: {unit: difference}. A sign pattern flips a unit in every row that has it,
    which keeps the dependence of rows (same reference, same order). A row's statistic is |sum| /
    root of the sum of squares, i.e. |sum| in units of its standard deviation over all sign
    patterns. For rows with equally many units it is a monotone function of |t|. It is defined for
    differences without variance, too; and it is at most the root of n, so that the maximum is not
    dominated by rows with few units. The adjusted p of a row is the share of patterns in which the
    largest statistic among this row and those with smaller observed statistics is at least the
    observed one of this row, or the adjusted p of a row with a larger observed statistic, if that
    is larger. Patterns are enumerated or drawn as in `sign_flip_p`, which is the case of one row.
    """
    units = list(dict.fromkeys(unit for row in rows for unit in row))
    values = np.array([[row.get(unit, 0.0) for row in rows] for unit in units])
    values = values.reshape(len(units), len(rows))
    scale = np.sqrt((values**2).sum(axis=0))
    values = values / np.where(scale > 0, scale, 1.0)
    observed = np.abs(values.sum(axis=0))
    order = np.argsort(-observed, kind="stable")
    # rounding must not break ties: patterns of equal sum may differ in the last bits
    reached = (observed - 1e-9 * np.abs(values).sum(axis=0))[order]
    counts = np.zeros(len(rows))
    patterns = 0
    for signs in _sign_patterns(len(units), draws, seed):
        found = np.abs(signs @ values[:, order])
        largest = np.maximum.accumulate(found[:, ::-1], axis=1)[:, ::-1]  # this row and later ones
        counts += (largest >= reached).sum(axis=0)
        patterns += len(signs)
    drawn = len(units) > EXACT_UP_TO
    stepped = np.maximum.accumulate((counts + drawn) / (patterns + drawn))
    adjusted = np.empty(len(rows))
    adjusted[order] = stepped
    return [float(p) for p in adjusted]


def _sign_patterns(n: int, draws: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield arrays [pattern, unit] of +1 and -1: all 2^n patterns, or `draws` random for n > 14."""
    if n <= EXACT_UP_TO:
        yield np.asarray(2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1) - 1, dtype=np.float64)
        return
    rng = np.random.default_rng(seed)
    for start in range(0, draws, BLOCK):
        size = (min(BLOCK, draws - start), -(-n // 8))
        bits = np.unpackbits(rng.integers(0, 256, size, dtype=np.uint8), axis=1, count=n)
        yield np.asarray(bits, dtype=np.float64) * 2 - 1


def wilcoxon_p(differences: Sequence[float]) -> float:
    """The two-sided p of Wilcoxon's (1945) signed-rank test, by scipy; 1 if all differences are 0.

    Differences of 0 are dropped. Differences that are equal to 12 decimals share their mean rank,
    because the last bits of an accuracy have no meaning. The test is exact up to 50 units without
    ties and up to 13 with ties; for more units it uses the normal approximation.
    """
    from scipy.stats import wilcoxon

    values = np.round(np.asarray(differences, dtype=np.float64), 12)
    values = values[values != 0]
    return float(wilcoxon(values).pvalue) if len(values) else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values, in the given order (Holm 1979)."""
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(1.0, running)
    return adjusted


def bca_interval(
    differences: Sequence[float], level: float = 0.95, draws: int = 10_000, seed: int = 0
) -> Interval | None:
    """The bias-corrected and accelerated bootstrap interval (Efron 1987) of the mean, by scipy.

    With few units this interval is too narrow (docs/compare.md gives its measured coverage), so it
    is written to JSON only. None for fewer than 3 units, and if the differences do not vary.
    """
    if len(differences) < 3:
        return None
    from scipy.stats import bootstrap

    with warnings.catch_warnings():
        # scipy warns if all differences are equal, for which this function returns None
        warnings.simplefilter("ignore")
        found = bootstrap(
            (np.asarray(differences, dtype=np.float64),),
            np.mean,
            confidence_level=level,
            n_resamples=draws,
            method="BCa",
            rng=np.random.default_rng(seed),
        ).confidence_interval
    low, high = float(found.low), float(found.high)
    return Interval(low, high, "BCa") if math.isfinite(low + high) and low < high else None


def count_wins(differences: Iterable[float], better: int = 1) -> tuple[int, int]:
    """(number of units in which ours is better, number in which theirs is); ties are not counted.

    `better`: +1 if more is better, -1 if less is.
    """
    listed = [better * d for d in differences]
    return sum(d > 0 for d in listed), sum(d < 0 for d in listed)
