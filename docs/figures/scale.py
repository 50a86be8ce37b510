"""docs/scale.md: counts of calls and the simulated sites, from tests/perf/site.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docs.figures.tables import Block
from sweeps.commands.wandb_sync import BATCH

FIGURES = Path(__file__).resolve().parents[2] / "tests/perf/site.json"

WORDS = {
    "take": "take a cell: look, claim, write down the job",
    "beat": "heartbeat, every 5 s",
    "save": "checkpoint, every 54 s (`lose_at_most_s` is 60) and at task ends",
    "commit": "commit, provenance, release, next look",
    "look": "look at a cell that somebody holds",
    "ask": "ask whether its holder is alive; of at most 50 held cells, drawn anew by each worker "
    "without work",
    "list results": "list all results (by prefix), once its own share is done",
}

RUNS_S, REQUESTS_S, REQUESTS_RUN_S, RUNS = 80, 500, 2, 10_000
"""W&B's documented defaults for dedicated servers, by project and by run; and our runs."""


def blocks() -> dict[str, Block]:
    """The blocks of the page."""
    return {
        "scale calls": calls,
        "scale sites": sites,
        "scale limits": limits,
        "scale wandb": wandb,
    }


def _record() -> dict[str, Any]:
    record: dict[str, Any] = json.loads(FIGURES.read_text(encoding="utf-8"))
    return record


def calls() -> str:
    """File-system calls of each step of a worker."""
    found = _record()["calls"]
    lines = ["| what a worker does | file-system calls |", "|---|---|"]
    return "\n".join([*lines, *(f"| {WORDS[name]} | {number} |" for name, number in found.items())])


def sites() -> str:
    """The simulated sweeps."""
    record = _record()
    assumed = record["assumed"]
    lines = [
        f"Assumed: a file server that answers {assumed['server_calls_s']:,} calls a second, each "
        f"in {1000 * assumed['round_trip_s']:g} ms; cells that differ by {assumed['spread']:.0%}.",
        "",
        "| cells x workers | minutes a cell | hours | later | steady calls/s | peak calls/s | "
        "waiting a cell (s) | `squeue` a second at most |",
        "|---|---|---|---|---|---|---|---|",
    ]
    shown = ""
    for row in record["rows"]:
        size = f"{row['cells']:,} x {row['workers']:,}"
        lines.append(
            f"| {'' if size == shown else size} | {row['minutes']:g} | {row['hours']:.2f} | "
            f"{row['later']:.1%} | {row['steady']:,.0f} | {row['peak']:,.0f} | "
            f"{row['wait']:.1f} | {row['squeue']:.0f} |"
        )
        shown = size
    return "\n".join(lines)


def limits() -> str:
    """What the steady load allows, and from which length on cells cost nothing."""
    record = _record()
    row = record["rows"][0]
    each = row["steady"] / row["workers"]
    capacity = record["assumed"]["server_calls_s"]
    told = [
        f"Heartbeats and checkpoints are {each:.2f} calls a second for each worker, whatever the "
        f"cells' length: {capacity:,} calls a second are used up by {capacity / each:,.0f} workers."
    ]
    for workers in dict.fromkeys(row["workers"] for row in record["rows"]):
        rows = [row for row in record["rows"] if row["workers"] == workers]
        parts = [f"{row['later']:.1%} with cells of {row['minutes']:g} min" for row in rows]
        told.append(f"With {workers:,} workers the sweep ends later by {', '.join(parts)}.")
    return "\n".join(f"* {sentence}" for sentence in told)


def wandb() -> str:
    """What W&B's limits mean for so many runs: arithmetic on its documented defaults."""
    return (
        f"W&B documents these defaults for dedicated servers: for each project {RUNS_S} new runs "
        f"and {REQUESTS_S} requests a second, for each run {REQUESTS_RUN_S} requests a second. So "
        f"{RUNS:,} runs need at least {RUNS / RUNS_S:.0f} s to be created, and {BATCH} uploads "
        f"side by side make at most {BATCH * REQUESTS_RUN_S} of the {REQUESTS_S} requests a second."
    )
