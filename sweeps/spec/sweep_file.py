"""From a sweep file and the words of a command line to a typed sweep.

Hydra composes the file (`sweeps/conf/NAME.yaml`, or a path) with the overrides of the sweep's own
keys. Every other key (`train.epochs=3`, `method.rank=4,8`, `backbone=toy`) goes to the cells:
one value is fixed for all of them, a comma list spans a grid.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from janus import plugins
from janus.config.execution import OPTIONS, SWEEP_OPTIONS, Execution, execution_from
from janus.config.method_spec import method_spec, spec_names
from janus.config.own_order import parse_order
from janus.errors import ConfigError, suggest
from janus.safe_names import check_name
from janus.tracking import outside_trackers
from sweeps.spec.search_section import Search, read_search, refuse_overlap, refuse_unequal_budgets
from sweeps.spec.sweep import BARE_KEYS, Block, Sweep
from sweeps.spec.tiny import SCALES, reduce
from sweeps.spec.words import KEYS, check_cell_key, check_cell_keys, read_word
from sweeps.spec.yaml_file import check_sweep_file

CONF = Path(__file__).resolve().parents[1] / "conf"

DEVICES = ("auto", "cpu", "cuda")
"""Where the cells of a sweep may train; which GPU a cell gets is decided by Ray or SLURM."""

MOST_UNITS = 100_000
"""Most orders, or seeds, of a sweep."""


@dataclass(frozen=True)
class SweepRequest:
    """A sweep, and how to run it (which never changes a result)."""

    sweep: Sweep
    execution: Execution
    workers: int | None
    search: Search | None = None
    """How to tune the sweep's rows; then there is no table of them to make."""

    @property
    def store(self) -> Path:
        """The folder of the run store."""
        return Path(self.execution.store)

    @property
    def device(self) -> str:
        """auto, cpu or cuda."""
        return self.execution.device

    def usable_workers(self) -> int:
        """Cells trained at a time on this machine: as told, else one per usable core."""
        if self.workers is not None:
            return self.workers
        usable = getattr(os, "sched_getaffinity", None)
        return len(usable(0)) if usable else os.cpu_count() or 1


def sweep_names() -> list[str]:
    """The sweeps that ship with the package."""
    return sorted(path.stem for path in CONF.glob("*.yaml"))


