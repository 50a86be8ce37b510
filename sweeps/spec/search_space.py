"""What a search may try: ranges and choices for a method's settings, read from a sweep file.

    space:
      all: {lr: {log: [1e-4, 1e-2]}}                     # every method that has such a setting
      janus: {rank: {choices: [4, 8]}, margin: {uniform: [0, 0.3]}}

Only settings of methods: epochs, crops or weights are the protocol, and tuning them for one method
would make it another comparison.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from janus.config.cell import Value
from janus.config.method_spec import method_spec, spec_names
from janus.errors import ConfigError, suggest

KINDS = ("log", "uniform", "int", "choices")
EVERY = "all"
"""Stands for every method; a setting that a method does not have is left out for it."""

Configuration = Mapping[str, Value]
"""Values of a method's settings."""


@dataclass(frozen=True)
class Dimension:
    """The values that one setting may take."""

    kind: str
    """One of `KINDS`."""
    low: float = 0.0
    high: float = 0.0
    choices: tuple[Value, ...] = ()

    def at(self, share: float) -> Value:
        """The value at `share` of the range, in [0, 1): evenly spread, in the logarithm for `log`.

        Three digits are kept: more would only make names and files hard to read.
        """
        if self.kind == "choices":
            return self.choices[int(share * len(self.choices))]
        if self.kind == "int":
            return int(self.low) + int(share * (int(self.high) - int(self.low) + 1))
        if self.kind == "log":
            found = math.exp(math.log(self.low) + share * math.log(self.high / self.low))
            return rounded(found, self)
        return rounded(self.low + share * (self.high - self.low), self)

    def holds(self, value: Value) -> bool:
        """Whether the search could try this value."""
        if self.kind == "choices":
            return value in self.choices
        return isinstance(value, int | float) and self.low <= value <= self.high


def rounded(value: float, dimension: Dimension) -> float:
    """Three significant digits, never outside the range."""
    return min(max(float(f"{value:.3g}"), dimension.low), dimension.high)


Space = Mapping[str, Dimension]
"""{setting: what it may be} of one method."""


def read_space(record: Any, methods: tuple[str, ...]) -> dict[str, dict[str, Dimension]]:
    """{method: space} from the mapping in a sweep file.

    Raises ConfigError for unknown methods and settings, and for values that a method refuses.
    """
    if not isinstance(record, Mapping) or not all(isinstance(v, Mapping) for v in record.values()):
        raise ConfigError("search.space must be {method: {setting: {kind: values}}}")
    for name in record:
        if name not in (EVERY, *spec_names("method")):  # others than the sweep's may stay in a file
            hint = suggest(str(name), [EVERY, *methods])
            raise ConfigError(f"search.space: unknown method {name!r}.{hint}")
    shared = record.get(EVERY, {})
    for setting in shared:
        if not any(setting in method_spec(method).settings for method in methods):
            everywhere = {name for method in methods for name in method_spec(method).settings}
            hint = suggest(str(setting), everywhere)
            raise ConfigError(f"search.space: no method here has a setting {setting!r}.{hint}")
    found = {}
    for method in methods:
        known = method_spec(method).settings
        wanted = {k: v for k, v in shared.items() if k in known} | dict(record.get(method, {}))
        found[method] = {str(k): _read(method, str(k), v) for k, v in wanted.items()}
    return found


def _read(method: str, setting: str, record: Any) -> Dimension:
    where = f"search.space.{method}.{setting}"
    if not isinstance(record, Mapping) or len(record) != 1 or next(iter(record)) not in KINDS:
        raise ConfigError(f"{where} must be one of {', '.join(KINDS)} with values, got {record!r}")
    kind, values = next(iter(record.items()))
    if not isinstance(values, list) or not values:
        raise ConfigError(f"{where}: {kind} takes a list, got {values!r}")
    checked = tuple(method_spec(method).check(setting, value) for value in values)
    if kind == "choices":
        return Dimension(kind, choices=tuple(dict.fromkeys(checked)))
    numbers = [v for v in checked if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) != 2 or len(checked) != 2 or not numbers[0] < numbers[1]:
        raise ConfigError(f"{where}: {kind} takes [lowest, highest], got {values!r}")
    if kind == "log" and numbers[0] <= 0:
        raise ConfigError(f"{where}: log needs values above 0, got {values!r}")
    whole = isinstance(method_spec(method).settings[setting].default, int)
    if whole != (kind == "int"):
        raise ConfigError(f"{where} is {'a whole' if whole else 'a real'} number: not for {kind}")
    return Dimension(kind, float(numbers[0]), float(numbers[1]))


def grid(space: Space) -> list[dict[str, Value]]:
    """Every combination. Raises ConfigError for a range, which has no last point."""
    if ranges := [name for name, dimension in space.items() if dimension.kind != "choices"]:
        raise ConfigError(f"search.algorithm=grid needs choices for every setting, not {ranges[0]}")
    values = itertools.product(*(dimension.choices for dimension in space.values()))
    return [dict(zip(space, point, strict=True)) for point in values]


ALGORITHMS = ("tpe", "random", "grid")
