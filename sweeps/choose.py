"""The winners of a tuning sweep, as the text of a sweep file for the reporting sweeps.

The candidates of a row are its variants whose names differ in `key=value` parts only:
`exact,lr=1e-3` and `exact,lr=2e-3` compete for the row `exact`. The highest mean ACC over the
tuning orders and seeds wins; a tie goes to the candidate listed first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from statistics import fmean

from janus.errors import ConfigError
from janus.store import Store
from sweeps.plan import Planned, Sweep, plan_rows


def choose(sweep: Sweep, store: Store) -> str:
    """YAML with `methods` and the winning `variants`, and each candidate's score as a comment.

    Raises ConfigError for cells that look at the test set, and when a candidate has unfinished
    cells. A candidate whose training failed in any cell cannot win.
    """
    planned = plan_rows(sweep)
    for p in planned:
        if p.cell.bench.eval != "validation":
            raise ConfigError(
                f"{p.title} evaluates on the test set, which nothing may be tuned on; "
                "give the tuning sweep `fixed: {eval: validation}`"
            )
    unfinished = [p.title for p in planned if store.status(p.cell.id) in ("open", "running")]
    if unfinished:
        raise ConfigError(
            f"{len(unfinished)} cells of {sweep.name} are not finished, e.g. {unfinished[0]}; "
            f"run them first: python -m sweeps run {sweep.name} store={store.root}"
        )
    lines = [f"# Written by: python -m sweeps choose {sweep.name}"]
    chosen: dict[str, dict[str, Mapping[str, object]]] = {}
    for (method, row), candidates in _candidates(sweep).items():
        scores = {name: _score(planned, method, name, store) for name in candidates}
        winner = max(candidates, key=lambda name: (scores[name], -candidates.index(name)))
        if scores[winner] < 0:
            raise ConfigError(f"every candidate of {method}[{row}] failed; look at: status")
        told = ", ".join(
            f"{name or 'default'}: " + ("failed" if score < 0 else f"{100 * score:.2f}")
            for name, score in scores.items()
        )
        lines.append(f"# {method}{f'[{row}]' if row else ''}  {told}")
        chosen.setdefault(method, {})[row] = dict(sweep.variants.get(method, {}).get(winner, {}))
    lines.append(f"methods: {json.dumps(list(chosen))}")
    lines.append("variants:")
    lines += [f"  {method}: {json.dumps(rows)}" for method, rows in chosen.items()]
    return "\n".join(lines) + "\n"


def _candidates(sweep: Sweep) -> dict[tuple[str, str], list[str]]:
    """{(method, row): names of the variants that compete for it}."""
    found: dict[tuple[str, str], list[str]] = {}
    for method in sweep.methods:
        for name in sweep.variants.get(method, {"": {}}):
            row = ",".join(part for part in name.split(",") if "=" not in part)
            found.setdefault((method, row), []).append(name)
    return found


def _score(planned: list[Planned], method: str, variant: str, store: Store) -> float:
    """Mean ACC of a candidate's cells; -1 when one of them failed."""
    label = f"{method}[{variant}]" if variant else method
    results = [store.result(p.cell.id) for p in planned if p.row == label]
    if not all(results):
        return -1.0
    return fmean(float(r["metrics"]["acc"]) for r in results if r)
