"""Composes a checked `Cell` from names, YAML files and dotted overrides.

Precedence, lowest first: dataclass default, bench file (its backbone and training section),
method file, the method's section for that bench (or for the bench that its file names in
`values_of`), then the caller's overrides (sweep file, then command line).
No torch, no Hydra: sweeps compose thousands of cells through this one function.
"""

from __future__ import annotations

import hashlib
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from janus import plugins
from janus.atomic_files import read_record
from janus.config.cell import BackboneConfig, BenchConfig, Cell, MethodConfig, TrainConfig
from janus.config.colours import with_colours
from janus.config.method_spec import (
    MethodSpec,
    Setting,
    method_spec,
    own_names,
    read_spec,
)
from janus.config.own_order import parse_order, partly_ordered
from janus.config.task_sizes import VIRTUAL, with_task_sizes
from janus.errors import ConfigError, suggest
from janus.weight_header import KINDS, readable

PARTS: dict[str, type] = {"bench": BenchConfig, "backbone": BackboneConfig, "train": TrainConfig}
TOP = ("bench", "backbone", "method", "order", "seed", "eval")


def compose(overrides: Mapping[str, Any]) -> Cell:
    """Build the cell that `overrides` describe, e.g. {'bench': 'glyphs', 'method.rank': 4}.

    A setting that the other values make inactive (`needs` in its YAML) gets its default, so that
    runs that cannot differ are the same cell. Raises ConfigError for unknown names, wrong types and
    values out of range, with the nearest valid choice.
    """
    given = dict(overrides)
    bench_name, method_name = str(given.pop("bench", "glyphs")), str(given.pop("method", "janus"))
    bench_file = dict(read_spec("bench", bench_name))
    spec = method_spec(method_name)
    values_of = str(bench_file.pop("values_of", bench_name))
    backbone_name = str(given.pop("backbone", bench_file.pop("backbone", "vit_b16_in21k")))

    layers: dict[str, dict[str, Any]] = {
        "train": dict(bench_file.pop("train", {})),
        "bench": {"name": bench_name} | bench_file,
        "backbone": {"name": backbone_name} | read_spec("backbone", backbone_name),
        "method": {name: setting.default for name, setting in spec.settings.items()},
    }
    for key, value in spec.benches.get(values_of, {}).items():
        _assign(layers, spec, key if "." in key else f"method.{key}", value)
    order, own_order = parse_order(given.pop("order", "natural"))
    seed = given.pop("seed", 0)
    if "eval" in given:
        given["bench.eval"] = given.pop("eval")
    for key, value in given.items():
        _assign(layers, spec, key, value)
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ConfigError(f"seed must be an integer, got {seed!r}")
    if "bench.source" in given:
        _check_source(str(given["bench.source"]))

    backbone = _build(BackboneConfig, "backbone", with_colours(layers["backbone"]))
    values = {n: spec.check(n, v) for n, v in sorted(layers["method"].items())}
    return Cell(
        bench=_build(BenchConfig, "bench", _with_split(layers["bench"])),
        backbone=_with_file_hash(backbone),
        train=_build(TrainConfig, "train", layers["train"]),
        method=MethodConfig(
            name=method_name,
            revision=spec.revision,
            values=_as_read(spec, values),
            neutral=spec.neutral,
            revised=spec.revised,
        ),
        order=order,
        seed=seed,
        own_order=own_order,
        sources=_sources(method=method_name, bench=bench_name, backbone=backbone_name),
    )


def _check_source(source: str) -> None:
    """Raise ConfigError for a `bench.source` that no bench has."""
    known = {str(read_spec("bench", name).get("source")) for name in own_names("bench")}
    if source not in known and plugins.loader(source) is None:
        raise ConfigError(f"unknown bench.source {source!r}.{suggest(source, known)}")


def _sources(**used: str) -> dict[str, str]:
    """SHA-256 of the source of each part that is from outside of this project."""
    outside = {part: name for part, name in used.items() if name not in own_names(part)}
    found = {part: plugins.find_plugin(part, name) for part, name in outside.items()}
    return {part: entry.source.sha256 for part, entry in found.items() if entry is not None}


def valid_keys(method: str) -> list[str]:
    """Every key that `compose` accepts for `method`."""
    keys = [f"{part}.{f.name}" for part, cls in PARTS.items() for f in fields(cls)]
    keys += [f"bench.{name}" for name in VIRTUAL]
    return [*TOP, *keys, *(f"method.{name}" for name in method_spec(method).settings)]


def _as_read(spec: MethodSpec, values: Mapping[str, Any]) -> dict[str, Any]:
    """`values`, in which every inactive setting has its default."""
    settings = spec.settings
    return {
        n: settings[n].default if spec.inactive_because(n, values) else v for n, v in values.items()
    }


def unused_overrides(overrides: Mapping[str, Any], cell: Cell) -> list[str]:
    """A sentence for each override that has no effect, with the value that makes it inactive."""
    spec = method_spec(cell.method.name)
    told = []
    for key in overrides:
        part, _, name = key.partition(".")
        if part == "method" and name and (why := spec.inactive_because(name, cell.method.values)):
            told.append(f"{key} has no effect with {why}")
    return told


