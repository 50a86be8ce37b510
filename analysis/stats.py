"""Paired statistics for few, expensive runs. Pure functions of numbers; numpy, scipy only inside.

The exchangeable unit is the order: seeds inside an order share its difficulty, so they are
averaged before anything is tested. With n units the smallest two-sided p of a sign-flip test is
2 / 2^n, whatever the data: four orders cannot show anything at 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

EXACT_UP_TO = 14
"""Most units for which all sign patterns are counted."""

DRAWS = 100_000
"""Random sign patterns above that."""

Place = tuple[str, int]
"""(order, seed): what two methods must share to be compared."""


def mean_std(values: Sequence[float]) -> tuple[float | None, float | None]:
    """(mean, standard deviation with ddof 1); None for what too few values cannot give."""
    if not values:
        return None, None
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, None
    squares = math.fsum((v - mean) ** 2 for v in values)
    return mean, math.sqrt(squares / (len(values) - 1))


def t_half_width(values: Sequence[float], level: float = 0.95) -> float | None:
    """Half of Student's t interval of the mean; None for fewer than 2 values."""
    std = mean_std(values)[1]
    if std is None:
        return None
    from scipy.special import stdtrit  # rarely asked for, slow to import

    quantile = float(stdtrit(len(values) - 1, (1 + level) / 2))
    return quantile * std / math.sqrt(len(values))


def hedges_g(differences: Sequence[float]) -> float | None:
    """Standardised mean of paired differences, mean / std (ddof 1), times Hedges' (1981) factor
    1 - 3 / (4 (n - 1) - 1) against the bias of few units. None where std is missing or zero, and
    for two units: there the factor is 0, which would read as no effect."""
    mean, std = mean_std(differences)
    if mean is None or not std or len(differences) < 3:
        return None
    return mean / std * (1 - 3 / (4 * (len(differences) - 1) - 1))


def average_units(values: Mapping[Place, float], unit: str = "order") -> dict[str, float]:
    """The mean of each unit: per order over its seeds, or per (order, seed) as it is.

    `unit="seed"` is for streams with a single order, where seeds are all there is; what is
    concluded then holds for that order only.
    """
    groups: dict[str, list[float]] = {}
    for (order, seed), value in sorted(values.items()):
        key = order if unit == "order" else f"{order}/{seed}"
        groups.setdefault(key, []).append(value)
    return {key: math.fsum(group) / len(group) for key, group in groups.items()}


@dataclass(frozen=True, slots=True)
class Pairing:
    """Differences of two methods over what they have in common."""

    differences: dict[str, float]
    """Ours minus theirs, by unit."""
    only_ours: tuple[Place, ...]
    only_theirs: tuple[Place, ...]
    """(order, seed) pairs that one of the two lacks: left out."""


def pair(
    ours: Mapping[Place, float], theirs: Mapping[Place, float], unit: str = "order"
) -> Pairing:
    """Differences ours - theirs over the (order, seed) pairs of both, averaged inside the unit."""
    common = ours.keys() & theirs.keys()
    differences = {key: ours[key] - theirs[key] for key in common}
    return Pairing(
        average_units(differences, unit),
        only_ours=tuple(sorted(ours.keys() - common)),
        only_theirs=tuple(sorted(theirs.keys() - common)),
    )


def smallest_p(units: int) -> float:
    """The smallest p that `sign_flip_p` of this many units can give: 2 / 2^n while it is exact."""
    exact = min(1.0, 2.0 / 2.0**units)
    return exact if units <= EXACT_UP_TO else max(exact, 1 / (DRAWS + 1))


def units_for_p(alpha: float) -> int:
    """The fewest units whose smallest p is below `alpha`, a level above 1 / (DRAWS + 1)."""
    return next(n for n in range(1, 64) if smallest_p(n) < alpha)


def attainable_level(units: int, alpha: float) -> float:
    """The largest p below `alpha` that an exact sign-flip test of so many units can give.

    Its p are multiples of 2 / 2^n: at 0.025, seven units reject at 0.0156 and never at 0.0312.
    """
    if units > EXACT_UP_TO:
        return alpha
    step = smallest_p(units)
    return step * max(0, math.ceil(alpha / step - 1e-9) - 1)


