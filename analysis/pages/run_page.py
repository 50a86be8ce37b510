"""Writes the report's section on one run: configuration, curve, matrix, diagnostics, provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

import numpy as np

from analysis.blocks.grid import NONE, Grid, Text
from analysis.figures import facts
from analysis.pages import html
from analysis.pages.reproduce import cell_command
from analysis.runs import filters, load, method_cautions
from analysis.runs.load import RunRecord


def section(run: RunRecord, label: str) -> str:
    """A collapsed HTML block: the run's results, diagnostics, configuration and provenance, and the
    command that trains it again. `label`: the name of its row."""
    record = load.record(run)
    acc, bwt = run.metrics.get("acc"), run.metrics.get("bwt")
    title = (
        f"{run.bench} {label} order={run.order} seed={run.seed}: "
        f"ACC {_percent(acc)}, BWT {_percent(bwt)}"
    )
    parts = [
        f"<summary>{escape(title)}</summary>",
        f"<p><code>{run.id}</code> <code>{escape(str(run.path))}</code></p>",
        *(f"<p>Note: {escape(text)}.</p>" for text in method_cautions.of_run(run)),
        "<h3>Train it again</h3>",
        f"<pre>{escape(cell_command(record['cell']))}</pre>",
        html.curve_svg([v for v in facts.curve(run) if v == v]),
        html.table_html(_matrix(run), "Accuracy (%) on each task after each task"),
        html.table_html(_metrics(run), "Metrics (%)"),
        _diagnostics(record["diagnostics"] or ()),
        _pairs("Configuration", _configuration(run, record["cell"])),
        _pairs("Provenance", _provenance(load.provenance(run))),
    ]
    return f'<details class="run" id="run-{run.id}">{"".join(parts)}</details>'


def _configuration(run: RunRecord, cell: Mapping[str, Any]) -> dict[str, Any]:
    """{dotted name of a cell's field: value}; method settings as in the identity (`cosine@2`)."""
    marked = {f"method.{name}": v for name, v in run.identity["method"]["values"].items()}
    return filters.flat(cell) | marked


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.2f}"


def _matrix(run: RunRecord) -> Grid:
    values = facts.matrix(run)
    header = ("after", *(str(j + 1) for j in range(len(values))))
    rows = tuple(
        (Text(str(t + 1)), *(Text("" if np.isnan(v) else f"{v:.1f}") for v in line))
        for t, line in enumerate(values)
    )
    return Grid("", (("", len(header)),), header, rows, words=1)


def _metrics(run: RunRecord) -> Grid:
    kinds = [("all classes", run.metrics), ("task given", run.metrics_in_task)]
    kinds += [("nearest mean", run.metrics_ncm)] if run.metrics_ncm else []
    names = list(run.metrics)
    rows = tuple(
        (Text(kind), *(Text(_percent(values.get(name))) for name in names))
        for kind, values in kinds
    )
    return Grid("", (("", 1 + len(names)),), ("scored", *names), rows, words=1)


def _diagnostics(tasks: Sequence[Mapping[str, Any] | None]) -> str:
    """An HTML table with one row per task: the mean over blocks of each diagnostic; '' if none.

    The values of single blocks are in the result file.
    """
    lines: list[dict[str, str]] = []
    for task in tasks:
        line = {}
        for name, value in (task or {}).items():
            parts = value.items() if isinstance(value, Mapping) else [("", value)]
            for key, found in parts:
                if isinstance(found, list | int | float) and name != "task":
                    line[f"{name} {key}".strip()] = f"{float(np.mean(found)):.4g}"
        lines.append(line)
    names = list(dict.fromkeys(name for line in lines for name in line))
    if not names:
        return ""
    rows = tuple(
        (Text(str(t + 1)), *(Text(line.get(name, NONE)) for name in names))
        for t, line in enumerate(lines)
    )
    header = ("task", *names)
    return html.table_html(
        Grid("Diagnostics, mean over blocks", (("", len(header)),), header, rows, 1)
    )


def _pairs(caption: str, values: Mapping[str, Any]) -> str:
    rows = [(name, load.value_text(value)) for name, value in sorted(values.items())]
    return html.plain_table(rows, ("field", "value"), caption) if rows else ""


def _provenance(record: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(record)
    moment = out.get("committed_at")
    if isinstance(moment, int | float):
        out["committed_at"] = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return out
