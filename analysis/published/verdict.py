"""Decides whether our figure reproduces a published one, by an interval of the difference.

A published figure is a mean, a standard deviation and a number of runs, so the interval is Welch's
(1947), unpaired. If it is unknown whether the variance was divided by n or n - 1, n is assumed: the
interval may then be too wide, but never too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from analysis.published.read_csv import PROTOCOL, Published

MARGIN = 1.0
"""Points of accuracy: if the whole interval of a difference is within ± this, it is reproduced."""

REPRODUCED, DIFFERENT, INCONCLUSIVE, PROTOCOL_UNKNOWN, NOT_COMPARABLE = (
    "reproduced",
    "different",
    "inconclusive",
    "protocol unknown",
    "not comparable",
)

MEANINGS = {
    REPRODUCED: f"the 95 % interval (Welch) of the difference lies within ±{MARGIN:g} point",
    DIFFERENT: f"the interval excludes 0, but does not lie within ±{MARGIN:g} point",
    INCONCLUSIVE: "neither reproduced nor different",
    PROTOCOL_UNKNOWN: "one side does not state a protocol field, so that none of the first three "
    "can be said (--allow FIELD treats the field as equal)",
    NOT_COMPARABLE: "a protocol field or the configuration differs, or a side has no n or no std",
}
"""{verdict: its meaning}, in the order in which the meanings are printed."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One side of a comparison: mean and std (ddof 1) in percent, number of runs, protocol."""

    mean: float
    std: float | None
    n: int | None
    protocol: Mapping[str, str]
    ddof_known: bool = True
    several_orders: bool = False
    """Whether the mean is over several class orders: a published figure that does not state its
    order is then not comparable."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of comparing our figure with a published one."""

    word: str
    why: str
    """For `not comparable` the reason, else where the interval lies."""
    difference: float
    """Our mean minus the published mean, in points."""
    low: float | None
    high: float | None
    unstated: tuple[str, ...]
    """Protocol fields that one side does not state."""


def sample_of(figure: Published) -> Sample:
    """The published figure as a sample; if the divisor of its variance is unknown, n is assumed."""
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

    not comparable: a protocol field differs, or our figure is over several orders and the source
    states no order (both only if `allow` does not name the field); or `obstacle` gives a reason; or
    n or std is missing on one side. protocol unknown: one side does not state a field that `allow`
    does not name. For the other verdicts every field is known on both sides or allowed.
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
            return f"{name} does not state over how many runs it is a mean"
        if side.n < 2:
            return f"{name} is a single run"
        if side.std is None:
            return f"{name} has no standard deviation"
    return ""


def welch_interval(a: Sample, b: Sample, level: float = 0.95) -> tuple[float, float]:
    """(low, high) of Welch's interval of a.mean - b.mean, with Satterthwaite's degrees of freedom.

    Raises ValueError if a side has no n or no standard deviation; n must be at least 2.
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