def cautions(cell: Cell) -> list[str]:
    """Cautions to print before `cell` is trained; [] for most cells."""
    told = method_spec(cell.method.name).cautions_of(cell.method.values)
    if cell.own_order is not None and cell.bench.scenario == "class":
        told += partly_ordered(cell.own_order, cell.bench.classes)
    return told


def _assign(layers: dict[str, dict[str, Any]], spec: MethodSpec, key: str, value: Any) -> None:
    part, _, name = key.partition(".")
    if part == "method" and name:
        spec.check(name, value)
    elif part == "bench" and name in VIRTUAL:
        if not isinstance(layers["bench"].get("tasks"), list):
            layers["bench"].pop("tasks", None)  # replaces the bench's number of tasks
    elif part not in PARTS or name not in {f.name for f in fields(PARTS[part])}:
        raise ConfigError(f"unknown key {key!r}.{suggest(key, valid_keys(spec.name))}")
    layers[part][name] = value


def _build(cls: type, part: str, values: Mapping[str, Any]) -> Any:
    hints = typing.get_type_hints(cls)
    known = {f.name: f for f in fields(cls)}
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(f"unknown field {part}.{name}.{suggest(name, known)}")
        checked[name] = _typed(hints[name], value, f"{part}.{name}")
    missing = [
        n
        for n, f in known.items()
        if n not in checked and f.default is MISSING and f.default_factory is MISSING
    ]
    if missing:
        raise ConfigError(f"{part}: {', '.join(missing)} must be given")
    return cls(**checked)


_EXAMPLES: dict[Any, Any] = {int: 0, float: 0.0, str: "", bool: False}


def _typed(hint: Any, value: Any, where: str) -> Any:
    """`value`, checked against the type annotation of a field of a config dataclass."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and type(None) in options:
        return None
    kind = next(o for o in options if o is not type(None))
    if kind in _EXAMPLES:
        return Setting(default=_EXAMPLES[kind], help="").check(where, value)
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where} must be a mapping, got {value!r}")
    return dict(value)


def _with_split(given: dict[str, Any]) -> dict[str, Any]:
    """Fill in task sizes, and for an undeclared split what `janus.data check` recorded."""
    values = {k: v for k, v in given.items() if k not in ("tasks", "task_sizes", *VIRTUAL)}
    cut = {k: v for k, v in given.items() if k not in values}
    return with_task_sizes(_with_classes(values) | cut)


def _with_classes(values: dict[str, Any]) -> dict[str, Any]:
    """Fill in the recorded number of classes and hash of an undeclared split."""
    if values.get("split_sha256") is not None:
        return values
    classes = values.get("classes")
    bench = _build(BenchConfig, "bench", values | {"classes": classes or 1, "tasks": 1})
    found = read_record(bench.split_file)
    counted = found.get("classes")
    if not classes and not (type(counted) is int and counted > 0):
        words = bench.words if bench.root else f"{bench.name} bench.root=DIR"
        raise ConfigError(
            f"bench {bench.name} is not known yet ({bench.split_file} is missing or damaged): "
            f"look at your images first: python -m janus.data check {words}"
        )
    hashed = {"classes": classes or counted, "split_sha256": found.get("split_sha256")}
    return values | hashed


def _with_file_hash(backbone: BackboneConfig) -> BackboneConfig:
    """Fill in the hash of a local weight file, which is part of the cell's identity.

    Raises ConfigError if there is no such file, DataError if it is damaged or no weight file.
    """
    if backbone.weights in ("bundled", "hub", "random"):
        return backbone
    path = Path(backbone.weights).expanduser().resolve()
    if not path.is_file():
        what = f"{path} is a folder, not" if path.is_dir() else f"no file {path}. Give the path of"
        raise ConfigError(
            f"backbone.weights: {what} a {KINDS} file, or fetch the hub's with: "
            f"python -m janus.weights fetch {backbone.model}"
        )
    stat = path.stat()
    readable(path, stat.st_size, stat.st_mtime_ns)
    found = file_sha256(str(path), stat.st_size, stat.st_mtime_ns)
    declared = backbone.weights_sha256
    standard = read_spec("backbone", backbone.name).get("weights_sha256")
    if declared not in (None, standard, found):
        raise ConfigError(
            f"backbone.weights: {path} has SHA-256 {found[:16]}…, not the declared {declared}"
        )
    values = {f.name: getattr(backbone, f.name) for f in fields(backbone)}
    return BackboneConfig(**values | {"weights": str(path), "weights_sha256": found})


@lru_cache(maxsize=64)
def file_sha256(path: str, size: int, mtime_ns: int) -> str:
    """SHA-256 of a file. Cached; size and modification time are only part of the cache's key."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


__all__ = ["cautions", "compose", "file_sha256", "unused_overrides", "valid_keys"]
