"""What code outside of this project adds: methods, benches, backbones, metrics, figures, columns,
launchers, trackers. docs/extend.md shows each in a few lines.

Such a module calls the `register_*` functions below. It is imported because a command names it
(`--include PATH`), or because an installed package names it as an entry point of a group in
`GROUPS`. Entry points of methods, benches, backbones, launchers and trackers are imported when
their name is used, the others when tables are made. No torch and none of the rooms here.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from janus.errors import ConfigError
from janus.metrics import METRICS, Metric
from janus.safe_names import check_name

GROUPS = {
    "method": "janus.methods",
    "bench": "janus.benches",
    "backbone": "janus.backbones",
    "metric": "janus.metrics",
    "figure": "janus.figures",
    "column": "janus.columns",
    "launcher": "janus.launchers",
    "tracker": "janus.trackers",
}
"""Group of entry points of each kind. An entry is `name = "module"`."""

IN_CELLS = ("method", "bench", "backbone")
"""Kinds that a cell names: the hash of their source is part of its identity."""

OUR_NAMES = {"launcher": ("slurm", "local"), "tracker": ("wandb", "none")}
"""Names of this project's own, of the kinds whose names stand in no file."""

_CONF = Path(__file__).parent / "conf"
_RESERVED = {"janus", "sweeps", "cluster", "analysis"}

T = TypeVar("T")


@dataclass
class Source:
    """The files of one module, or package, from outside."""

    name: str
    """Under which Python imports it."""
    path: Path
    """The module's file, or the package's folder."""
    beside: list[Path] = field(default_factory=list)
    """YAML files that a single module registered; they lie in its folder."""
    registering: list[Path] = field(default_factory=list)
    """The files to import for everything that is registered."""

    def files(self) -> dict[str, Path]:
        """The source files, {path inside the package: path}: all .py and .yaml of a package."""
        if self.path.is_dir():
            found = (p for p in self.path.rglob("*") if p.suffix in (".py", ".yaml"))
            return {p.relative_to(self.path).as_posix(): p for p in sorted(found) if p.is_file()}
        return {p.name: p for p in sorted({self.path, *self.beside})}

    @cached_property
    def sha256(self) -> str:
        """SHA-256 over names and bytes of `files`, as they were when it was first asked for."""
        digest = hashlib.sha256()
        for name, path in self.files().items():
            content = path.read_bytes()
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
        return digest.hexdigest()


@dataclass(frozen=True)
class Declared:
    """How a method, bench or backbone is declared: a YAML file, or the mapping it would hold."""

    spec: Path | Mapping[str, Any]
    more: Mapping[str, Any] = field(default_factory=dict)
    """Keys that the registration adds, such as `code`."""
    load: Callable[[Any], Any] | None = None
    """Of a bench: what reads its images, where it is no loader of this project."""


@dataclass(frozen=True)
class Registration:
    """One registered name."""

    kind: str
    name: str
    value: Any
    source: Source


_entries: dict[tuple[str, str], Registration] = {}
_sources: dict[str, Source] = {}
_included: dict[Path, Path] = {}
"""Files that were named, with the module's file or the package's folder that each belongs to."""
_use_entry_points = True


# ---- what an author calls -----------------------------------------------------------------------
def register_method(spec: str | Path | Mapping[str, Any]) -> Callable[[type[T]], type[T]]:
    """Decorator of a method's class. `spec`: its YAML file, beside the module, whose stem is the
    method's name; or the mapping that the file would hold, with `name`. `code` is filled in.
    """

    def decorate(cls: type[T]) -> type[T]:
        code = {"code": f"{cls.__module__}:{cls.__qualname__}"}
        _declare("method", spec, _module(cls.__module__), code)
        return cls

    return decorate


def register_bench(
    spec: str | Path | Mapping[str, Any], load: Callable[[Any], Any] | None = None
) -> None:
    """Add a bench. `spec` as for a method: the fields of `BenchConfig`, `backbone`, `train`.

    `load(config)` returns the images as a `janus.data.images.images.Bench`; without it, `source`
    in `spec` names a loader of this project.
    """
    _declare("bench", spec, _caller(), {}, load)


