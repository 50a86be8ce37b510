"""Paired statistics over single test images. Pure functions of arrays; numpy only inside.

All orders of a bench are tested on the same images, so the images are a second sample beside the
orders: a difference over n orders and m images is a mean over a table of n x m cells, whose rows
and columns are both drawn. An interval over orders alone holds for these images only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.stats.significance import Interval

SMALLEST_P = 1e-12
"""Smallest p that `flip_images_p` gives: its rounding errors are below that."""

DRAWS = 10_000
"""Draws of the image bootstrap."""


def mcnemar_p(only_ours: int, only_theirs: int) -> float:
    """Two-sided exact p of McNemar's (1947) test: among the images that one of two methods alone
    has right, each method is as likely to be that one. No such image: 1.

    A binomial test of `only_ours` in `only_ours + only_theirs` at 1/2.
    """
    count, smaller = only_ours + only_theirs, min(only_ours, only_theirs)
    if only_ours == only_theirs:
        return 1.0
    from scipy.special import bdtr  # rarely asked for, slow to import

    return min(1.0, 2 * float(bdtr(smaller, count, 0.5)))


def flip_images_p(sums: NDArray[np.int64]) -> float:
    """Two-sided exact p of 'no image favours a method', for images that are seen in several orders.

    sums (m,): per image, in how many orders our method alone was right minus theirs alone (any
    common multiple of it). Whole images are flipped, since the same image in two orders is no
    second draw; the share of all 2^m sign patterns whose |total| is at least the observed one.
    With one order it is McNemar's exact test. Adding the orders' counts and testing them as one
    binomial would take n orders of an image for n images: see
    tests/analysis/stats/test_image_stats.py
    for what that costs. p below 1e-12 is given as 1e-12.

    The distribution of the total comes from its characteristic function, prod_i cos(s_i theta).
    """
    sizes, counts = np.unique(np.abs(sums[sums != 0]), return_counts=True)
    if not len(sizes):
        return 1.0
    divisor = int(np.gcd.reduce(sizes))
    sizes = sizes // divisor
    reach = int(sizes @ counts)
    theta = 2 * math.pi * np.arange(2 * reach + 1) / (2 * reach + 1)
    phi = np.ones_like(theta)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        phi *= np.cos(size * theta) ** count
    probability = np.fft.fft(phi).real / len(theta)  # [t]: of the total t, and of t - len: -(...)
    observed = abs(int(sums.sum())) // divisor
    p = 2 * probability[observed : reach + 1].sum() if observed else 1.0
    return float(min(1.0, max(p, SMALLEST_P)))


@dataclass(frozen=True, slots=True)
class TwoWay:
    """A mean over units (orders) and images, with what is known of its error. Stored units."""

    mean: float
    units: int
    images: int
    se_units: float | None
    """Standard error if only the units were drawn, the images being these; None for one unit."""
    se_images: float | None
    """Standard error if only the images were drawn, the units being these; None for one image."""
    se: float | None
    """Standard error over both; None where one of them is None."""
    freedom: float | None
    """Its degrees of freedom (Satterthwaite)."""
    interval: Interval | None
    """Over both."""


def two_way(table: NDArray[np.float64], level: float = 0.95) -> TwoWay:
    """The mean of `table` (n units, m images) and its interval over both, which are drawn apart.

    Crossed random effects, d_oi = mu + a_o + b_i + e_oi: Var(mean) = s_a^2/n + s_b^2/m + s_e^2/nm.
    The mean squares of the two-way table give it without bias: (MS_units + MS_images - MS_rest) /
    nm; it is never taken below the larger of its two sources, MS_units / nm and MS_images / nm.
    The t quantile has Satterthwaite's (1946) degrees of freedom for these three mean squares.
    Chosen by coverage (tests/analysis/stats/test_image_stats.py): a bootstrap of both (Owen's
    pigeonhole) is as narrow as a normal interval where the orders dominate and there are few of
    them.
    """
    n, m = table.shape
    mean = float(table.mean())
    rows, columns = table.mean(axis=1) - mean, table.mean(axis=0) - mean
    square_rows, square_columns = float(rows @ rows), float(columns @ columns)
    of_units = square_rows / (n - 1) / n if n > 1 else None
    of_images = square_columns / (m - 1) / m if m > 1 else None
    se_units, se_images = (None if v is None else math.sqrt(v) for v in (of_units, of_images))
    if of_units is None or of_images is None:
        return TwoWay(mean, n, m, se_units, se_images, None, None, None)
    rest = float(((table - mean) ** 2).sum()) - m * square_rows - n * square_columns
    of_rest = max(0.0, rest) / ((n - 1) * (m - 1)) / (n * m)
    variance = max(of_units + of_images - of_rest, of_units, of_images)
    if variance == 0:
        return TwoWay(mean, n, m, se_units, se_images, 0.0, None, None)
    freedom = variance**2 / (
        of_units**2 / (n - 1) + of_images**2 / (m - 1) + of_rest**2 / ((n - 1) * (m - 1))
    )
    from scipy.special import stdtrit  # rarely asked for, slow to import

    half = float(stdtrit(freedom, (1 + level) / 2)) * math.sqrt(variance)
    interval = Interval(mean - half, mean + half, "two-way t")
    return TwoWay(mean, n, m, se_units, se_images, math.sqrt(variance), freedom, interval)


def image_bootstrap(
    values: NDArray[np.float64], level: float = 0.95, seed: int = 0
) -> Interval | None:
    """Percentile interval of the mean of `values` (m images,) when images are drawn again.

    Values repeat (an image is right or wrong in a few orders), so the draws of equal values are
    counted, by one multinomial draw each: the same as drawing images. None for fewer than 2 images.
    """
    if len(values) < 2:
        return None
    kinds, counts = np.unique(values, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(values), counts / len(values), DRAWS)
    tail = (1 - level) / 2
    low, high = np.quantile(drawn @ kinds / len(values), [tail, 1 - tail])
    return Interval(float(low), float(high), "image bootstrap")


def per_unit(cells: Sequence[tuple[str, NDArray[np.int8]]]) -> dict[str, NDArray[np.float64]]:
    """(m,) by unit: the mean of its cells' differences. cells: (unit, difference (m,)) each."""
    groups: dict[str, list[NDArray[np.int8]]] = {}
    for unit, difference in cells:
        groups.setdefault(unit, []).append(difference)
    return {unit: np.mean(group, axis=0, dtype=np.float64) for unit, group in groups.items()}


def image_sums(cells: Sequence[tuple[str, NDArray[np.int8]]]) -> NDArray[np.int64]:
    """(m,): integers in the ratio of the image's mean over units, seeds averaged inside a unit."""
    sizes: dict[str, int] = {}
    for unit, _ in cells:
        sizes[unit] = sizes.get(unit, 0) + 1
    common = math.lcm(*sizes.values())
    weighted = [(common // sizes[unit]) * found.astype(np.int64) for unit, found in cells]
    return np.asarray(np.sum(weighted, axis=0, dtype=np.int64))
