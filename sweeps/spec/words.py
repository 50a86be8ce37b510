"""One KEY=VALUE word of a sweep's command line, and which keys reach its cells."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, QuotedString
from hydra.errors import HydraException

from janus.config.cell import BackboneConfig, BenchConfig, TrainConfig
from janus.config.execution import OPTIONS, SWEEP_OPTIONS
from janus.config.overrides import path_override
from janus.errors import ConfigError, suggest
from sweeps.spec.sweep import BARE_KEYS

KEYS = {
    "bench": "bench or list of benches",
    "methods": "list of methods",
    "orders": "how many seeded orders, or a list such as [natural,0,pilot1993]",
    "seeds": "how many seeds, or a list of them",
    "blocks": "[{orders: ..., seeds: ...}, ...], each crossed and all joined, instead of the two",
    "protocol": "unified: the bench's epochs and batch for all; as_published: each method's own",
    "rows": "names of the variants to run; null: all of them",
    "variants": "named rows of a method: {method: {row: {setting: value}}}",
    "grid": "values to cross: {dotted key: [values]}",
    "fixed": "overrides of every cell: {dotted key: value}",
    "search": "what a search tries and how; see docs/search.md",
    "tuned_on": "{orders, seeds, configurations} that chose these values; see docs/search.md",
    "scale": "tiny: the same sweep in seconds, on few images, bundled unless bench is typed",
    "workers": "cells trained at a time; null: one per core",
    **{name: OPTIONS[name].help for name in SWEEP_OPTIONS},
    "include": "modules of your own to import first (as --include PATH), see docs/extend.md",
    "device": "auto, cpu or cuda; a cell takes one GPU or one core",
}
"""Every key of a sweep file, with its meaning."""


def add_include(parser: argparse.ArgumentParser) -> None:
    """The option `--include`, which may be repeated."""
    text = "import a module or package of your own first, see docs/extend.md; may be repeated"
    parser.add_argument("--include", action="append", default=[], metavar="PATH", help=text)


def included(paths: Sequence[str]) -> list[str]:
    """The words of a command line that stand for `--include PATH ...`; none for no path."""
    return [f"include={os.pathsep.join(paths)}"] if paths else []


def read_word(text: str) -> tuple[str, list[Any], bool]:
    """(key, values, whether they span a grid) of a KEY=VALUE word."""
    if (path := path_override(text)) is not None:
        return path[0], [path[1]], False
    try:
        override = OverridesParser.create().parse_override(text)
        key, values = override.key_or_group, _values(override)
    except (HydraException, ValueError) as error:  # a ValueError: a number of thousands of digits
        reason = str(error).splitlines()[0]
        raise ConfigError(f"cannot read {text!r}: {reason}. Write KEY=VALUE") from None
    if override.type not in (OverrideType.CHANGE, OverrideType.ADD):
        raise ConfigError(f"cannot delete with {text!r}; write KEY=VALUE")
    if override.package is not None:
        raise ConfigError(f"cannot read {text!r}: a key holds no '@'; write KEY=VALUE")
    if not values:
        raise ConfigError(f"{text!r} gives no value; write KEY=VALUE or KEY=VALUE,VALUE")
    if isinstance(values[0], list) and len(values) == 1 and key.startswith(("method.", "train.")):
        # no setting holds a list, so a list of values is what was meant
        return key, values[0], True
    return key, values, override.is_sweep_override()


def _values(override: Override) -> list[Any]:
    """The values of an override. Raises HydraException for a glob or an interval."""
    if not override.is_sweep_override():
        return [override.value()]
    if not override.is_discrete_sweep():
        raise HydraException("it names no single values")
    found = list(override.sweep_iterator())
    return [value.text if isinstance(value, QuotedString) else value for value in found]


def check_cell_key(key: str) -> None:
    """Refuse a part that no cell has; the names inside a part are checked with the methods."""
    part = key.partition(".")[0]
    parts = {"bench": BenchConfig, "backbone": BackboneConfig, "train": TrainConfig, "method": 0}
    if part not in parts and key not in BARE_KEYS:
        raise ConfigError(f"unknown key {key!r}.{suggest(part, {*parts, *KEYS})}")


def check_cell_keys(group: str, found: Mapping[Any, Any]) -> None:
    """Refuse what `fixed` and `grid` of a sweep file cannot set."""
    for key, value in found.items():
        if key in _AXES:
            raise ConfigError(
                f"{group}.{key}: a sweep crosses {_AXES[key]} by itself; write "
                f"`{_AXES[key]}: ...` at the top of the sweep file"
            )
        if not isinstance(key, str) or ("." not in key and key not in BARE_KEYS):
            hint = suggest(str(key), [*BARE_KEYS, *(f"method.{key}",)])
            raise ConfigError(f"{group}: {key!r} is no key of a cell, such as train.epochs.{hint}")
        check_cell_key(key)
        if group == "grid" and value in ([], ()):
            raise ConfigError(f"grid.{key} has no values; give at least one, or leave it out")


_AXES = {
    "bench": "bench",
    "order": "orders",
    "orders": "orders",
    "seed": "seeds",
    "seeds": "seeds",
    "method": "methods",
    "methods": "methods",
}
"""What a sweep crosses, and the key of a sweep file that says so."""
