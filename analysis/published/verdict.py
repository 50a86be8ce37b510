"""Does our figure reproduce a published one? An interval of the difference, and a verdict.

The published side is a mean, a standard deviation and a number of runs, so the interval is Welch's
(1947), unpaired. Where it is not known whether the deviation was divided by n or n - 1, n is
assumed: the interval is then wider, never narrower, than it should be.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from analysis.published.read_csv import PROTOCOL, Published

MARGIN = 1.0
"""Points of accuracy within which two figures count as the same."""

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
"""What each word says, in the order in which they are explained."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One side: percent, ddof-1 deviation, number of independent runs, and the protocol."""

    mean: float
    std: float | None
    n: int | None
    protocol: Mapping[str, str]
    ddof_known: bool = True
    several_orders: bool = False
    """Whether the mean is over several class orders, which one published order cannot equal."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What can be said of ours against the published figure."""

    word: str
    why: str
    """For `not comparable`: what stands in the way. Else where the interval lies."""
    difference: float
    """Ours minus published, points."""
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


def judge(
    ours: Sample,
    published: Sample,
    allow: Collection[str] = (),
    obstacle: str = "",
    margin: float = MARGIN,
    level: float = 0.95,
) -> Verdict:
    """The verdict in one of the words of `MEANINGS`, with the interval of the difference.

    not comparable: a protocol field differs, or ours are several orders and the published one is
    not stated, unless `allow` names the field; or there is an `obstacle`, whatever is allowed; or
    a side lacks n or std. protocol unknown: one side does not state a field that `allow` does not
    name. reproduced, different and inconclusive rest on fields that are known or allowed.
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
    """What is said of each field that stands in the way of a verdict."""
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