def register_backbone(spec: str | Path | Mapping[str, Any]) -> None:
    """Add a backbone. `spec` as for a method: the fields of `BackboneConfig`.

    `model` is a name that timm knows, also one that your module registered with timm.
    """
    _declare("backbone", spec, _caller(), {})


def register_metric(metric: Metric) -> None:
    """Add a metric: it is computed from the counts of finished cells, too, and is a column."""
    if metric.stored:
        raise ConfigError(f"metric {metric.key}: stored=True is for metrics of result files")
    known = metric.key in METRICS and ("metric", metric.key) not in _entries
    _add("metric", metric.key, metric, _caller(), "janus/metrics.py" if known else None)
    METRICS[metric.key] = metric


def register_column(
    key: str,
    title: str,
    read: Callable[[Any], float | None],
    *,
    scale: float = 1.0,
    unit: str = "",
    digits: int = 2,
    better: int = 0,
) -> None:
    """Add a column of tables. `read(run)`: the number of an `analysis.runs.load.RunRecord` or None.

    What is printed is the number times `scale`. `better`: +1 more is better, -1 less, 0 no ranks.
    """
    facts = {"scale": scale, "unit": unit, "digits": digits, "better": better}
    _add("column", key, {"key": key, "title": title, "read": read, **facts}, _caller())


def register_figure(name: str) -> Callable[[T], T]:
    """Decorator of a function that draws a figure of a bench: `draw(bench, rows)`.

    `rows`: {row: its runs}. It returns an `analysis.figures.Drawn`, or None when the runs do not
    give it.
    """
    return _decorator("figure", name)


def register_launcher(name: str) -> Callable[[T], T]:
    """Decorator of a class, used as cluster=NAME: see `cluster.launchers.launcher.Launcher`."""
    return _decorator("launcher", name)


def register_tracker(name: str) -> Callable[[T], T]:
    """Decorator of a function or class, used as tracker=NAME: `make(cell, facts)` returns an
    observer of the cell's training. See `janus.tracking.outside_trackers.Tracker`.
    """
    return _decorator("tracker", name)


def _decorator(kind: str, name: str) -> Callable[[T], T]:
    def decorate(made: T) -> T:
        _add(kind, name, made, _module(made.__module__))
        return made

    return decorate


# ---- what commands call -------------------------------------------------------------------------
def include(path: str | Path) -> None:
    """Import the module, or package, at `path`: a .py file, or a folder with `__init__.py`.

    A file inside a package stands for the whole package. Raises ConfigError in one line.
    """
    file = Path(path).expanduser().resolve()
    if file.is_dir():
        file /= "__init__.py"
    if not file.is_file() or file.suffix != ".py":
        raise ConfigError(
            f"--include {path}: no such module; give a .py file, or the folder of a package, "
            "which holds __init__.py"
        )
    if file in _included:
        return
    place = file.parent if file.name == "__init__.py" else file
    while (place.parent / "__init__.py").is_file():
        place = place.parent
    what, before = f"--include {path}", set(_entries)
    name = place.stem if place.is_file() else place.name
    if place not in _included.values():
        _check_module_name(name, what, place)
    try:
        if place not in _included.values():
            _execute(name, place)
        if place.is_dir():
            parts = file.relative_to(place.parent).with_suffix("").parts
            importlib.import_module(".".join(parts).removesuffix(".__init__"))
        _ = _source(name, file if place.is_file() else place / "__init__.py").sha256
    except BaseException as error:
        _forget(name, set(_entries) - before)
        _refuse_import(error, what, place)
    _included[file] = place
    if file not in _sources[name].registering:
        _sources[name].registering.append(file)


def _check_module_name(name: str, what: str, place: Path) -> None:
    """Raise ConfigError where `name` is no name for a module, or already that of another one."""
    loaded = sys.modules.get(name)
    where = getattr(loaded, "__file__", None) or "Python, or of this project"
    if not name.isidentifier():
        raise ConfigError(f"{what}: {name!r} is no name of a Python module; rename {place}")
    if loaded or name in _RESERVED | sys.stdlib_module_names:
        raise ConfigError(f"{what}: {name!r} is the name of {where}, too; rename {place}")


