"""The sweep file that reports what a search found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from janus.errors import ConfigError
from janus.store.store import Store
from sweeps.search.candidates import Candidate
from sweeps.search.search import Tuned
from sweeps.search.winners import winners_text
from sweeps.spec.search_section import Search
from sweeps.spec.sweep_file import SweepRequest


def winners_file(
    request: SweepRequest, settings: Search, tuned: Sequence[Tuned], store: Store
) -> str:
    """The sweep file that reports the best configuration of each row, with all scores as comments.

    Raises ConfigError when no configuration of a row ran to the end.
    """
    sweep, reported = request.sweep, settings.reported
    lines = [
        f"# Written by: python -m sweeps search {sweep.name}",
        f"# {settings.algorithm}; mean validation ACC over {len(sweep.pairs())} cells",
    ]
    chosen: dict[str, dict[str, dict[str, Any]]] = {}
    for t in tuned:
        best = _best(t, store)
        lines.append(f"# {t.row.label}: {_ending(t, store)}")
        lines += [
            f"#   {_candidate_text(candidate, candidate is best, store)}" for candidate in t.tried
        ]
        set_by_row = {
            key.removeprefix("method."): value
            for key, value in t.row.overrides.items()
            if key not in sweep.fixed
        }
        chosen.setdefault(t.row.method, {})[t.row.variant] = {**set_by_row, **best.configuration}
    blocks = reported.blocks or ((reported.orders, reported.seeds),)
    fixed = {key: value for key, value in sweep.fixed.items() if key not in ("eval", "bench.eval")}
    lines += [
        f"bench: {sweep.benches[0]}",
        f"protocol: {sweep.protocol}",
        f"blocks: {json.dumps([{'orders': o, 'seeds': s} for o, s in blocks])}",
        f"fixed: {json.dumps(fixed)}",
        *winners_text(
            chosen,
            sweep.orders,
            sweep.seeds,
            {t.row.label: len(t.tried) for t in tuned},
            {t.row.label: [" ".join(side) for side in t.edges(store)] for t in tuned},
        ),
    ]
    return "\n".join(lines) + "\n"


def _best(tuned: Tuned, store: Store) -> Candidate:
    best = tuned.best(store)
    if best is None:
        raise ConfigError(
            f"no configuration of {tuned.row.label} ran to the end; lower the rates in search.space"
        )
    return best


def _ending(tuned: Tuned, store: Store) -> str:
    """How many configurations were tried, and whether the best one lies inside the grid."""
    told = f"{len(tuned.tried)} configuration{'s' * (len(tuned.tried) != 1)} tried"
    if sides := tuned.edges(store):
        listed = ", ".join(f"{side} {name}" for name, side in sides)
        return f"{told}; the best has the {listed} that was tried: a better value may lie beyond"
    return told


def _candidate_text(candidate: Candidate, best: bool, store: Store) -> str:
    score = candidate.score(store)
    if candidate.diverged(store):
        end = "diverged"
    elif score.cut_at is not None:
        end = f"cut after task {score.cut_at} at {100 * score.value:.2f}"
    else:
        end = f"{100 * score.value:.2f}"
    return f"{candidate.label}: {end}{'  <- best' if best else ''}"
