"""Tests the paper's claims on our runs: pairs of rows that differ in one part (claims.yaml).

Each pair is tested as compare.py tests a row against the reference: paired over class orders, with
a 95 % t interval and a sign-flip p that is adjusted by max-T over the pairs of the claim.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import yaml

from analysis.runs import load
from analysis.runs.load import RunRecord
from analysis.stats import paired, significance
from analysis.stats.paired import ALPHA, Column, Difference
from analysis.tables import comparison
from janus.errors import ConfigError, suggest

FILE = Path(__file__).resolve().parents[1] / "claims.yaml"

Verdict = Literal["holds", "contradicted", "undecided", "not run"]


@dataclass(frozen=True, slots=True)
class PaperClaim:
    """One claim of the paper and the pairs of rows that test it."""

    claim: str
    paper: str
    """The table or figure of the paper that shows the claim, named as in published/figures.csv."""
    sweep: str
    metric: str
    expect: Literal["more", "less"]
    """Whether the first row of a pair has more or less of the metric than the second if the claim
    holds."""
    pairs: tuple[tuple[str, str], ...]

    @property
    def sign(self) -> int:
        """+1 if the claim is that the first row has more of the metric, -1 if less."""
        return 1 if self.expect == "more" else -1


@dataclass(frozen=True, slots=True)
class Tested:
    """A claim with the difference of each of its pairs."""

    claim: PaperClaim
    differences: tuple[Difference | None, ...]
    """One for each pair, first row minus second in stored units; None if the two have no common
    (order, seed)."""

    def verdict(self, d: Difference | None) -> Verdict:
        """The verdict of one pair on the claim, by the adjusted p at level ALPHA."""
        if d is None or d.mean is None or d.p_maxt is None:
            return "not run"
        if d.p_maxt >= ALPHA:
            return "undecided"
        return "holds" if d.mean * self.claim.sign > 0 else "contradicted"

    def sentence(self) -> str:
        """A sentence with the number of pairs in which the claim holds, is contradicted, or is left
        undecided."""
        found = [self.verdict(d) for d in self.differences]
        run = [verdict for verdict in found if verdict != "not run"]
        if not run:
            return f"Not run: `python -m sweeps run {self.claim.sweep}`."
        counts = [f"{word} in {run.count(word)}" for word in ("holds", "contradicted", "undecided")]
        missing = len(found) - len(run)
        return f"Of {len(run)} pairs: {', '.join(counts)}." + f" Not run: {missing}." * bool(
            missing
        )


def read_claims(path: Path = FILE) -> tuple[PaperClaim, ...]:
    """The claims in the file `path`. Raises ConfigError for an unknown metric."""
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    claims = tuple(
        PaperClaim(**{**entry, "pairs": tuple((first, second) for first, second in entry["pairs"])})
        for entry in entries
    )
    for claim in claims:
        known = [*comparison.COLUMNS, *DIAGNOSTICS]
        if claim.metric not in known:
            raise ConfigError(
                f"{path.name}: unknown metric {claim.metric!r}.{suggest(claim.metric, known)}"
            )
    return claims


def sweeps_of(claims: Sequence[PaperClaim]) -> list[str]:
    """The names of the sweeps that the claims need, each once."""
    return list(dict.fromkeys(claim.sweep for claim in claims))


def judge_claim(claim: PaperClaim, rows: Mapping[str, Sequence[RunRecord]]) -> Tested:
    """The claim with the tested difference of each pair. `rows`: {row name in the sweep: runs}."""
    found = [_difference(claim, first, second, rows) for first, second in claim.pairs]
    adjusted = iter(paired.adjust([d for d in found if d is not None]))
    return Tested(claim, tuple(None if d is None else next(adjusted) for d in found))


def _difference(
    claim: PaperClaim, first: str, second: str, rows: Mapping[str, Sequence[RunRecord]]
) -> Difference | None:
    ours, theirs = (_values(rows.get(row, ()), claim.metric) for row in (first, second))
    if not ours.keys() & theirs.keys():
        return None
    bench = rows[first][0].bench
    pairing = significance.pair(ours, theirs)
    column = Column(bench, None, (), "order")
    return paired.difference(column, claim.metric, claim.sign, (first, second), {bench: pairing})


DIAGNOSTICS = ("violation_past", "violation_span", "danger")
"""Diagnostics that a claim can name as its metric; their means over tasks, blocks and projections
are compared."""


def _values(runs: Sequence[RunRecord], metric: str) -> dict[significance.Place, float]:
    """{(order, seed): value of the metric or diagnostic}, without runs that did not measure it."""
    read = _diagnostic(metric) if metric in DIAGNOSTICS else comparison.COLUMNS[metric].read
    values = {(run.order, run.seed): read(run) for run in runs}
    return {place: value for place, value in values.items() if value is not None}


def _diagnostic(name: str) -> Any:
    def read(run: RunRecord) -> float | None:
        tasks = load.record(run)["diagnostics"] or []
        found = [x for task in tasks if task and name in task for x in numbers(task[name])]
        return fmean(found) if found else None

    return read


def numbers(value: Any) -> Iterator[float]:
    """Yield all numbers in the value of a diagnostic: a number, or nested lists and mappings."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        for part in value:
            yield from numbers(part)
    elif isinstance(value, int | float):
        yield float(value)