def _execute(name: str, place: Path) -> None:
    """Import a module from where it lies. Its folder is not searched for others."""
    package = place.is_dir()
    found = spec_from_file_location(
        name,
        place / "__init__.py" if package else place,
        submodule_search_locations=[str(place)] if package else None,
    )
    assert found is not None and found.loader is not None
    module = module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)


def _forget(module: str, entries: Iterable[tuple[str, str]]) -> None:
    """Undo a failed import."""
    for name in [n for n in sys.modules if n == module or n.startswith(f"{module}.")]:
        del sys.modules[name]
    for key in entries:
        del _entries[key]
        if key[0] == "metric":
            del METRICS[key[1]]
    _sources.pop(module, None)


def _refuse_import(error: BaseException, what: str, place: Path | None) -> NoReturn:
    """Raise the error of an import again: in one line, naming the line that failed."""
    if isinstance(error, KeyboardInterrupt | ConfigError):
        raise error
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if place and Path(f.filename).resolve().is_relative_to(place)]
    at = f" ({ours[-1].filename}, line {ours[-1].lineno})" if ours else ""
    reason = " ".join(str(error).split())
    raise ConfigError(f"{what} cannot be imported: {type(error).__name__}: {reason}{at}") from None


def plugin_names(kind: str) -> list[str]:
    """Every name from outside, sorted, of this kind; nothing is imported."""
    found = {name for of, name in _entries if of == kind}
    return sorted(found | {name for of, name in _entry_points() if of == kind})


def find_plugin(kind: str, name: str) -> Registration | None:
    """What is registered under `name`, importing its entry point; None: nobody has this name.

    Raises ConfigError where two places have it, or the import fails.
    """
    points = _entry_points().get((kind, name), [])
    entry = _entries.get((kind, name))
    for point in points:
        module = point.partition(":")[0]
        if entry is None:
            _import(module, f"entry point {name} of {GROUPS[kind]}")
            entry = _entries.get((kind, name))
            if entry is None:
                raise ConfigError(
                    f"entry point {name} of {GROUPS[kind]}: the module {module} registers no "
                    f"{kind} of this name; call register_{kind} in it"
                )
        elif module.partition(".")[0] != entry.source.name:
            raise _clash(kind, name, str(entry.source.path), f"the installed module {module}")
    return entry


def known_plugin(kind: str, name: str) -> Registration | None:
    """As `find_plugin`, but nothing is imported: None also for what nobody has used yet."""
    return _entries.get((kind, name))


def every(kind: str) -> list[Registration]:
    """All entries of this kind, by name, importing their modules."""
    return [entry for name in plugin_names(kind) if (entry := find_plugin(kind, name)) is not None]


def plugin_sources() -> list[Source]:
    """Every module or package from outside that this process has imported."""
    return list(_sources.values())


def loader(source: str) -> Callable[[Any], Any] | None:
    """What reads the images of a registered bench; its `source` is its name. None: no such one."""
    entry = find_plugin("bench", source)
    return None if entry is None else entry.value.load


def for_workers() -> dict[str, Any]:
    """What another process passes to `restore` to know the same names; plain data."""
    return {"include": [str(path) for path in _included], "entry_points": _use_entry_points}


def restore(found: Mapping[str, Any]) -> None:
    """Import what the process that called `state` had imported by its path."""
    global _use_entry_points
    _use_entry_points = bool(found["entry_points"])
    for path in found["include"]:
        include(path)


def check_unchanged(wanted: Mapping[str, str], used: Mapping[str, str]) -> None:
    """Raise ConfigError unless the source of a cell is the one that it was planned with.

    `wanted`: {kind: SHA-256}, as in `Cell.sources`; `used`: {kind: name}.
    """
    for kind, sha256 in wanted.items():
        entry = find_plugin(kind, used[kind])
        if entry is None:
            raise ConfigError(
                f"{kind} {used[kind]!r} is from outside of this project, and its module was not "
                "found: name it with --include PATH, or install its package"
            )
        if entry.source.sha256 != sha256:
            raise ConfigError(
                f"the source of {kind} {used[kind]!r} changed: this cell was planned with SHA-256 "
                f"{sha256[:12]}…, and {entry.source.path} has {entry.source.sha256[:12]}…. Start "
                "again with the same command: the changed source gives cells of new ids"
            )


