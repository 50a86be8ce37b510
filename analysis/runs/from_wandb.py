"""Reads runs from Weights & Biases: from an online project or a folder of offline runs.

If the store and W&B differ, the store is right. Runs are read from W&B if their store is elsewhere,
or to check that both agree. Offline files are read by wandb's command (`wandb leet inspect`), which
needs neither network nor login; wandb is imported only for an online project.

The fields are those that `janus.tracking.wandb_rows` writes: `cell` and `identity` in the
configuration; `metrics` (fractions) and other fields of a result in the summary; in the history one
row per task with `task` (from 0) and `accuracy`. The run id is the cell's id.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.runs import load
from janus import metrics
from janus.errors import ConfigError, DataError

READERS = 4
"""Number of files that are read at the same time, each by its own process of wandb."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """One run as W&B recorded it."""

    id: str
    cell: Mapping[str, Any]
    metrics: Mapping[str, float]
    """Accuracies as fractions; {} until the run has finished."""
    curve: tuple[float, ...]
    """Accuracy (fraction) on all tasks so far, after each task before the first one not logged."""
    state: str
    """`finished`, `running` (also of a killed run), `failed`, `crashed`."""
    config: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    summary: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    source: str = field(default="", compare=False)
    """The folder or project that the run was read from."""


def read_offline(folder: Path) -> list[Tracked]:
    """The runs in a folder of offline runs, searched at any depth, sorted by id.

    A run that was stopped and resumed has several files. Their histories are joined; other values
    are those of the file that was started last. Raises ConfigError if there is no such folder,
    DataError for a file that wandb cannot read.
    """
    if not folder.is_dir():
        raise ConfigError(f"no folder {folder}. Give the one that holds the offline W&B runs")
    paths = sorted(path for path in folder.rglob("run-*.wandb") if path.is_file())
    with ThreadPoolExecutor(READERS) as pool:
        parts = list(pool.map(inspect, paths))
    found: dict[str, Offline] = {}
    begun = [part for part in parts if part.id]  # a file may end before its first record
    for part in sorted(begun, key=lambda part: part.started):
        earlier = found.setdefault(part.id, part)
        if earlier is not part:
            part.history[:0] = earlier.history
            part.summary = earlier.summary | part.summary
            found[part.id] = part
    return [
        _tracked(key, run.config, run.summary, _points(run.history), run.state, str(folder))
        for key, run in sorted(found.items())
    ]


def _online(project: str) -> Any:
    """A new `wandb.Api()`. Raises ConfigError if wandb cannot log in."""
    import wandb

    try:
        return wandb.Api()
    except (wandb.errors.UsageError, wandb.errors.AuthenticationError) as error:
        raise ConfigError(
            f"{project} is no folder here, and as a project of W&B it cannot be read: {error}"
        ) from None


def read_project(project: str, api: Any = None) -> list[Tracked]:
    """The runs of the online project `entity/project`, sorted by id.

    `api`: the client to use; None: a new `wandb.Api()`. Raises ConfigError if wandb cannot log in.
    """
    if api is None:
        api = _online(project)
    out = []
    for run in api.runs(project):
        points = _points(run.scan_history(keys=["task", "accuracy"]))
        out.append(_tracked(run.id, run.config, dict(run.summary), points, run.state, project))
    return sorted(out, key=lambda run: run.id)


def _tracked(
    key: str,
    config: Mapping[str, Any],
    summary: Mapping[str, Any],
    points: Mapping[int, float],
    state: str,
    source: str,
) -> Tracked:
    found = {k: float(v) for k, v in dict(summary.get("metrics") or {}).items() if v is not None}
    curve: list[float] = []
    while len(curve) in points:  # stops at the first task that was not logged
        curve.append(points[len(curve)])
    cell = config.get("cell") or {}
    return Tracked(key, cell, found, tuple(curve), state, config, summary, source)


def _points(rows: Iterable[Mapping[str, Any]]) -> dict[int, float]:
    return {
        int(row["task"]): float(row["accuracy"])
        for row in rows
        if "task" in row and "accuracy" in row
    }


@dataclass
class Offline:
    """The contents of one offline file; each attempt of a run writes a file."""

    id: str = ""
    started: str = ""
    state: str = "running"
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    """The fields of the run's record: name, group, job type, tags and so on."""
    axes: dict[str, str] = field(default_factory=dict)
    """{metric, or pattern of metric names: the metric on the x axis of its plot}."""
    systems: list[dict[str, Any]] = field(default_factory=list)
    """Samples, over time, of the use of CPU, memory, disk and GPU."""


def inspect(path: Path) -> Offline:
    """The contents of one offline file. Raises DataError if wandb cannot read it."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise DataError(f"wandb cannot read {path}: {done.stderr.strip()[:300]}")
    found = Offline()
    for line in done.stdout.splitlines():
        record = json.loads(line)
        _add(record["type"], record.get(record["type"]) or {}, found)
    return found


def _add(kind: str, record: Mapping[str, Any], to: Offline) -> None:
    match kind:
        case "run":
            to.id, to.started = record["run_id"], str(record["start_time"])
            to.config |= (record.get("config") or {}).get("update") or {}
            to.settings = {k: v for k, v in record.items() if k not in ("config", "telemetry")}
        case "config":
            to.config |= record.get("update") or {}
        case "summary":
            to.summary |= record.get("update") or {}
        case "history":
            to.history.append(record["item"])
        case "metric":
            to.axes[record.get("name") or record["glob_name"]] = record.get("step_metric", "")
        case "stats":
            to.systems.append(record["item"])
        case "exit":
            to.state = "failed" if record.get("exit_code") else "finished"


def as_runs(tracked: Iterable[Tracked]) -> load.Loaded:
    """The finished runs as records for tables, sorted by id; other runs are listed as skipped.

    Each run is verified like a result file: the hash of its identity must be its id.
    """
    runs, skipped = [], []
    for run in tracked:
        path = Path(run.source) / run.id
        if run.state != "finished":
            skipped.append((path, f"not finished ({run.state})"))
            continue
        try:
            # the identity is kept as text: W&B turns 1.0 into 1, and the hash would not be the same
            identity = json.loads(run.config.get("identity") or "{}")
            record = {**run.config, **run.summary, "id": run.id, "identity": identity}
            runs.append(load.run_from(record, path, Path(run.source)))
        except ValueError as error:
            skipped.append((path, str(error)))
    return load.Loaded(sorted(runs, key=lambda run: run.id), skipped)


def read_wandb(where: str) -> load.Loaded:
    """The finished runs of the folder `where`, or of the online project `entity/project`.

    A text that names no folder is a project if it has exactly one slash.
    """
    if Path(where).is_dir() or where.count("/") != 1:
        return as_runs(read_offline(Path(where)))
    return as_runs(read_project(where))


def disagreements(tracked: Iterable[Tracked], stored: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One sentence per difference between finished tracked runs and stored results; [] if none.

    `stored`: {run id: {metric: value}}.
    """
    out = []
    for run in tracked:
        if run.state != "finished":
            continue
        if run.id not in stored:
            out.append(f"{run.id}: finished in W&B, not in the store")
            continue
        for name, value in stored[run.id].items():
            if name in metrics.METRICS and not metrics.METRICS[name].stored:
                continue  # computed from the counts: neither result files nor W&B hold this metric
            seen = run.metrics.get(name)
            same = (
                seen is None
                if value is None
                else seen is not None and math.isclose(seen, value, abs_tol=1e-6)
            )
            if not same:
                out.append(f"{run.id}: {name} is {value} in the store and {seen} in W&B")
    return out