def load_sweep(name: str, overrides: Sequence[str]) -> SweepRequest:
    """The sweep file `name` under `overrides`. Raises ConfigError with the nearest valid name."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else CONF / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(f"unknown sweep {name!r}.{suggest(name, sweep_names())}")
    check_name(path.stem, f"the name of the sweep file {path.name}, without its suffix,")
    own: dict[str, Any] = {}
    fixed: dict[str, Any] = {}
    grid: dict[str, list[Any]] = {}
    typed: dict[str, list[Any]] = {}
    for key, values, several in map(read_word, overrides):
        if typed.setdefault(key, values) != values:
            raise ConfigError(
                f"{key} is given twice, as {typed[key]!r} and {values!r}; give it once, with a "
                "comma list for several values"
            )
        if key in KEYS or key.startswith("search."):
            own[key] = values if several else values[0]
        elif "." in key or key in BARE_KEYS:
            check_cell_key(key)
            if several:
                grid[key] = values
            else:
                fixed[key] = values[0]
        else:
            raise ConfigError(f"unknown key {key!r}.{suggest(key, [*KEYS, *BARE_KEYS])}")
    typed_modules = str(own.pop("include", None) or "")
    record = _compose(path, own)
    _include(record, path.resolve().parent, typed_modules)
    return _request(path.stem, record, set(own), fixed, grid)


def _include(record: Mapping[str, Any], folder: Path, typed: str) -> None:
    """Import the modules of `include`: of the sweep file, whose paths are relative to its
    `folder`, and of the command line, joined by os.pathsep.
    """
    for name in map(str, _listed(record.get("include") or [])):
        plugins.include(folder / Path(name).expanduser())
    for name in filter(None, typed.split(os.pathsep)):
        plugins.include(name)


def _compose(path: Path, own: Mapping[str, Any]) -> dict[str, Any]:
    """The sweep file with the keys of the command line put over it.

    Not as overrides of Hydra's: a folder beside the file that has the name of a key (`store`) would
    be a config group to it, which takes no such value.
    """
    check_sweep_file(path)
    GlobalHydra.instance().clear()
    try:
        with (
            _folder_for_hydra(path) as folder,
            initialize_config_dir(folder, version_base="1.3"),
        ):
            config = compose(path.stem)
        OmegaConf.set_struct(config, False)
        for name, value in own.items():
            OmegaConf.update(config, name, value, merge=True, force_add=True)
        loaded = OmegaConf.to_container(config, resolve=True)
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"sweep file {path.name}: {reason}; write plain values, as in docs/sweeps.md"
        ) from None
    if not isinstance(loaded, dict):
        raise ConfigError(f"sweep file {path.name} must hold a mapping")
    for key in loaded:
        if key not in KEYS:
            raise ConfigError(
                f"sweep file {path.name}: unknown key {key!r}.{suggest(str(key), KEYS)}"
            )
    return {str(key): value for key, value in loaded.items()}


@contextmanager
def _folder_for_hydra(path: Path) -> Iterator[str]:
    """The folder of the sweep file; for a `.yml` file one of links, since Hydra reads `.yaml`."""
    folder = path.resolve().parent
    if path.suffix == ".yaml":
        yield str(folder)
        return
    with tempfile.TemporaryDirectory() as links:
        for found in sorted(folder.glob("*.y*ml")):  # .yaml before .yml: a file's own name wins
            link = Path(links) / f"{found.stem}.yaml"
            if found.resolve() == path.resolve():
                link.unlink(missing_ok=True)
            if not link.is_symlink():
                link.symlink_to(found)
        yield links


def _request(
    name: str,
    record: dict[str, Any],
    typed: Collection[str],
    fixed: dict[str, Any],
    grid: dict[str, list[Any]],
) -> SweepRequest:
    """Check the values of a composed sweep file; the command line's `fixed` and `grid` win.

    `typed`: the sweep's own keys that stand on the command line.
    """
    _check_names(record)
    for group in ("fixed", "grid"):
        check_cell_keys(group, _mapping(record, group))
    base = {k: v for k, v in _mapping(record, "fixed").items() if k not in grid}
    axes = {k: _listed(v) for k, v in _mapping(record, "grid").items() if k not in fixed}
    sweep = Sweep(
        name=name,
        methods=tuple(map(str, _listed(record.get("methods", [])))),
        benches=tuple(map(str, _listed(record.get("bench", "glyphs")))),
        variants=_variants(record),
        grid={key: tuple(values) for key, values in (axes | grid).items()},
        fixed=base | fixed,
        protocol=str(record.get("protocol", "unified")),
        **_pairs(record, typed),
    )
    if (scale := record.get("scale")) is not None:
        if scale not in SCALES:
            raise ConfigError(f"unknown scale {scale!r}.{suggest(str(scale), SCALES)}")
        sweep = reduce(sweep, str(scale), {*typed, *fixed, *grid})
    _check_tuned_on(record, sweep)
    workers = record.get("workers")
    if workers is not None and (not _is_count(workers) or workers < 1):
        raise ConfigError(f"workers must be a number of at least 1, got {workers!r}")
    return SweepRequest(sweep, _execution(record), workers, _search(record, sweep))


def _execution(record: Mapping[str, Any]) -> Execution:
    """The execution options of a sweep file, with the store's path made absolute."""
    given = {name: str(record[name]) for name in SWEEP_OPTIONS if name in record}
    for name, value in given.items():
        choices = DEVICES if name == "device" else OPTIONS[name].choices
        if choices is not None and value not in choices:
            listed = f"{', '.join(map(str, choices[:-1]))} or {choices[-1]}"
            raise ConfigError(f"{name} must be {listed}, got {value!r}")
    execution = execution_from(given)
    outside_trackers.checked_tracker(execution.tracker)
    store = Path(execution.store).expanduser().resolve()
    if store.exists() and not store.is_dir():
        raise ConfigError(
            f"store={store} is a file; a store is a folder: name another with store=DIR"
        )
    return replace(execution, store=str(store))


def _search(record: Mapping[str, Any], sweep: Sweep) -> Search | None:
    if record.get("search") is None:
        return None
    told = _mapping(record, "search")
    name = str(told.get("reports") or "")
    if name not in sweep_names() and not name.endswith((".yaml", ".yml")):
        hint = suggest(name, sweep_names())
        raise ConfigError(
            f"search.reports names the sweep that will report the winners, got {name!r}.{hint}"
        )
    return read_search(told, sweep, load_sweep(name, [f"bench={sweep.benches[0]}"]).sweep)


TUNED_ON = ("orders", "seeds", "configurations", "edges", "unequal")
"""What `tuned_on` may hold: see docs/search.md."""


def _check_tuned_on(record: Mapping[str, Any], sweep: Sweep) -> None:
    """Refuse pairs that chose the values, and rows that were tuned with unequal budgets."""
    tuned = _mapping(record, "tuned_on")
    for key in tuned:
        if key not in TUNED_ON:
            raise ConfigError(f"tuned_on: unknown key {key!r}.{suggest(str(key), TUNED_ON)}")
    if tuned:
        orders = expand_orders(_listed(tuned.get("orders", [])))
        seeds = expand_seeds(_listed(tuned.get("seeds", [])))
        refuse_overlap("the search behind this file", sweep, orders, seeds)
        configurations = _mapping(tuned, "configurations")
        refuse_unequal_budgets(sweep.name, configurations, tuned.get("unequal") is True)


