"""Decides whether our figure reproduces a published one, by an interval of the difference.

A published figure is a mean, a standard deviation and a number of runs, so the interval is Welch's
(1947), unpaired. If it is unknown whether the deviation was divided by n or n - 1, n is assumed:
the interval may then be too wide, but never too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from analysis.published.read_csv import PROTOCOL, Published

MARGIN = 1.0
"""Largest difference, in points of accuracy, between figures that count as equal."""

REPRODUCED, DIFFERENT, INCONCLUSIVE, PROTOCOL_UNKNOWN, NOT_COMPARABLE = (
    "reproduced",
    "different",
    "inconclusive",
    "protocol unknown",
    "not comparable",
)

MEANINGS = {
    REPRODUCED: f"the 95 % interval (Welch) of the difference lies within ±{MARGIN:g} point",
    DIFFERENT: "it excludes 0 and is not reproduced",
    INCONCLUSIVE: "neither",
    PROTOCOL_UNKNOWN: "one side does not state a protocol field, so that none of these three can "
    "be said (--allow FIELD takes the field to agree)",
    NOT_COMPARABLE: "a protocol field or the configuration differs, or a side has no n or no std",
}
"""The meaning of each verdict, in the order in which they are printed."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One side of a comparison: mean and std (ddof 1) in percent, number of runs, protocol."""

    mean: float
    std: float | None
    n: int | None
    protocol: Mapping[str, str]
    ddof_known: bool = True
    several_orders: bool = False
    """Whether the mean is over several class orders, so that one published order differs."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of comparing our figure with a published one."""

    word: str
    why: str
    """For `not comparable` the reason, else the position of the interval."""
    difference: float
    """Our mean minus the published mean, in points."""
    low: float | None
    high: float | None
    unstated: tuple[str, ...]
    """Protocol fields that one side does not state."""


def sample_of(figure: Published) -> Sample:
    """The published figure as a sample; an unknown divisor of the std is taken to be n."""
    std = figure.std
    known = figure.std_ddof is not None
    if std is not None and not known and figure.n and figure.n > 1:
        std *= math.sqrt(figure.n / (figure.n - 1))
    return Sample(figure.mean, std, figure.n, figure.protocol, known)


def judge_difference(
    ours: Sample,
    published: Sample,
    allow: Collection[str] = (),
    obstacle: str = "",
    margin: float = MARGIN,
    level: float = 0.95,
) -> Verdict:
    """The verdict, one of the words of `MEANINGS`, with the interval of the difference.

    not comparable: a protocol field differs, or we have several orders and the source states none
    (both only if `allow` does not name the field); or there is an `obstacle`; or n or std is
    missing on one side. protocol unknown: one side does not state a field, and `allow` does not
    name it. The other verdicts need all fields to be known or allowed.
    """
    difference = ours.mean - published.mean
    differing = _differing(ours, published, allow)
    unstated = tuple(
        name
        for name in PROTOCOL
        if (name in ours.protocol) != (name in published.protocol) and name not in differing
    )
    obstacles = [obstacle] if obstacle else []
    if differing:
        obstacles.append(f"protocol differs (ours / published): {', '.join(differing.values())}")
    if lacking := "; ".join(obstacles) or _lacking(ours, published):
        return Verdict(NOT_COMPARABLE, lacking, difference, None, None, unstated)
    low, high = welch_interval(ours, published, level)
    if -margin <= low and high <= margin:
        word, why = REPRODUCED, f"interval within ±{margin:g} point"
    elif low > 0 or high < 0:
        word, why = DIFFERENT, "interval excludes 0"
    else:
        word, why = INCONCLUSIVE, f"interval holds 0 and reaches beyond ±{margin:g} point"
    if set(unstated) - set(allow):
        word = PROTOCOL_UNKNOWN
    return Verdict(word, why, difference, low, high, unstated)


def _differing(ours: Sample, published: Sample, allow: Collection[str]) -> dict[str, str]:
    """{protocol field that differs and is not allowed: text with both values}."""
    a, b = ours.protocol, published.protocol
    found = {n: f"{n} {a[n]} / {b[n]}" for n in PROTOCOL if n in a and n in b and a[n] != b[n]}
    if ours.several_orders and "order" not in b:
        found["order"] = f"order {a['order']} / not stated (keep one kind: --where order=natural)"
    return {name: said for name, said in found.items() if name not in allow}


def _lacking(ours: Sample, published: Sample) -> str:
    for side, name in ((published, "the published figure"), (ours, "ours")):
        if side.n is None:
            return f"{name} does not say how many runs it is the mean of"
        if side.n < 2:
            return f"{name} is a single run"
        if side.std is None:
            return f"{name} has no standard deviation"
    return ""


def welch_interval(a: Sample, b: Sample, level: float = 0.95) -> tuple[float, float]:
    """Welch's interval of a.mean - b.mean, with Satterthwaite's degrees of freedom.

    Both sides need n of at least 2 and a standard deviation.
    """
    from scipy.special import stdtrit

    if a.n is None or b.n is None or a.std is None or b.std is None:
        raise ValueError("both samples need n and std")
    va, vb = a.std**2 / a.n, b.std**2 / b.n
    difference = a.mean - b.mean
    if va + vb == 0:
        return difference, difference
    df = (va + vb) ** 2 / (va**2 / (a.n - 1) + vb**2 / (b.n - 1))
    half = float(stdtrit(df, (1 + level) / 2)) * math.sqrt(va + vb)
    return difference - half, difference + half
