"""Runs as Weights & Biases recorded them: a project online, or a folder of offline runs.

The store is the truth; this reads the copy, to look at runs whose store is elsewhere and to check
that both agree. Offline files are read by wandb's own command (`wandb leet inspect`), which needs
neither network nor login; wandb is imported only for a project online.

What is read, by the names of a result: `config["cell"]`, `summary["metrics"]` (fractions), and
in the history one row a task with `task` (from 0) and `accuracy`; the run id is the cell's id.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from janus.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class Tracked:
    """One run as it was tracked."""

    id: str
    cell: Mapping[str, Any]
    metrics: Mapping[str, float]
    """Fractions; empty until the run has finished."""
    curve: tuple[float, ...]
    """Accuracy over all images seen after each task, as far as it was logged."""
    state: str
    """`finished`, `running` (also: killed), `failed`, `crashed`."""


def read_offline(folder: Path) -> list[Tracked]:
    """The runs in a folder of offline runs, searched at any depth, sorted by id.

    A run that was stopped and went on has several files; their histories are joined, and what
    started last has the last word. Raises ConfigError when there is no folder, DataError for a
    file that wandb cannot read.
    """
    if not folder.is_dir():
        raise ConfigError(f"no folder {folder}. Give the one that holds the offline W&B runs")
    parts = [_inspect(path) for path in sorted(folder.rglob("run-*.wandb"))]
    found: dict[str, dict[str, Any]] = {}
    for part in sorted(parts, key=lambda p: str(p["start_time"])):
        earlier = found.get(part["run_id"], {})
        joined = {**earlier.get("points", {}), **part["points"]}
        summary = {**earlier.get("summary", {}), **part["summary"]}
        found[part["run_id"]] = {**part, "points": joined, "summary": summary}
    return [
        _tracked(key, run["config"], run["summary"], run["points"], run["state"])
        for key, run in sorted(found.items())
    ]


def read_project(project: str, api: Any = None) -> list[Tracked]:
    """The runs of `entity/project`, sorted by id; `api` is a `wandb.Api()` when not given."""
    if api is None:
        import wandb

        api = wandb.Api()
    out = []
    for run in api.runs(project):
        points = _points(run.scan_history(keys=["task", "accuracy"]))
        out.append(_tracked(run.id, run.config, dict(run.summary), points, run.state))
    return sorted(out, key=lambda run: run.id)


def _tracked(
    key: str,
    config: Mapping[str, Any],
    summary: Mapping[str, Any],
    points: Mapping[int, float],
    state: str,
) -> Tracked:
    metrics = {k: float(v) for k, v in dict(summary.get("metrics") or {}).items() if v is not None}
    curve: list[float] = []
    while len(curve) in points:  # up to the first task that was not logged
        curve.append(points[len(curve)])
    return Tracked(key, config.get("cell") or {}, metrics, tuple(curve), state)


def _points(rows: Iterable[Mapping[str, Any]]) -> dict[int, float]:
    return {
        int(row["task"]): float(row["accuracy"])
        for row in rows
        if "task" in row and "accuracy" in row
    }


def _inspect(path: Path) -> dict[str, Any]:
    """Configuration, summary, state and history of one offline file."""
    run = json.loads(_wandb("--summary", path))
    rows = (json.loads(line) for line in _wandb("", path).splitlines())
    run["points"] = _points(row["history"]["item"] for row in rows if row["type"] == "history")
    return dict(run)


def _wandb(option: str, path: Path) -> str:
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json"]
    done = subprocess.run(
        [*command, *([option] if option else []), str(path)], capture_output=True, text=True
    )
    if done.returncode != 0:
        raise DataError(f"wandb cannot read {path}: {done.stderr.strip()[:300]}")
    return done.stdout


def disagreements(tracked: Iterable[Tracked], stored: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What finished tracked runs say otherwise than the stored results (by id); empty: nothing."""
    out = []
    for run in tracked:
        if run.state != "finished":
            continue
        if run.id not in stored:
            out.append(f"{run.id}: finished in W&B, not in the store")
            continue
        for name, value in stored[run.id].items():
            seen = run.metrics.get(name)
            same = (
                seen is None
                if value is None
                else seen is not None and math.isclose(seen, value, abs_tol=1e-6)
            )
            if not same:
                out.append(f"{run.id}: {name} is {value} in the store and {seen} in W&B")
    return out