# ---- entry points -------------------------------------------------------------------------------
def _import(module: str, what: str) -> None:
    before = set(_entries)
    try:
        found = importlib.import_module(module)
        top = module.partition(".")[0]
        if top not in _sources:
            _source(top, Path(str(found.__file__)))
    except BaseException as error:
        _forget(module, set(_entries) - before)
        _refuse_import(error, f"{what}: {module}", None)


def _entry_points() -> Mapping[tuple[str, str], list[str]]:
    return _scanned(tuple(sys.path)) if _use_entry_points else {}


@lru_cache(maxsize=1)
def _scanned(folders: tuple[str, ...]) -> dict[tuple[str, str], list[str]]:
    """{(kind, name): [module]} of all installed packages."""
    if not any(b"[janus." in text for text in _entry_point_files(folders)):
        return {}  # importlib.metadata takes ten times as long to find that out
    from importlib.metadata import entry_points

    found: dict[tuple[str, str], list[str]] = {}
    for kind, group in GROUPS.items():
        for point in entry_points(group=group):
            found.setdefault((kind, point.name), []).append(point.value)
    return found


def _entry_point_files(folders: Iterable[str]) -> Iterator[bytes]:
    for folder in folders:
        try:
            with os.scandir(folder or ".") as inside:
                packages = [p.path for p in inside if p.name.endswith((".dist-info", ".egg-info"))]
        except OSError:
            continue
        for package in packages:
            try:
                with open(f"{package}/entry_points.txt", "rb") as stream:
                    yield stream.read()
            except OSError:
                continue


# ---- registering --------------------------------------------------------------------------------
def _caller() -> Source:
    """The source of the module that called a `register_*` function."""
    return _module(str(sys._getframe(2).f_globals["__name__"]))


def _module(name: str) -> Source:
    """The source of an imported module: its package, or the file itself."""
    top = name.partition(".")[0]
    file = getattr(sys.modules.get(top), "__file__", None)
    if file is None:
        raise ConfigError(f"{name} has no file: write what you register into a module of its own")
    source = _source(top, Path(file))
    here = Path(str(sys.modules[name].__file__)).resolve()
    if here not in source.registering:
        source.registering.append(here)
    return source


def _source(name: str, file: Path) -> Source:
    path = file.resolve()
    path = path.parent if path.name == "__init__.py" else path
    return _sources.setdefault(name, Source(name, path))


def _declare(
    kind: str,
    spec: str | Path | Mapping[str, Any],
    source: Source,
    more: Mapping[str, Any],
    load: Callable[[Any], Any] | None = None,
) -> None:
    if isinstance(spec, Mapping):
        name = str(spec.get("name") or "")
        value: Path | Mapping[str, Any] = {k: v for k, v in spec.items() if k != "name"}
    else:
        folder = source.path if source.path.is_dir() else source.path.parent
        value = (folder / spec).resolve()
        name = value.stem
        if not value.is_file() or not value.is_relative_to(folder) or value.suffix != ".yaml":
            raise ConfigError(
                f"register_{kind}({str(spec)!r}): {value} is no YAML file (.yaml) of {folder}"
            )
        if source.path.is_file():
            source.beside.append(value)
    if load is not None:
        more = {**more, "source": name}
    file = _CONF / kind / f"{name}.yaml"
    taken = f"janus/conf/{kind}/{name}.yaml" if name and file.is_file() else None
    _add(kind, name, Declared(value, more, load), source, taken)


def _add(kind: str, name: str, value: Any, source: Source, taken: str | None = None) -> None:
    check_name(name, f"the name of a {kind} in {source.path}")
    if name in OUR_NAMES.get(kind, ()):
        taken = "this project"
    before = _entries.get((kind, name))
    if before is not None and before.source.path != source.path:
        taken = str(before.source.path)
    if taken is not None:
        raise _clash(kind, name, taken, str(source.path))
    _entries[kind, name] = Registration(kind, name, value, source)


def _clash(kind: str, name: str, first: str, second: str) -> ConfigError:
    return ConfigError(f"{kind} {name!r} is in {first} and in {second}; rename one of them")
