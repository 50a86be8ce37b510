"""Statistics over several benches, with stratified bootstrap intervals.

After Agarwal et al. 2021 (Deep Reinforcement Learning at the Edge of the Statistical Precipice):
interquartile mean, probability of improvement, performance profiles. `Scores` hold one array of
values per bench, one value per unit (order or seed); the bootstrap resamples units inside each
bench, never across benches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.stats.significance import Interval

Values = NDArray[np.float64]
DRAWS = 2_000
"""Number of bootstrap resamples."""

Scores = Sequence[Values]
"""One array (units,) per bench. The number of units may differ between benches."""


def normalised(rows: Mapping[str, Scores]) -> dict[str, list[Values]]:
    """{row: its scores on a common scale}, arrays of the shapes given.

    On each bench the score is the value minus the mean of the rows' means, divided by the standard
    deviation (ddof 1) of all values of all rows. Without a common scale the interquartile mean
    would leave out the hardest and the easiest bench. (Scaling by the best and worst row would
    amplify noise where all rows are alike.) On a bench without any variation all scores are 0.
    """
    out: dict[str, list[Values]] = {row: [] for row in rows}
    for number in range(len(next(iter(rows.values()), ()))):
        found = [np.asarray(scores[number], dtype=np.float64) for scores in rows.values()]
        centre = float(np.mean([values.mean() for values in found]))
        every = np.concatenate(found)
        std = float(every.std(ddof=1)) if len(every) > 1 else 0.0
        flat = std <= 1e-12 * float(np.abs(every).max())
        for row, values in zip(rows, found, strict=True):
            out[row].append(np.zeros_like(values) if flat else (values - centre) / std)
    return out


def interquartile_mean(scores: Scores) -> float:
    """The mean of the middle half of the values of all benches; NaN without values.

    It is meant for `normalised` scores. One unusual bench changes it less than it changes the mean.
    """
    values = np.sort(np.concatenate([np.asarray(s, dtype=np.float64) for s in scores]))
    cut = len(values) // 4
    middle = values[cut : len(values) - cut]
    return float(middle.mean()) if len(middle) else float("nan")


def probability_of_improvement(ours: Scores, theirs: Scores) -> float:
    """The probability that a random unit of ours is higher than one of theirs on the same bench.

    It is Mann and Whitney's U / (n m), averaged over benches; ties count half. It measures how
    often ours is higher, not by how much.
    """
    shares = []
    for a, b in zip(ours, theirs, strict=True):
        above = (a[:, None] > b[None, :]).mean() + (a[:, None] == b[None, :]).mean() / 2
        shares.append(float(above))
    return float(np.mean(shares))


def performance_profile(scores: Scores, thresholds: Sequence[float]) -> Values:
    """(thresholds,): the share (0 to 1) of all values that are above each threshold."""
    values = np.concatenate([np.asarray(s, dtype=np.float64) for s in scores])
    above = values[None, :] > np.asarray(thresholds)[:, None]
    return np.asarray(above.mean(axis=1), dtype=np.float64)


def profile_band(
    scores: Scores,
    thresholds: Sequence[float],
    level: float = 0.95,
    draws: int | None = None,
    seed: int = 0,
) -> tuple[Values, Values] | None:
    """(low, high), each (thresholds,): the percentile interval of the profile at each threshold.

    Units are resampled inside each bench. None if a bench has fewer than 3 units.
    """
    if any(len(values) < 3 for values in scores):
        return None
    rng = np.random.default_rng(seed)
    found = [
        performance_profile(_resampled([scores], False, rng)[0], thresholds)
        for _ in range(DRAWS if draws is None else draws)
    ]
    tail = (1 - level) / 2
    low, high = np.quantile(found, (tail, 1 - tail), axis=0)
    return low, high


def bootstrap(
    methods: Sequence[Scores],
    statistic: Callable[..., float],
    paired: bool,
    level: float = 0.95,
    draws: int | None = None,
    seed: int = 0,
) -> Interval | None:
    """The percentile interval of `statistic(*methods)`; units are resampled inside each bench.

    `paired`: unit i is the same order for every method, so the same units are drawn for all
    methods. None if a bench has fewer than 3 units.
    """
    if any(len(values) < 3 for scores in methods for values in scores):
        return None
    rng = np.random.default_rng(seed)
    found = np.empty(DRAWS if draws is None else draws)
    for i in range(len(found)):
        found[i] = statistic(*_resampled(methods, paired, rng))
    tail = (1 - level) / 2
    low, high = np.quantile(found, (tail, 1 - tail))
    return Interval(float(low), float(high), "percentile")


def _resampled(
    methods: Sequence[Scores], paired: bool, rng: np.random.Generator
) -> list[list[Values]]:
    out: list[list[Values]] = [[] for _ in methods]
    for bench in range(len(methods[0])):
        drawn = None
        for number, scores in enumerate(methods):
            values = scores[bench]
            if drawn is None or not paired:
                drawn = rng.integers(0, len(values), len(values))
            out[number].append(values[drawn])
    return out
