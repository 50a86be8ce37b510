"""Paired statistics over single test images: standard errors, intervals, McNemar's test.

All orders of a bench are tested on the same images, so the images are a second sample in addition
to the orders: a difference over n orders and m images is the mean of an n x m table whose rows and
columns are both random. An interval over orders alone is valid for these images only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.stats.significance import Interval

SMALLEST_P = 1e-12
"""Smallest p that `flip_images_p` returns; its rounding errors are smaller than this."""

DRAWS = 10_000
"""Number of draws of the image bootstrap."""


def mcnemar_p(only_ours: int, only_theirs: int) -> float:
    """The two-sided exact p of McNemar's (1947) test for one pair of runs.

    `only_ours`, `only_theirs`: numbers of images that only this method classifies correctly.
    Hypothesis: such an image is ours or theirs with probability 1/2 each. It is a binomial test of
    `only_ours` in `only_ours + only_theirs`; p is 1 without such images.
    """
    count, smaller = only_ours + only_theirs, min(only_ours, only_theirs)
    if only_ours == only_theirs:
        return 1.0
    from scipy.special import bdtr  # slow to import, and rarely needed

    return min(1.0, 2 * float(bdtr(smaller, count, 0.5)))


def flip_images_p(sums: NDArray[np.int64]) -> float:
    """The two-sided exact p of McNemar's test for images that are tested in several orders.

    sums (m,): per image the number of orders in which only our method was correct minus the number
    in which only theirs was, or a multiple that is the same for all images. Hypothesis: the sum of
    an image is as likely to be -s as +s. Signs of whole images are flipped, since the same image in
    two orders is not a second sample. p is the share of all 2^m sign patterns whose |total| is at
    least the observed one, but not below 1e-12; with one order it is McNemar's exact test. Adding
    the counts of n orders into one binomial test would treat one image as n images
    (tests/analysis/stats/test_image_stats.py shows the error).

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
    # [t]: probability that the total is t; a negative total t stands at len(theta) + t
    probability = np.fft.fft(phi).real / len(theta)
    observed = abs(int(sums.sum())) // divisor
    p = 2 * probability[observed : reach + 1].sum() if observed else 1.0
    return float(min(1.0, max(p, SMALLEST_P)))


@dataclass(frozen=True, slots=True)
class TwoWay:
    """A mean over units (orders) and images, its standard errors and interval, in stored units."""

    mean: float
    units: int
    images: int
    se_units: float | None
    """Standard error over units for fixed images; None for one unit."""
    se_images: float | None
    """Standard error over images for fixed units; None for one image."""
    se: float | None
    """Standard error over units and images; None if `se_units` or `se_images` is None."""
    freedom: float | None
    """Degrees of freedom of `se` (Satterthwaite); None if `se` is None or 0."""
    interval: Interval | None
    """t interval over units and images; None if `freedom` is None."""


def two_way(table: NDArray[np.float64], level: float = 0.95) -> TwoWay:
    """The mean of `table` (n units, m images) and its interval over units and images.

    The model has crossed random effects, d_oi = mu + a_o + b_i + e_oi, so that Var(mean) =
    s_a^2/n + s_b^2/m + s_e^2/nm. The mean squares of the two-way table estimate this variance
    without bias: (MS_units + MS_images - MS_rest) / nm. An estimate below MS_units / nm or
    MS_images / nm is replaced by the larger of these two. The t quantile has Satterthwaite's (1946)
    degrees of freedom for the three mean squares. This interval was chosen for its coverage
    (measured in tests/analysis/stats/test_image_stats.py): a bootstrap of units and images (Owen's
    pigeonhole) is as narrow as a normal interval if the orders dominate and are few.
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
    from scipy.special import stdtrit  # slow to import, and rarely needed

    half = float(stdtrit(freedom, (1 + level) / 2)) * math.sqrt(variance)
    interval = Interval(mean - half, mean + half, "two-way t")
    return TwoWay(mean, n, m, se_units, se_images, math.sqrt(variance), freedom, interval)


def image_bootstrap(
    values: NDArray[np.float64], level: float = 0.95, seed: int = 0
) -> Interval | None:
    """The percentile interval of the mean of `values` (m,) from a bootstrap over the m images.

    `values` has only a few different values, so the count of each value is drawn from a multinomial
    distribution, which is the same as drawing images. None for fewer than 2 images.
    """
    if len(values) < 2:
        return None
    kinds, counts = np.unique(values, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(values), counts / len(values), DRAWS)
    tail = (1 - level) / 2
    low, high = np.quantile(drawn @ kinds / len(values), [tail, 1 - tail])
    return Interval(float(low), float(high), "image bootstrap")


def per_unit(cells: Sequence[tuple[str, NDArray[np.int8]]]) -> dict[str, NDArray[np.float64]]:
    """{unit: mean difference (m,) over the cells of the unit}, for m images.

    `cells`: (unit, difference (m,)) of each cell.
    """
    groups: dict[str, list[NDArray[np.int8]]] = {}
    for unit, difference in cells:
        groups.setdefault(unit, []).append(difference)
    return {unit: np.mean(group, axis=0, dtype=np.float64) for unit, group in groups.items()}


def image_sums(cells: Sequence[tuple[str, NDArray[np.int8]]]) -> NDArray[np.int64]:
    """(m,): for each image an integer that is proportional to its mean difference over units.

    `cells` as in `per_unit`: the seeds of a unit are averaged. All images have the same factor.
    """
    sizes: dict[str, int] = {}
    for unit, _ in cells:
        sizes[unit] = sizes.get(unit, 0) + 1
    common = math.lcm(*sizes.values())
    weighted = [(common // sizes[unit]) * found.astype(np.int64) for unit, found in cells]
    return np.asarray(np.sum(weighted, axis=0, dtype=np.int64))
