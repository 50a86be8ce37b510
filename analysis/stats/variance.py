"""Splits variance into parts due to order and seed; estimates how many more orders a test needs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.stats.significance import Place, attainable_level, smallest_p


@dataclass(frozen=True, slots=True)
class Components:
    """Standard deviations due to order and due to seed, in stored units."""

    order: float | None
    """Of the orders, without the part due to seeds; None with fewer than 2 orders."""
    seed: float | None
    """Of the seeds inside an order; None if no order has 2 seeds (`order` then includes it)."""
    orders: int
    runs: int

    @property
    def order_share(self) -> float | None:
        """The share (0 to 1) of the variance that is due to the order; None if it is not known."""
        if self.order is None or self.seed is None:
            return None
        whole = self.order**2 + self.seed**2
        return self.order**2 / whole if whole else None


def components(values: Mapping[Place, float]) -> Components:
    """The standard deviations due to order and seed, from a one-way random-effects model.

    The estimator is Henderson's for unequal group sizes (Searle, Casella and McCulloch 1992,
    ch. 3): seed^2 = MS_within, order^2 = max(0, (MS_between - MS_within) / n0).
    """
    groups: dict[str, list[float]] = {}
    for (name, _), value in values.items():
        groups.setdefault(name, []).append(value)
    sizes = np.array([len(g) for g in groups.values()])
    runs, orders = int(sizes.sum()), len(groups)
    within_df = runs - orders
    within = sum(sum((v - math.fsum(g) / len(g)) ** 2 for v in g) for g in groups.values())
    seed = within / within_df if within_df else None
    if orders < 2:
        return Components(None, None if seed is None else math.sqrt(seed), orders, runs)
    grand = math.fsum(values.values()) / runs
    between = sum(len(g) * (math.fsum(g) / len(g) - grand) ** 2 for g in groups.values())
    between /= orders - 1
    n0 = (runs - float((sizes**2).sum()) / runs) / (orders - 1)
    order = max(0.0, (between - (seed or 0.0)) / n0)
    return Components(math.sqrt(order), None if seed is None else math.sqrt(seed), orders, runs)


MORE_UNITS = (0, 1, 2, 3, 4, 6, 8, 10, 14, 20, 30, 50, 80, 120, 200)
"""Numbers of additional units that are tried."""


def units_to_decide(
    differences: Sequence[float],
    alpha: float = 0.05,
    power: float = 0.8,
    draws: int = 2_000,
    seed: int = 0,
) -> int | None:
    """The fewest additional units with which a paired test is significant with probability `power`.

    The numbers in MORE_UNITS are simulated in turn: each draw takes a true mean and deviation from
    their posterior (normal differences, prior flat in mean and log deviation), adds new units to
    the observed ones, and tests all of them. A t test replaces the sign-flip test, at the level
    that a sign-flip test with this number of units can attain; with too few units nothing is
    significant. 0: the observed units are enough. None: more than 200 are needed, or fewer than 3
    units were observed.
    """
    values = np.asarray(differences, dtype=np.float64)
    n = len(values)
    if n < 3:
        return None
    spread = values.std(ddof=1)
    if spread <= 1e-12 * np.abs(values).max():  # values that are equal up to rounding
        return _without_spread(float(values.mean()), n, alpha)
    rng = np.random.default_rng(seed)
    sigma = spread * np.sqrt((n - 1) / rng.chisquare(n - 1, draws))
    mu = rng.normal(values.mean(), sigma / math.sqrt(n))
    for further in MORE_UNITS:
        total = n + further
        if smallest_p(total) >= alpha:
            continue
        new = rng.normal(mu[:, None], sigma[:, None], (draws, further))
        if np.mean(_decided(values, new, attainable_level(total, alpha))) >= power:
            return further
    return None


def _without_spread(mean: float, n: int, alpha: float) -> int | None:
    if mean == 0:
        return None
    return next(m for m in range(n, n + 100) if smallest_p(m) < alpha) - n


def _decided(
    values: NDArray[np.float64], new: NDArray[np.float64], alpha: float
) -> NDArray[np.bool_]:
    """(draws,): whether a t test over `values` and the new units of a draw gives p < alpha.

    `new` (draws, additional units).
    """
    from scipy.special import stdtrit

    n = len(values) + new.shape[1]
    total = values.sum() + new.sum(axis=1)
    squares = (values**2).sum() + (new**2).sum(axis=1)
    variance = (squares - total**2 / n) / (n - 1)
    t = np.abs(total / n) / np.sqrt(variance / n)
    return np.asarray(t > stdtrit(n - 1, 1 - alpha / 2))
