"""docs/speed.md: a training step, from what `make bench` left (tests/perf/figures.json)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from docs.figures.tables import Block
from tests.perf.table import FIGURES, SHAPES, table

PRECISIONS = ("fp32", "bf16")
STEP = ("forward", "estimation", "loss", "backward", "rectification", "optimiser")
"""The parts that make a step."""

Line = Callable[[Any, str, str], str]
"""(rows, shape, precision) to what stands in its column."""


def blocks() -> dict[str, Block]:
    """The blocks of the page."""
    return {"speed machine": machine, "speed table": table, "speed findings": findings}


def machine() -> str:
    """What the figures were taken on."""
    record = json.loads(FIGURES.read_text(encoding="utf-8"))
    numerics = record["numerics"]
    commit = (record.get("git") or {}).get("sha")
    return (
        f"Measured on {numerics['threads']} threads of an {numerics['device']} "
        f"({numerics['capability']}), torch {numerics['torch']}, timm {numerics['timm']}, "
        + (f"commit {commit[:8]}." if commit else "at a revision that the file does not name.")
    )


def findings() -> str:
    """Ratios and parts that the table does not show, in columns like its own."""
    rows = json.loads(FIGURES.read_text(encoding="utf-8"))["rows"]
    columns = [(shape, precision) for shape in SHAPES for precision in PRECISIONS]
    lines = [
        "| | " + " | ".join(f"{SHAPES[s]} {p}" for s, p in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for words, value in LINES.items():
        cells = [value(rows, shape, precision) for shape, precision in columns]
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _over(name: str, other: str) -> Line:
    def ratio(rows: Any, shape: str, precision: str) -> str:
        ours, theirs = (rows[f"{shape}/{precision}/{n}"]["seconds"] for n in (name, other))
        return f"x{ours / theirs:.2f}"

    return ratio


def _bf16(rows: Any, shape: str, precision: str) -> str:
    found = (rows[f"{shape}/{p}/seqlora"]["seconds"] for p in (precision, "fp32"))
    return f"x{next(found) / next(found):.2f}"


def _part(name: str) -> Line:
    def share(rows: Any, shape: str, precision: str) -> str:
        parts = rows[f"{shape}/{precision}/janus"]["parts"]
        return f"{100 * parts[name] / sum(parts[part] for part in STEP):.1f} %"

    return share


LINES: dict[str, Line] = {
    "Janus-LoRA over SeqLoRA": _over("janus", "seqlora"),
    "SeqLoRA over a plain timm network": _over("seqlora", "timm"),
    "SeqLoRA over itself in fp32": _bf16,
    "Online Estimation, of a step of Janus-LoRA": _part("estimation"),
    "rectification": _part("rectification"),
    "margin loss": _part("loss"),
}
