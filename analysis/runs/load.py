"""Reads the finished runs of run stores into records, and names their configurations.

A file that is not a complete, valid result is not used; `Loaded.skipped` lists it with the reason.
Runs of a method that differ in any setting get different labels, so that they are never averaged
together.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from analysis.runs import cache
from janus import atomic_files, metrics
from janus.config.cell import SCHEMA, canonical
from janus.errors import ConfigError
from janus.store.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """One finished run, with the data that tables need."""

    id: str
    store: Path
    """Root of the store."""
    path: Path
    """The result file, which also holds the matrix and the diagnostics."""
    schema: int
    bench: str
    method: str
    order: str
    seed: int
    eval: str
    """`test` or `validation`: the images on which accuracies were measured."""
    cell: Mapping[str, Any]
    identity: Mapping[str, Any]
    """Every field that could change the result; the hash of this mapping is the id."""
    weights_sha256: str
    split_sha256: str
    """Hashes of the weights and of the split, verified when the run started."""
    metrics: Mapping[str, float | None]
    """{key of `janus.metrics.METRICS`: value in stored units}, computed from the run's counts; None
    if not measured."""
    metrics_in_task: Mapping[str, float | None]
    """The same metrics if the classifier is given the task of each image."""
    metrics_ncm: Mapping[str, float | None]
    """The same metrics if images are classified by the nearest class mean; {} if not measured."""
    kept_bytes: int | None
    correct_images: str | None = None
    """Name of the file of correct test images (see `janus.store.image_bits`); None for results of
    versions that did not write one."""
    recorded: Mapping[str, Any] | None = None
    """The provenance if it has been read, else None; use `provenance` to get it."""

    @property
    def title(self) -> str:
        """The run's short name, in the form of `Cell.title`."""
        return f"{self.bench} {self.method} order={self.order} seed={self.seed}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """The runs of some stores, and the files that could not be used."""

    runs: list[RunRecord]
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    """(file, reason why it is left out)."""


def load_runs(roots: Iterable[str | Path]) -> Loaded:
    """Every usable result of the stores at `roots`, sorted by id.

    A cell in several stores counts once. If its results differ, that of the first store is used and
    the other file is listed as skipped. If they are equal, the first one with a file of correct
    test images is used. Raises ConfigError for a root that is no folder.
    """
    found: dict[str, RunRecord] = {}
    skipped: list[tuple[Path, str]] = []
    for root in dict.fromkeys(Path(r).expanduser().resolve() for r in roots):
        if not root.is_dir():
            raise ConfigError(f"no store at {root}. Give the folder that runs were written to")
        for path, run, why in _read_store(root):
            if run is None:
                skipped.append((path, why))
                continue
            first = found.setdefault(run.id, run)
            if first is not run and first.metrics != run.metrics:
                skipped.append((path, f"differs from {first.path}, which is used"))
            elif first.correct_images is None and run.correct_images is not None:
                found[run.id] = run  # the same result, trained again for its file of correct images
    return Loaded([found[key] for key in sorted(found)], skipped)


def _read_store(root: Path) -> Iterator[tuple[Path, RunRecord | None, str]]:
    """Yield (file, run or None, reason) for every result file; a large store uses the cache."""
    paths = _result_files(root)
    use = cache.worthwhile(len(paths))
    known = cache.read_cache(root) if use else {}
    fresh: dict[str, cache.Entry] = {}
    for path in paths:
        mark = cache.stamp(path, f"{root}/runs/{path.parent.name}/{path.stem}/committed.json")
        entry = known.get(path.name)
        try:
            if path.parent.name != path.stem[:2]:
                raise ValueError(f"a copy: the cell's result belongs into results/{path.stem[:2]}")
            if entry is not None and entry[0] == mark:
                run = _from_record(entry[1], path, root)
            else:
                entry = None
                run = read_run(path, root)
        except ValueError as error:
            yield path, None, str(error)
            continue
        if use and entry is None:
            entry = (mark, _reduced(run))
            run = replace(run, recorded=entry[1]["provenance"])
        if use and entry is not None:
            fresh[path.name] = entry
        yield path, run, ""
    if use and fresh != known:
        cache.write_cache(root, fresh)


def _result_files(root: Path) -> list[Path]:
    """The result files of the store, sorted by name, without temporary files (hidden names)."""
    return sorted(
        (p for p in (root / "results").glob("*/*.json") if not p.name.startswith(".")),
        key=lambda p: p.name,
    )


def _reduced(run: RunRecord) -> dict[str, Any]:
    """The record that the cache holds of a run: what `_from_record` reads, and the provenance."""
    left_out = {"store", "path", "bench", "method", "order", "seed", "eval", "recorded"}
    found = {f.name: getattr(run, f.name) for f in fields(run) if f.name not in left_out}
    return found | {"provenance": dict(provenance(run))}


def read_run(path: Path, root: Path) -> RunRecord:
    """The run in one result file. Raises ValueError with the reason if the file cannot be used."""
    record = atomic_files.read_json(path)
    if record is None:
        raise ValueError("damaged: not readable as JSON")
    if not isinstance(record, dict) or "schema" not in record:
        raise ValueError("not a result file")
    if record.get("schema") == SCHEMA and "correct" not in record:
        raise ValueError("damaged: it has no counts of correct answers")
    return run_from(record, path, root)


def run_from(record: Mapping[str, Any], path: Path, root: Path) -> RunRecord:
    """The run in a result's record, with metrics computed from its counts of correct answers.

    `path`: the result file; `root`: its store. Raises ValueError with the reason if the record
    cannot be used, e.g. if its counts contradict its stored metrics.
    """
    if record.get("schema") != SCHEMA:
        raise ValueError(f"schema {record.get('schema')!r}; this version reads {SCHEMA}")
    try:
        if "acc" not in record["metrics"]:
            raise ValueError("it has no acc")
        computed = {f"metrics{kind}": metrics.checked(record, kind) for kind in metrics.KINDS}
        run = _from_record({**record, **computed}, path, root)
    except ValueError as error:
        raise ValueError(f"damaged: {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"damaged: {type(error).__name__} {error}") from None
    _verify(run)
    return run


def _from_record(record: Mapping[str, Any], path: Path, root: Path) -> RunRecord:
    identity = {**record["identity"]}  # verified by the id, unlike the copy in `cell`
    kept, images = record.get("kept_bytes"), record.get("correct_images")
    return RunRecord(
        id=str(record["id"]),
        store=root,
        path=path,
        schema=int(record["schema"]),
        bench=str(identity["bench"]["name"]),
        method=str(identity["method"]["name"]),
        order=str(identity["order"]),
        seed=int(identity["seed"]),
        eval=str(identity["bench"]["eval"]),
        cell={**record["cell"]},
        identity=identity,
        weights_sha256=str(record["weights_sha256"]),
        split_sha256=str(record["split_sha256"]),
        metrics={**record["metrics"]},
        metrics_in_task={**record["metrics_in_task"]},
        metrics_ncm={**record["metrics_ncm"]},
        kept_bytes=None if kept is None else int(kept),
        correct_images=None if images is None else str(images),
        recorded=record.get("provenance"),
    )


def _verify(run: RunRecord) -> None:
    """Raise ValueError unless file name, id and identity agree."""
    if run.path.stem != run.id:
        raise ValueError(f"it holds the result of cell {run.id}, but is named after another cell")
    try:
        digest = hashlib.sha256(canonical(run.identity).encode()).hexdigest()[:16]
    except ConfigError as error:  # the identity holds a NaN
        raise ValueError(f"damaged: {error}") from None
    if digest != run.id:
        raise ValueError(f"damaged: its identity hashes to {digest}")


def provenance(run: RunRecord) -> Mapping[str, Any]:
    """The run's provenance (seconds, memory, numerics); {} if nothing was recorded."""
    if run.recorded is not None:
        return run.recorded
    found = _store(run.store).provenance(run.id) or {}
    # a damaged provenance counts as not recorded: the result is still right
    return found if _is_sound(found) else {}


