"""Reads and checks the YAML declaration of each method: its settings, sources and formulas.

A method's YAML names its code, its paper, and every setting with default, range, meaning and
provenance tag (`seen`, `derived`, `absent`; see docs/janus-lora.md), plus its published or tuned
values per bench. Method code receives the checked values and declares no defaults. Does not import
torch.
"""

from __future__ import annotations

import itertools
import math
import re
import sys
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from janus import plugins
from janus.config.cell import Value
from janus.errors import ConfigError, suggest

TAGS = ("seen", "derived", "tuned", "absent", "choice")
MOST_INTEGER = 1 << 63
"""Integers must be smaller than this, so that they fit into 64 bits."""
_MISSING = object()


class _Loader(yaml.SafeLoader):
    """YAML loader that reads `1e-3` as a float, as YAML 1.2 does; PyYAML reads it as a string."""


_Loader.add_implicit_resolver(  # type: ignore[no-untyped-call]
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*([eE][-+]?\d+)|\.\d+([eE][-+]?\d+)?)$"),
    list("-+0123456789."),
)


def read_spec(group: str, name: str) -> dict[str, Any]:
    """What declares a bench, backbone or method: the mapping in `janus/conf/<group>/<name>.yaml`,
    or what a module from outside registered. Raises ConfigError with the nearest name.
    """
    return deepcopy(_parsed(group, name))


@cache
def _parsed(group: str, name: str) -> dict[str, Any]:
    """The parsed file; cached, because every cell of a sweep needs its bench and backbone."""
    path = files("janus") / "conf" / group / f"{name}.yaml"
    if path.is_file():
        return _mapping(path.read_text(encoding="utf-8"), spec_file(group, name))
    entry = plugins.find_plugin(group, name)
    if entry is None:
        raise ConfigError(f"unknown {group} {name!r}.{suggest(name, spec_names(group))}")
    spec, more = entry.value.spec, entry.value.more
    if isinstance(spec, Path):
        spec = _mapping(spec.read_text(encoding="utf-8"), str(spec))
    return {**deepcopy(dict(spec)), **more}


def _mapping(text: str, where: str) -> dict[str, Any]:
    try:
        loaded = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: {' '.join(str(error).split())}") from None
    if not isinstance(loaded, dict):
        raise ConfigError(f"{where} must hold a mapping")
    return loaded


def spec_file(group: str, name: str) -> str:
    """The file that declares a bench, backbone or method, for messages about it."""
    entry = plugins.known_plugin(group, name)
    if entry is None:
        return f"janus/conf/{group}/{name}.yaml"
    spec = entry.value.spec
    return str(spec if isinstance(spec, Path) else f"{entry.source.path}: {group} {name}")


def spec_names(group: str) -> tuple[str, ...]:
    """The benches, backbones or methods that exist, those from outside included."""
    return tuple(sorted({*own_names(group), *plugins.plugin_names(group)}))


def readable_names(group: str) -> tuple[str, ...]:
    """As `spec_names`, without those whose installed package would have to be imported first."""
    outside = (name for name in plugins.plugin_names(group) if plugins.known_plugin(group, name))
    return tuple(sorted({*own_names(group), *outside}))