def sign_flip_p(differences: Sequence[float], draws: int = DRAWS, seed: int = 0) -> float:
    """Two-sided p of 'the mean difference is 0' when signs of differences are exchangeable.

    Fisher's randomisation test: the share of sign patterns whose |mean| is at least the observed
    one. All 2^n patterns up to n = 14; above that `draws` seeded random ones, counting the
    observed pattern too (Phipson and Smyth 2010). No differences: 1.
    """
    values = np.asarray(differences, dtype=np.float64)
    n = len(values)
    if n == 0:
        return 1.0
    # rounding must not turn a tie into a win: patterns of equal sum differ in the last bits
    threshold = abs(values.sum()) - 1e-9 * np.abs(values).sum()
    if n <= EXACT_UP_TO:
        patterns = np.arange(2**n)[:, None] >> np.arange(n) & 1
        return float(np.mean(np.abs((2 * patterns - 1) @ values) >= threshold))
    sums = _random_sums(values, draws, seed)
    return (int(np.sum(np.abs(sums) >= threshold)) + 1) / (draws + 1)


def _random_sums(values: NDArray[np.float64], draws: int, seed: int) -> NDArray[np.float64]:
    """Sums of the values under random signs: eight signs a byte, looked up in a table of 256."""
    groups = -(-len(values) // 8)
    padded = np.zeros(8 * groups)
    padded[: len(values)] = values
    signs = 2 * (np.arange(256)[:, None] >> np.arange(8) & 1) - 1
    sums = np.zeros(draws)
    for drawn, eight in zip(_random_bytes(groups, draws, seed), padded.reshape(-1, 8), strict=True):
        sums += (signs * eight).sum(axis=1)[drawn]
    return sums


@lru_cache(maxsize=8)
def _random_bytes(groups: int, draws: int, seed: int) -> NDArray[np.uint8]:
    """[group, draw]. The same for every test over as many units, so made once."""
    return np.random.default_rng(seed).integers(0, 256, size=(groups, draws), dtype=np.uint8)


def wilcoxon_p(differences: Sequence[float]) -> float:
    """Two-sided p of Wilcoxon's (1945) signed-rank test; zero differences are dropped.

    It is the sign-flip test of signed ranks, and is counted or drawn as that one: exact up to 14
    units, ties included. Equal differences share their mean rank.
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[values != 0]
    # accuracies are quotients: what differs in the last bits only is a tie
    _, place, counts = np.unique(np.abs(values).round(12), return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return sign_flip_p((np.sign(values) * ranks[place]).tolist())


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values, in the order given (Holm 1979)."""
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(1.0, running)
    return adjusted


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval and how it was made."""

    low: float
    high: float
    method: str
    """`BCa`, or `percentile` where BCa is not defined."""


def bootstrap_interval(
    differences: Sequence[float], level: float = 0.95, draws: int = 10_000, seed: int = 0
) -> Interval | None:
    """Bootstrap interval of the mean difference; None for fewer than 3 units.

    Bias-corrected and accelerated (Efron 1987), seeded; percentile when the resampled means do
    not vary around the observed one. With fewer than about ten units any bootstrap interval is
    narrower than its level says: read it together with the sign-flip p.
    """
    values = np.asarray(differences, dtype=np.float64)
    n = len(values)
    if n < 3:
        return None
    means = values[_resamples(n, draws, seed)].mean(axis=1)
    tail = (1 - level) / 2
    shares = _bca_shares(values, means, tail)
    method = "percentile" if shares is None else "BCa"
    low, high = np.quantile(means, shares or (tail, 1 - tail))
    return Interval(float(low), float(high), method)


@lru_cache(maxsize=4)
def _resamples(n: int, draws: int, seed: int) -> NDArray[np.int64]:
    """[draw, unit]. The same for every interval over as many units, so made once."""
    return np.random.default_rng(seed).integers(0, n, size=(draws, n))


def _bca_shares(
    values: NDArray[np.float64], means: NDArray[np.float64], tail: float
) -> tuple[float, float] | None:
    """Shares of the bootstrap distribution at which a BCa interval ends, or None."""
    observed = values.mean()
    ties = np.isclose(means, observed, rtol=0, atol=1e-12 * float(np.abs(values).max() or 1))
    below = float(np.mean((means < observed) & ~ties) + np.mean(ties) / 2)
    if not 0 < below < 1:
        return None
    jackknife = (values.sum() - values) / (len(values) - 1)
    centred = jackknife.mean() - jackknife
    spread = float((centred**2).sum())
    if spread <= (1e-12 * float(np.abs(values).max())) ** 2:
        return None
    acceleration = float((centred**3).sum()) / (6 * spread**1.5)
    normal = NormalDist()
    bias = normal.inv_cdf(below)
    ends = []
    for z in (normal.inv_cdf(tail), normal.inv_cdf(1 - tail)):
        scale = 1 - acceleration * (bias + z)
        if scale <= 0:
            return None
        ends.append(normal.cdf(bias + (bias + z) / scale))
    return ends[0], ends[1]


def count_wins(differences: Iterable[float]) -> tuple[int, int]:
    """(units where ours is better, units where theirs is); ties count for neither."""
    listed = list(differences)
    return sum(d > 0 for d in listed), sum(d < 0 for d in listed)
