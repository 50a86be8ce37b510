"""What the intervals and corrections of the table do when the truth is known, by simulation.

    python -m tests.analysis.simulate            prints the tables (a few minutes)
    python -m tests.analysis.simulate --write    and keeps them, see KEPT and PAGE

Every draw makes the differences of some orders, asks the functions behind the table, and looks
whether they were right. Skewed: exponential values, minus their mean.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from analysis.stats import significance
from analysis.stats.paired import ALPHA

HERE = Path(__file__).parent
KEPT = HERE / "data" / "simulated.json"
PAGE = HERE.parents[1] / "docs" / "compare.md"
DRAWS = 2_000

Draw = Callable[[np.random.Generator, Any], np.ndarray]
SHAPES: dict[str, Draw] = {
    "normal": lambda rng, size: rng.normal(size=size),
    "skewed": lambda rng, size: rng.exponential(size=size) - 1,
}
EFFECT = 2.0
"""True differences, in standard deviations of the differences, where there are any."""


def coverage(shape: str, n: int, draws: int = DRAWS) -> dict[str, Any]:
    """How often the 95 % intervals of n differences hold the true mean, 0."""
    rng = np.random.default_rng([n, len(shape)])
    held = {"t": 0, "bca": 0}
    for _ in range(draws):
        values = SHAPES[shape](rng, n).tolist()
        found = {"t": significance.t_interval([values]), "bca": significance.bca_interval(values)}
        for kind, interval in found.items():
            held[kind] += interval is not None and interval.low <= 0 <= interval.high
    return {"shape": shape, "n": n} | {kind: count / draws for kind, count in held.items()}


def average(shape: str, n: int, draws: int = DRAWS) -> dict[str, Any]:
    """The same of the interval over three benches whose differences vary 1 : 2 : 4."""
    rng = np.random.default_rng([n, len(shape), 3])
    held = 0
    for _ in range(draws):
        groups = [(std * SHAPES[shape](rng, n)).tolist() for std in (1, 2, 4)]
        interval = significance.t_interval(groups)
        held += interval is not None and interval.low <= 0 <= interval.high
    return {"shape": shape, "n": n, "t": held / draws}


def families(shape: str, n: int, k: int, draws: int = DRAWS) -> dict[str, Any]:
    """k rows against one reference over n orders: false findings, and true ones found.

    The differences of an order share the reference's part, which is as large as their own. `null`:
    share of draws with any false finding where no row differs; `wrong`: the same where the first
    third of the rows differs by EFFECT; `power`: share of those that is found.
    """
    out: dict[str, Any] = {"shape": shape, "n": n, "k": k}
    true = np.arange(k) < max(1, round(k / 3))
    for effect in (0.0, EFFECT):
        rng = np.random.default_rng([n, k, len(shape), int(effect)])
        for _ in range(draws):
            values = SHAPES[shape](rng, (k, n)) + SHAPES[shape](rng, n)
            values[true] += effect * math.sqrt(2)
            alone = [significance.sign_flip_p(row.tolist()) for row in values]
            adjusted = {"none": alone, "holm": significance.holm(alone), "maxt": max_t(values)}
            for kind, p in adjusted.items():
                found = np.array(p) < ALPHA
                told = {f"{kind}_null": found.any()} if not effect else {}
                if effect:
                    told |= {
                        f"{kind}_wrong": found[~true].any(),
                        f"{kind}_power": found[true].mean(),
                    }
                for name, value in told.items():
                    out[name] = out.get(name, 0.0) + float(value) / draws
    return out


def max_t(values: np.ndarray) -> list[float]:
    """`stats.max_t` of an array [row, unit]."""
    return significance.max_t([dict(enumerate(row)) for row in values.tolist()])  # type: ignore[misc]


def statistics(n: int, k: int, unequal: bool, draws: int = DRAWS) -> dict[str, Any]:
    """Power of the statistic that is used, and of |mean|, where rows vary alike or not.

    Unequal: the rows' own standard deviations are log-normal with sigma 1.
    """
    rng = np.random.default_rng([n, k, unequal])
    true = np.arange(k) < max(1, round(k / 3))
    power = {"standardised": 0.0, "mean": 0.0}
    for _ in range(draws):
        std = np.exp(rng.normal(size=(k, 1)) * unequal)
        values = std * rng.normal(size=(k, n)) + rng.normal(size=n)
        values += (EFFECT * np.sqrt(std**2 + 1)) * true[:, None]
        for kind, p in (("standardised", max_t(values)), ("mean", max_mean(values))):
            power[kind] += float((np.array(p)[true] < ALPHA).mean()) / draws
    return {"n": n, "k": k, "spread": "unequal" if unequal else "equal"} | power


def max_mean(values: np.ndarray) -> np.ndarray:
    """Step-down adjusted p of [row, unit] with |mean| as it is."""
    n = values.shape[1]
    signs = 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1) - 1
    order = np.argsort(-np.abs(values.mean(axis=1)))
    sums = np.abs(signs @ values[order].T)
    largest = np.maximum.accumulate(sums[:, ::-1], axis=1)[:, ::-1]
    adjusted = np.empty(len(values))
    reached = largest >= np.abs(values[order].sum(axis=1)) - 1e-9
    adjusted[order] = np.maximum.accumulate(reached.mean(axis=0))
    return adjusted


def simulate(draws: int = DRAWS) -> dict[str, Any]:
    """All of it."""
    shapes = list(SHAPES)
    return {
        "draws": draws,
        "coverage": [coverage(s, n, draws) for s in shapes for n in (3, 4, 5, 6, 10)],
        "average": [average(s, n, draws) for s in shapes for n in (3, 5, 10)],
        "families": [
            families(s, n, k, draws) for s in shapes for n in (3, 5, 6, 10) for k in (3, 10, 30)
        ],
        "statistics": [
            statistics(n, k, unequal, draws)
            for n, k in ((6, 10), (6, 30), (10, 30))
            for unequal in (False, True)
        ],
    }


def tables(found: dict[str, Any]) -> dict[str, str]:
    """Markdown tables by the name of their place in the page."""
    return {
        "coverage": table(
            ("differences", "n", "t (%)", "BCa (%)"),
            [(r["shape"], r["n"], 100 * r["t"], 100 * r["bca"]) for r in found["coverage"]],
        ),
        "average": table(
            ("differences", "n a bench", "t (%)"),
            [(r["shape"], r["n"], 100 * r["t"]) for r in found["average"]],
        ),
        "families": table(
            (
                "differences",
                "n",
                "rows",
                *(f"false, {kind}" for kind in ("none", "Holm", "max-T")),
                *(f"false among true, {kind}" for kind in ("Holm", "max-T")),
                *(f"power, {kind}" for kind in ("Holm", "max-T")),
            ),
            [
                (
                    r["shape"],
                    r["n"],
                    r["k"],
                    *(r[f"{kind}_null"] for kind in ("none", "holm", "maxt")),
                    *(r[f"{kind}_wrong"] for kind in ("holm", "maxt")),
                    *(r[f"{kind}_power"] for kind in ("holm", "maxt")),
                )
                for r in found["families"]
            ],
        ),
        "statistics": table(
            ("std of the rows", "n", "rows", "power, standardised", "power, mean"),
            [
                (r["spread"], r["n"], r["k"], r["standardised"], r["mean"])
                for r in found["statistics"]
            ],
        ),
    }


def table(header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """A Markdown table; percentages to one digit, shares to three."""

    def shown(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:.1f}" if "(%)" in header[-1] else f"{value:.3f}"
        return str(value)

    rule = [":--", *["--:"] * (len(header) - 1)]
    lines = [header, rule, *(tuple(map(shown, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


PLACE = re.compile(r"(<!-- simulated: (\w+) -->\n)(.*?)(<!-- end -->)", re.S)
"""A place of the page for a table: its mark, name, table and end."""


def shown() -> dict[str, str]:
    """The tables as they stand in the page, by name."""
    return {found[2]: found[3].rstrip("\n") for found in PLACE.finditer(PAGE.read_text())}


def write(found: dict[str, Any]) -> None:
    """Keep the figures, and set the tables into the page."""
    KEPT.write_text(json.dumps(found, indent=1) + "\n")
    made = tables(found)
    text = PLACE.sub(lambda place: f"{place[1]}{made[place[2]]}\n{place[4]}", PAGE.read_text())
    PAGE.write_text(text)


def main() -> None:
    """Simulate and print."""
    p = argparse.ArgumentParser(prog="python -m tests.analysis.simulate")
    p.add_argument("--draws", type=int, default=DRAWS)
    p.add_argument("--write", action="store_true", help="data/simulated.json and docs/compare.md")
    args = p.parse_args()
    found = simulate(args.draws)
    for name, text in tables(found).items():
        print(f"{name}, {found['draws']} draws\n{text}\n")
    if args.write:
        write(found)


if __name__ == "__main__":
    main()