@lru_cache
def own_names(group: str) -> tuple[str, ...]:
    """The benches, backbones or methods of this project."""
    folder = files("janus") / "conf" / group
    found = (p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml"))
    return tuple(sorted(n for n in found if not n.startswith("_")))


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One declared setting of a method."""

    default: Value
    help: str
    tag: str = "choice"
    min: float | None = None
    max: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[Value, ...] | None = None
    optional: bool = False
    neutral: Any = _MISSING
    """Value that reproduces results made before this setting existed."""
    revised: Mapping[str, int] = field(default_factory=dict)
    """Values whose meaning changed, with the number of the new meaning (from 2): {cosine: 2} is
    written `cosine@2` in the identity of a cell, so that no old result is taken for a new one. On
    the command line the value keeps its name."""
    epochs: bool = False
    """Whether the value must be a text of epochs (see `epoch_numbers`)."""
    needs: Mapping[str, Value | list[Value]] = field(default_factory=dict)
    """Values of other settings that make this one active, e.g. {estimator: fd}; a list holds
    alternatives."""

    def check(self, where: str, value: Any) -> Any:
        """`value` in this setting's type. Raises ConfigError naming `where` and what is allowed."""
        if value is None and (self.optional or self.default is None):
            return None
        value = _as_type_of(self.default, value, where)
        if self.choices is not None and value not in self.choices:
            text = ", ".join(map(str, self.choices))
            hint = suggest(str(value), map(str, self.choices))
            hint = hint if hint.startswith(" Did") else ""
            raise ConfigError(f"{where} must be one of {text}; got {value!r}.{hint}")
        if self.epochs:
            try:
                epoch_numbers(value)
            except ValueError:
                raise ConfigError(
                    f"{where} must name epochs in rising order, joined by +, e.g. 4+6+8; "
                    f"got {value!r}"
                ) from None
        if isinstance(value, int | float) and not isinstance(value, bool):
            for bound, ok, words in (
                (self.min, self.min is None or value >= self.min, "at least"),
                (self.max, self.max is None or value <= self.max, "at most"),
                (self.above, self.above is None or value > self.above, "above"),
                (self.below, self.below is None or value < self.below, "below"),
            ):
                if not ok:
                    raise ConfigError(f"{where} must be {words} {bound:g}, got {value}")
        return value


def epoch_numbers(text: str) -> tuple[int, ...]:
    """The epochs in a text like '4+6+8': increasing whole numbers from 1; () for ''.

    Raises ValueError for any other text. (Not separated by commas, which give a grid in a sweep.)
    """
    found = tuple(int(part) for part in text.split("+")) if text else ()
    if text != "+".join(map(str, found)) or any(a >= b for a, b in itertools.pairwise((0, *found))):
        raise ValueError(text)
    return found


def _short(value: int | float) -> str:
    """The number as text, shortened if it is very long."""
    text = str(value)
    return text if len(text) <= 40 else f"{text[:20]}... ({len(text)} digits)"


def _as_type_of(example: Value, value: Any, where: str) -> Value:
    """`value` in the type of `example`. The only conversion is a lossless int to float."""
    if isinstance(example, bool):
        if isinstance(value, bool):
            return value
    elif isinstance(example, float):
        if isinstance(value, int | float) and not isinstance(value, bool):
            if abs(value) > sys.float_info.max or math.isnan(value):
                raise ConfigError(f"{where} must be a finite number, got {_short(value)}")
            return float(value)
    elif isinstance(example, int):
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            if abs(value) >= MOST_INTEGER:
                raise ConfigError(f"{where} must be below 2^63, got {_short(value)}")
            return value
    elif isinstance(example, str):
        if isinstance(value, str):
            return value
        if isinstance(value, bool | int | float):
            return str(value)
    else:
        return value if isinstance(value, bool | int | float | str) else str(value)
    kind = {bool: "true or false", int: "an integer", float: "a number", str: "text"}
    raise ConfigError(f"{where} must be {kind[type(example)]}, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class Caution:
    """A warning about a combination of settings with an effect that users do not expect."""

    when: Mapping[str, Value | list[Value]]
    """The combination; a list holds alternatives."""
    text: str
    """One sentence: what happens, and what to choose instead."""


@dataclass(frozen=True, kw_only=True)
class MethodSpec:
    """A method as its YAML declares it."""

    name: str
    title: str
    summary: str
    family: str
    paper: str
    code: str
    """The implementation, as `module:Class`."""
    revision: int
    settings: Mapping[str, Setting]
    benches: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Values per bench; a key with a dot sets a field outside the method, e.g. `train.epochs`."""
    keeps: str = ""
    """What is kept between tasks."""
    trains: str = ""
    """Parameters trained per task, as a formula of r, D, L (blocks), C (classes of the task)."""
    defaults: str = ""
    """Where the defaults come from."""
    domains: str = "shared head"
    """Domain-incremental streams: `shared head` (policy A), `inferred domain` (policy B), `class
    means`, or `no` with the reason. A shared head is not protected from forgetting, so the loop
    then also measures the nearest class mean."""
    equations: tuple[str, ...] = ()
    """The defining equations, for docs/methods.md."""
    choices: tuple[str, ...] = ()
    """Our choices where the source is silent."""
    guards: tuple[str, ...] = ()
    """Tests that guard the defining property, as `file::function` below tests/."""
    cautions: tuple[Caution, ...] = ()
    """Warnings shown before a run starts and wherever its results are shown."""

    def check(self, name: str, value: Any) -> Value:
        """`value` for the setting `name`. Raises ConfigError with the nearest valid setting."""
        if name not in self.settings:
            hint = suggest(name, self.settings)
            raise ConfigError(f"method {self.name!r} has no setting {name!r}.{hint}")
        checked: Value = self.settings[name].check(f"method.{name}", value)
        return checked

    def inactive_because(self, name: str, values: Mapping[str, Value]) -> str | None:
        """The setting that makes `name` inactive, or None if `name` is active.

        For example 'method.estimator=cov'.
        """
        for other, wanted in self.settings[name].needs.items():
            if why := self.inactive_because(other, values):
                return why
            if values[other] not in alternatives(wanted):
                return f"method.{other}={str(values[other]).lower()}"
        return None

    def cautions_of(self, values: Mapping[str, Value]) -> list[str]:
        """Cautions for a run with these values; an older run may have fewer settings."""
        held = {name: setting.default for name, setting in self.settings.items()}
        held |= {**self.neutral, **values}
        return [
            caution.text
            for caution in self.cautions
            if all(held[name] in alternatives(wanted) for name, wanted in caution.when.items())
        ]

    @property
    def neutral(self) -> dict[str, Value]:
        """Settings added later, with the value that leaves old identities unchanged."""
        return {n: s.neutral for n, s in self.settings.items() if s.neutral is not _MISSING}

    @property
    def revised(self) -> dict[str, dict[str, int]]:
        """Settings with values whose meaning changed: {schedule: {cosine: 2}}."""
        return {n: dict(s.revised) for n, s in self.settings.items() if s.revised}


@lru_cache
def method_spec(name: str) -> MethodSpec:
    """The declaration of the method `name`, with settings inherited through `extends`."""
    record = read_spec("method", name)
    settings = _declared_settings(record, name)
    cautions = tuple(Caution(**entry) for entry in record.pop("cautions", ()))
    file = spec_file("method", name)
    for setting, declared in settings.items():
        _check_names(declared.needs, settings, f"{file}: {setting}: needs")
    for caution in cautions:
        _check_names(caution.when, settings, f"{file}: cautions")
    record["cautions"] = cautions
    record |= {key: tuple(record.get(key, ())) for key in ("equations", "choices", "guards")}
    try:
        return MethodSpec(name=name, settings=settings, **record)
    except TypeError as error:
        raise ConfigError(f"{file}: {_missing_keys(error)}") from None


def _missing_keys(error: TypeError) -> str:
    """What a declaration lacks, or has too much, without the name of the class behind it."""
    text = str(error).partition("__init__() ")[2] or str(error)
    return text.replace("keyword-only ", "").replace("keyword argument", "key")


def _check_names(
    wanted: Mapping[str, Value | list[Value]], settings: Mapping[str, Setting], where: str
) -> None:
    """Raise ConfigError unless `wanted` holds settings of the method with allowed values."""
    for name, values in wanted.items():
        if name not in settings:
            raise ConfigError(f"{where}: no setting {name!r}.{suggest(name, settings)}")
        for value in alternatives(values):
            settings[name].check(f"{where} {name}", value)


def alternatives(wanted: Value | list[Value]) -> list[Value]:
    """The values in `needs` that make a setting active, as a list."""
    return wanted if isinstance(wanted, list) else [wanted]


def _declared_settings(record: dict[str, Any], name: str) -> dict[str, Setting]:
    """Remove `extends` and `settings` from a method's record; returns all its settings by name.

    A method that extends another inherits its settings (also those it inherited itself), but not
    its values per bench.
    """
    settings: dict[str, Setting] = {}
    for parent in record.pop("extends", []):
        settings |= _declared_settings(read_spec("method", parent), parent)
    return settings | _read_settings(record.pop("settings", None) or {}, settings, name)


def _read_settings(
    block: Mapping[str, Any], inherited: Mapping[str, Setting], name: str
) -> dict[str, Setting]:
    """Parse a `settings:` block; a bare value changes only the default of an inherited setting."""
    parsed: dict[str, Setting] = {}
    for key, entry in block.items():
        place = f"{spec_file('method', name)}: {key}"
        if isinstance(entry, dict) and "help" in entry:
            if "choices" in entry:
                entry = entry | {"choices": tuple(entry["choices"])}
            try:
                parsed[key] = Setting(**entry)
            except TypeError as error:
                raise ConfigError(f"{place}: {_missing_keys(error)}") from None
        elif key in inherited:
            changes = entry if isinstance(entry, dict) else {"default": entry}
            if "choices" in changes:
                changes = changes | {"choices": tuple(changes["choices"])}
            try:
                parsed[key] = Setting(**{**vars(inherited[key]), **changes})
            except TypeError as error:
                raise ConfigError(f"{place}: {_missing_keys(error)}") from None
        else:
            raise ConfigError(f"{place}: a new setting needs default and help")
        if parsed[key].tag not in TAGS:
            raise ConfigError(f"{place}: tag must be one of {', '.join(TAGS)}")
        parsed[key].check(place, parsed[key].default)
        for value, meaning in parsed[key].revised.items():
            parsed[key].check(f"{place}: revised", value)
            if not isinstance(value, str) or not isinstance(meaning, int) or meaning < 2:
                raise ConfigError(f"{place}: revised must give a text its meaning's number, from 2")
    return parsed