def _pairs(record: Mapping[str, Any], typed: Collection[str]) -> dict[str, Any]:
    """Orders, seeds and blocks; what was typed replaces that axis in every block."""
    if record.get("blocks") is None:
        orders, seeds = record.get("orders"), record.get("seeds")
        return {
            "orders": expand_orders(4 if orders is None else orders),
            "seeds": expand_seeds([0] if seeds is None else seeds),
        }
    axes = {key: record.get(key) for key in ("orders", "seeds")}
    if told := [key for key, value in axes.items() if value is not None and key not in typed]:
        raise ConfigError(
            f"both blocks and {told[0]} are given; keep one of them, or set {told[0]}: null"
        )
    replaced = {key: value for key, value in axes.items() if value is not None}
    blocks = tuple(_block(entry, replaced) for entry in _listed(record["blocks"]))
    orders = dict.fromkeys(order for block in blocks for order in block[0])
    seeds = dict.fromkeys(seed for block in blocks for seed in block[1])
    return {"orders": tuple(orders), "seeds": tuple(seeds), "blocks": blocks}


def _block(entry: Any, replaced: Mapping[str, Any]) -> Block:
    if not isinstance(entry, Mapping) or set(entry) != {"orders", "seeds"}:
        raise ConfigError(f"a block is {{orders: ..., seeds: ...}}, got {entry!r}")
    both = {**entry, **replaced}
    return expand_orders(both["orders"]), expand_seeds(both["seeds"])


def _check_names(record: Mapping[str, Any]) -> None:
    for bench in map(str, _listed(record.get("bench", []))):
        if bench not in spec_names("bench"):
            raise ConfigError(f"unknown bench {bench!r}.{suggest(bench, spec_names('bench'))}")
    for method in map(str, _listed(record.get("methods", []))):
        method_spec(method)


def _variants(record: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """The variants of the sweep's methods, cut down to the wanted rows."""
    methods = [str(method) for method in _listed(record.get("methods", []))]
    variants = {m: v for m, v in _mapping(record, "variants").items() if m in methods}
    for method in _mapping(record, "variants"):
        if method not in spec_names("method"):
            hint = suggest(str(method), spec_names("method"))
            raise ConfigError(f"variants: unknown method {method!r}.{hint}")
    for method, found in variants.items():
        for row in found or ():
            if not str(row).isprintable():
                raise ConfigError(f"variants.{method}: the row name {row!r} cannot be printed")
        if not found:
            raise ConfigError(f"variants.{method} names no row; leave it out, or name one")
        if not isinstance(found, Mapping) or not all(
            isinstance(changes, Mapping) for changes in found.values()
        ):
            raise ConfigError(f"variants.{method} must be {{row: {{setting: value}}}}")
    if record.get("rows") is None:
        return variants
    wanted = [str(row) for row in _listed(record["rows"])]
    known = {str(row) for found in variants.values() for row in found}
    for row in wanted:
        if row not in known:
            hint = suggest(row, known) or " The sweep names no rows: leave it out."
            raise ConfigError(f"unknown row {row!r}.{hint}")
    return {m: {r: found[r] for r in wanted if r in found} for m, found in variants.items()}


def expand_orders(spec: Any) -> tuple[str, ...]:
    """`4` means seeded orders 0..3; a list names each, as `Cell.order` has it.

    An order of one's own (a list of classes, or a file) is given back as its list.
    """
    listed = list(range(_count("orders", spec))) if _is_count(spec) else _spans(_listed(spec))
    found = []
    for order in listed:
        try:
            name, own = parse_order(order)
        except ConfigError as error:
            raise ConfigError(f"{error}; orders=4 means 0 to 3, orders=0-4 those five") from None
        found.append(own or name)
    return tuple(dict.fromkeys(found))


def expand_seeds(spec: Any) -> tuple[int, ...]:
    """`3` means seeds 0..2; a list names each."""
    listed = list(range(_count("seeds", spec))) if _is_count(spec) else _spans(_listed(spec))
    for seed in listed:
        if not _is_count(seed) or seed < 0:
            raise ConfigError(
                f"seeds: a seed is a number >= 0, got {seed!r}; seeds=3 means 0 to 2, seeds=0-4 "
                "those five, seeds=[0,7] these two"
            )
    return tuple(dict.fromkeys(listed))


def _spans(values: Sequence[Any]) -> list[Any]:
    """The values with each text such as '0-4' written out as numbers."""
    found: list[Any] = []
    for value in values:
        ends = re.fullmatch(r"([0-9]{1,9})-([0-9]{1,9})", value) if isinstance(value, str) else None
        if ends is None:
            found.append(value)
            continue
        first, last = int(ends[1]), int(ends[2])
        if not first <= last < first + MOST_UNITS:
            raise ConfigError(
                f"{value!r} is no span of at most {MOST_UNITS} numbers; write it as in 0-4"
            )
        found += range(first, last + 1)
    return found


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _count(key: str, number: int) -> int:
    if number < 1:
        raise ConfigError(f"{key} must be at least 1, got {number}; a list names single ones")
    if number > MOST_UNITS:
        raise ConfigError(
            f"{key}={number} is more than {MOST_UNITS}, the most that is planned; give fewer"
        )
    return number


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _mapping(record: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = record.get(key) or {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key} must be a mapping, got {value!r}")
    return dict(value)
