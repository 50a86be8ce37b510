"""The rows of a sweep's table, and the cell that a row has on a bench."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from functools import lru_cache

from janus.config.cell import Cell, TrainConfig, Value
from janus.config.compose import compose
from janus.config.method_spec import method_spec, read_spec
from janus.config.own_order import check_numbers, parse_order
from janus.errors import ConfigError, suggest
from sweeps.spec.sweep import BARE_KEYS, Sweep


@dataclass(frozen=True)
class Row:
    """One row of the table to come: a method, its variant and grid point, as overrides."""

    method: str
    label: str
    """`janus`, `janus[none]`, `janus[none,rank=4]`; no spaces."""
    overrides: Mapping[str, Value]

    @property
    def variant(self) -> str:
        """What the label has in brackets: '', `none`, `none,rank=4`."""
        return self.label.removeprefix(self.method).strip("[]")


def at(cell: Cell, order: str, seed: int) -> Cell:
    """The same cell in another order and with another seed; `order` as in `Sweep.orders`."""
    name, own = _parsed_order(order)
    if own is not None and cell.bench.scenario == "class":
        check_numbers(own, cell.bench.classes)
    return replace(cell, order=name, own_order=own, seed=seed)


_parsed_order = lru_cache(maxsize=1024)(parse_order)


def pattern(bench: str, row: Row, protocol: str = "unified") -> Cell:
    """The cell of a row on a bench, in the natural order with seed 0."""
    shared = shared_training(bench) if protocol == "unified" else {}
    return compose({**shared, **row.overrides, "bench": bench, "method": row.method})


@lru_cache
def shared_training(bench: str) -> Mapping[str, Value]:
    """The training values that the bench's file sets; they take precedence over a method's own."""
    declared = {f.name: f.default for f in fields(TrainConfig) if f.default is not MISSING}
    own = read_spec("bench", bench).get("train", {})
    return {f"train.{name}": value for name, value in {**declared, **own}.items()}


def rows(sweep: Sweep) -> list[Row]:
    """Every method, variant and grid point. Raises ConfigError for a key that no method has.

    A `method.` key of the grid or of the fixed overrides reaches the methods that have such a
    setting: rank means nothing to a method without adapters.
    """
    for key in (*sweep.fixed, *sweep.grid):
        _check_known(key, sweep.methods)
    found: dict[tuple[str, str], Row] = {}
    for method in sweep.methods:
        fixed = {key: value for key, value in sweep.fixed.items() if _applies(key, method)}
        axes = {key: values for key, values in sweep.grid.items() if _applies(key, method)}
        for variant, changes in sweep.variants.get(method, {"": {}}).items():
            _refuse_collision(method, variant, _dotted(changes), {**fixed, **axes})
            for point in _points(axes):
                label = _label(method, variant, point)
                row = Row(method, label, fixed | point | _dotted(changes))
                found.setdefault((method, label), row)
    return list(found.values())


def without_effect(sweep: Sweep) -> dict[str, list[str]]:
    """Overrides that do not concern some of the methods: {key: those methods}."""
    missed = {
        key: [method for method in sweep.methods if not _applies(key, method)]
        for key in (*sweep.fixed, *sweep.grid)
    }
    return {key: methods for key, methods in missed.items() if methods}


def _refuse_collision(
    method: str, variant: str, changes: Mapping[str, Value], others: Mapping[str, object]
) -> None:
    """A key that a row sets may not be set elsewhere too: one of the two would be silently lost."""
    if both := sorted(set(changes) & set(others)):
        raise ConfigError(
            f"{both[0]} is set by the row {method}[{variant}] of this sweep and given besides; "
            "leave it out, or write a sweep file of your own"
        )


def _applies(key: str, method: str) -> bool:
    part, _, name = key.partition(".")
    return part != "method" or name in method_spec(method).settings


def _check_known(key: str, methods: Sequence[str]) -> None:
    if any(_applies(key, method) for method in methods):
        return  # keys of other parts are checked by compose
    settings = {f"method.{name}" for m in methods for name in method_spec(m).settings}
    who = f"method {methods[0]!r} has" if len(methods) == 1 else "no method of this sweep has"
    what = "no setting" if len(methods) == 1 else "a setting"
    raise ConfigError(f"{who} {what} {key!r}.{suggest(key, settings)}")


def _points(axes: Mapping[str, tuple[Value, ...]]) -> Iterator[dict[str, Value]]:
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _dotted(changes: Mapping[str, Value]) -> dict[str, Value]:
    """In a variant, a name without a dot is a setting of the method."""
    whole = {key: "." in key or key in BARE_KEYS for key in changes}
    return {key if whole[key] else f"method.{key}": value for key, value in changes.items()}


def _label(method: str, variant: str, point: Mapping[str, Value]) -> str:
    parts = [variant] if variant else []
    parts += [f"{key.removeprefix('method.')}={value}" for key, value in point.items()]
    return f"{method}[{','.join(parts)}]" if parts else method
