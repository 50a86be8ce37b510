"""The `search:` part of a sweep file, checked before anything is trained.

A search tunes on validation images, on orders and seeds of its own. Both promises are kept by
refusal: here for the sweep that will report the winners, and by `tuned_on` in the winners' file for
whoever runs it with other orders or seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from janus.errors import ConfigError, suggest
from sweeps.spec.rows import pattern, rows
from sweeps.spec.search_space import ALGORITHMS, Dimension, grid, read_space
from sweeps.spec.sweep import Sweep

DEFAULTS: dict[str, Any] = {
    "space": {},
    "reports": "",
    "algorithm": "tpe",
    "budget": 16,
    "batch": 4,
    "seed": 0,
    "early_stopping": False,
    "keep": 0.5,
    "widen": 0,
}


@dataclass(frozen=True, kw_only=True)
class Search:
    """How to look for the values of each row of a sweep."""

    space: Mapping[str, Mapping[str, Dimension]]
    """{method: {setting: values}}."""
    reports: str
    """The sweep in which the winners will be reported."""
    reported: Sweep = field(repr=False)
    """The same, as it is planned."""
    algorithm: str = "tpe"
    """One of `search_space.ALGORITHMS`."""
    budget: int = 16
    """Configurations tried for each row: the same for all."""
    batch: int = 4
    """Configurations of a row that are chosen together; TPE learns between batches."""
    seed: int = 0
    """Of the suggestions; the seeds of training are the sweep's."""
    early_stopping: bool = False
    """Cut the worse configurations at rungs: after half and three quarters of the tasks."""
    keep: float = 0.5
    """Share of the configurations that pass a rung."""
    widen: int = 0
    """Times that a grid is widened while a best rate lies on its edge (see widening.py)."""


def read_search(record: Any, sweep: Sweep, reported: Sweep) -> Search:
    """The checked `search:` part of a file whose other parts are `sweep`."""
    if not isinstance(record, Mapping):
        raise ConfigError(f"search must be a mapping, got {record!r}")
    for key in record:
        if key not in DEFAULTS:
            raise ConfigError(f"search: unknown key {key!r}.{suggest(str(key), DEFAULTS)}")
    given = {**DEFAULTS, **record}
    for key in ("budget", "batch", "seed", "widen"):
        least = 0 if key in ("seed", "widen") else 1
        if type(given[key]) is not int or given[key] < least:
            raise ConfigError(
                f"search.{key} must be a number of at least {least}, got {given[key]!r}"
            )
    if type(given["early_stopping"]) is not bool:
        raise ConfigError(f"search.early_stopping is true or false, got {given['early_stopping']}")
    if not isinstance(given["keep"], int | float) or not 0 < given["keep"] <= 1:
        raise ConfigError(f"search.keep must be in (0, 1], got {given['keep']!r}")
    if given["algorithm"] not in ALGORITHMS:
        hint = suggest(str(given["algorithm"]), ALGORITHMS)
        raise ConfigError(f"unknown search.algorithm {given['algorithm']!r}.{hint}")
    if given["widen"] and given["algorithm"] != "grid":
        raise ConfigError(
            f"search.widen is for grids; search.algorithm={given['algorithm']} has ranges: make "
            "them wider, or leave search.widen out"
        )
    _check_sweep(sweep)
    refuse_overlap(sweep.name, reported, sweep.orders, sweep.seeds)
    given["space"] = read_space(given["space"], sweep.methods)
    if given["algorithm"] == "grid":
        given["budget"] = _grid_points(given["space"], sweep.methods, record.get("budget"))
    return Search(**given, reported=reported)


def _check_sweep(sweep: Sweep) -> None:
    if len(sweep.benches) != 1:
        raise ConfigError(
            f"search {sweep.name} names {len(sweep.benches)} benches; values are tuned for one: "
            f"bench={sweep.benches[0]}"
        )
    if sweep.grid:
        key = next(iter(sweep.grid))
        raise ConfigError(f"{key} has several values: give it one, or name them in search.space")
    for row in rows(sweep):
        if pattern(sweep.benches[0], row, sweep.protocol).bench.eval != "validation":
            raise ConfigError(
                f"search {sweep.name} evaluates on the test set, which nothing may be tuned on; "
                "give it `fixed: {eval: validation}`"
            )


def _grid_points(
    space: Mapping[str, Mapping[str, Dimension]], methods: Sequence[str], budget: int | None
) -> int:
    """A grid tries all of its points: every row that has any must have as many."""
    sizes = {method: len(grid(space[method])) for method in methods if space[method]}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{method} {size}" for method, size in sizes.items())
        raise ConfigError(f"search.algorithm=grid: budgets differ ({told}); make them equal")
    points = max(sizes.values(), default=1)
    if budget not in (None, points):
        raise ConfigError(
            f"search.budget={budget}, but a grid tries all of its points, {points} for each row; "
            "leave the budget out"
        )
    return points


def refuse_overlap(
    name: str, reported: Sweep, orders: tuple[str, ...], seeds: tuple[int, ...]
) -> None:
    """Raise ConfigError when `reported` uses an order or a seed that values were tuned on."""
    pairs = reported.pairs()
    for axis, tuned, used in (
        ("order", set(orders), {order for order, _ in pairs}),
        ("seed", set(map(str, seeds)), {str(seed) for _, seed in pairs}),
    ):
        if both := sorted(tuned & used):
            raise ConfigError(
                f"{axis} {both[0]} is used for tuning by {name} and reported by {reported.name}: "
                f"winners must be reported on fresh {axis}s"
            )


def refuse_unequal_budgets(name: str, configurations: Mapping[str, Any], allowed: bool) -> None:
    """Raise ConfigError where the rows of a file were tuned with different numbers of
    configurations (a row that has nothing to tune has 1), unless its `tuned_on` allows it."""
    counts = {row: n for row, n in configurations.items() if n != 1}
    if len(set(counts.values())) > 1 and not allowed:
        told = ", ".join(f"{row} {n}" for row, n in counts.items())
        raise ConfigError(
            f"the rows of {name} were tuned with different numbers of configurations ({told}), so "
            "they cannot be compared fairly; tune them alike (python -m sweeps search), or say so "
            "in the file: tuned_on: {..., unequal: true}"
        )
