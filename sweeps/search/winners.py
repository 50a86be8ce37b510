"""The winners of a tuning sweep, as the text of a sweep file for the reporting sweeps.

The candidates of a row are the tuning sweep's rows whose names differ in `key=value` parts only:
`janus[exact,lr=1e-3]` and `janus[exact,lr=2e-3]` compete for `janus[exact]`. The highest mean ACC
over the tuning orders and seeds wins; a tie goes to the candidate listed first.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence

from janus.config.cell import Value
from janus.errors import ConfigError
from janus.store.store import Store
from sweeps.search.learning_curve import mean_acc
from sweeps.spec.plan import Plan
from sweeps.spec.rows import Row


def winners_of(planned: Plan, store: Store) -> str:
    """YAML with `methods` and the winning `variants`, and each candidate's score as a comment.

    Raises ConfigError for cells that look at the test set, and when a candidate has unfinished
    cells. A candidate whose training failed in any cell cannot win.
    """
    sweep = planned.sweep
    for p in planned.entries:
        if p.cell.bench.eval != "validation":
            raise ConfigError(
                f"{p.title} evaluates on the test set, which nothing may be tuned on; "
                "give the tuning sweep `fixed: {eval: validation}`"
            )
    unfinished = [
        p.title for p in planned.entries if store.status(p.cell.id) in ("open", "running")
    ]
    if unfinished:
        command = shlex.join(["python", "-m", "sweeps", "run", sweep.name, f"store={store.root}"])
        raise ConfigError(
            f"{len(unfinished)} cells of {sweep.name} are not finished, e.g. {unfinished[0]}; "
            f"run them first: {command}"
        )
    lines = [f"# Written by: python -m sweeps choose {sweep.name}"]
    chosen: dict[str, dict[str, Mapping[str, Value]]] = {}
    tried: dict[str, int] = {}
    edges: dict[str, list[str]] = {}
    for (method, name), candidates in _candidates(planned).items():
        scores = [_score(planned, row, store) for row in candidates]
        best = scores.index(max(scores))
        if scores[best] < 0:
            raise ConfigError(f"every candidate of {method}[{name}] failed; look at: status")
        told = ", ".join(
            f"{row.label.removeprefix(method)}: {'failed' if score < 0 else f'{100 * score:.2f}'}"
            for row, score in zip(candidates, scores, strict=True)
        )
        lines.append(f"# {method}  {told}")
        label = f"{method}[{name}]" if name else method
        tried[label], edges[label] = len(candidates), _edges(candidates, candidates[best])
        chosen.setdefault(method, {})[name] = {
            key.removeprefix("method."): value
            for key, value in candidates[best].overrides.items()
            if key not in sweep.fixed
        }
    lines += winners_text(chosen, sweep.orders, sweep.seeds, tried, edges)
    return "\n".join(lines) + "\n"


def winners_text(
    chosen: Mapping[str, Mapping[str, Mapping[str, Value]]],
    orders: Sequence[str],
    seeds: Sequence[int],
    configurations: Mapping[str, int],
    edges: Mapping[str, Sequence[str]],
) -> list[str]:
    """Lines of a sweep file: the winning values {method: {row: {setting: value}}}, and how they
    were chosen.

    orders, seeds: on which the file then refuses to report. configurations: {row: how many were
    tried}. edges: {row: its settings whose best value is the lowest or highest that was tried}.
    """
    tuned_on = {
        "orders": list(orders),
        "seeds": list(seeds),
        "configurations": dict(configurations),
        "edges": {row: list(told) for row, told in edges.items() if told},
    }
    return [
        f"tuned_on: {json.dumps(tuned_on)}",
        f"methods: {json.dumps(list(chosen))}",
        "variants:",
        *(f"  {method}: {json.dumps(found)}" for method, found in chosen.items()),
    ]


def _candidates(planned: Plan) -> dict[tuple[str, str], list[Row]]:
    """{(method, name of the row): the tuning rows that compete for it}."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in planned.rows:
        name = ",".join(part for part in row.variant.split(",") if "=" not in part)
        found.setdefault((row.method, name), []).append(row)
    return found


def _edges(candidates: Sequence[Row], best: Row) -> list[str]:
    """'lr highest' for each number of the best candidate that is the lowest or highest tried."""
    found = []
    for key, value in best.overrides.items():
        tried = [row.overrides.get(key) for row in candidates]
        known = [v for v in tried if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(set(known)) > 1 and value in (min(known), max(known)):
            side = "lowest" if value == min(known) else "highest"
            found.append(f"{key.removeprefix('method.')} {side}")
    return found


def _score(planned: Plan, row: Row, store: Store) -> float:
    """Mean ACC of a candidate's cells, also where an equal row has them; -1 if one failed."""
    found = mean_acc(store, (cell.id for cell in planned.cells_of(row)))
    return -1.0 if found is None else found