def _is_sound(record: Mapping[str, Any]) -> bool:
    """Whether the provenance values that tables use have the right types."""
    numerics = record.get("numerics", [])
    times = record.get("seconds_per_task", [])
    numbers = [record.get(name) for name in ("seconds", "peak_memory_bytes")]
    return (
        isinstance(numerics, list)
        and all(isinstance(entry, dict) for entry in numerics)
        and isinstance(times, list)
        and all(value is None or type(value) in (int, float) for value in [*numbers, *times])
    )


_store = lru_cache(Store)  # resolving the same root ten thousand times takes a second


def record(run: RunRecord) -> Mapping[str, Any]:
    """The whole content of the run's result file, including the matrix and the diagnostics."""
    return dict(json.loads(run.path.read_bytes()))


def settings(run: RunRecord) -> dict[str, Any]:
    """{name: value} of all settings of the run's method, and the revision of its code."""
    method = run.identity["method"]
    source = (run.identity.get("sources") or {}).get("method")
    outside = {"source": source[:12]} if source else {}  # of a method from outside of this project
    return {**method["values"], "revision": method["revision"], **outside}


def labels(runs: Iterable[RunRecord]) -> dict[str, str]:
    """{run id: name of its configuration}, e.g. `janus` or `janus[margin=0,rank=4]`.

    The brackets hold the settings in which runs of the same method differ on the same bench. So a
    method whose settings differ only between benches has one row, and on one bench equal labels
    mean equal settings. A setting that an old result does not have counts as its neutral value.
    """
    runs = list(runs)
    neutral: dict[str, dict[str, Any]] = {}
    for run in runs:
        neutral.setdefault(run.method, {}).update(run.cell["method"].get("neutral") or {})
    values = {run.id: {**neutral[run.method], **settings(run)} for run in runs}
    kinds = {key: repr(found) for key, found in values.items()}  # few among many runs
    groups: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run.method, run.bench), {})[kinds[run.id]] = values[run.id]
    varied: dict[str, set[str]] = {}
    for (method, _), group in groups.items():
        members = group.values()
        names = {name for member in members for name in member}
        differ = {name for name in names if len({_setting(m, name) for m in members}) > 1}
        varied.setdefault(method, set()).update(differ)
    named: dict[tuple[str, str], str] = {}
    for run in runs:
        kind = (run.method, kinds[run.id])
        if kind not in named:
            named[kind] = _label(run.method, varied[run.method], values[run.id])
    return {run.id: named[run.method, kinds[run.id]] for run in runs}


def _label(method: str, names: set[str], values: Mapping[str, Any]) -> str:
    shown = ",".join(f"{name}={_setting(values, name)}" for name in sorted(names))
    return f"{method}[{shown}]" if shown else method


def _setting(values: Mapping[str, Any], name: str) -> str:
    return value_text(values[name]) if name in values else "--"


_WORDS = {None: "null", True: "true", False: "false"}


def value_text(value: Any) -> str:
    """A setting's value as text, as it is typed on the command line: true, null, 0.5, natural."""
    if isinstance(value, str):
        return value
    if type(value) is int:  # the most common type; json.dumps would be slow for millions
        return str(value)
    if value is None or isinstance(value, bool):
        return _WORDS[value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))  # 1.0 and 1 are the same setting
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
