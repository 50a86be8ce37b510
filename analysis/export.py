"""The table for programs: CSV and JSON. Accuracies are fractions, bytes are bytes, missing values
are empty (CSV) or null (JSON)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from analysis import stats
from analysis.render import Grid, notes
from analysis.tables import ALPHA, PRIMARY, Column, Difference, Table

COLUMNS = (
    "bench",
    "protocol",
    "method",
    "metric",
    "mean",
    "std",
    "half_width",
    "n",
    "unit",
    "runs",
    "best",
    "second",
    "reference",
    "difference",
    "difference_std",
    "interval_low",
    "interval_high",
    "interval_method",
    "n_paired",
    "effect",
    "p",
    "p_holm",
    "p_smallest",
    "wilcoxon_p",
    "wins",
    "losses",
)


def to_csv(table: Table | None, records: Mapping[str, Any] | None = None) -> str:
    """One line per bench, method and metric; the paired columns are filled for the endpoint.

    Without a table: the published figures in `records`. Other records are for JSON only.
    """
    buffer = io.StringIO()
    if table is None:
        lines = (records or {}).get("published", [])
        plain = csv.DictWriter(buffer, list(lines[0]) if lines else [], lineterminator="\n")
        plain.writeheader()
        plain.writerows(lines)
        return buffer.getvalue()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for record in _means(table):
        for difference in table.differences:
            same = (record["column"], record["method"]) == (difference.column, difference.method)
            if same and record["metric"] == PRIMARY:
                record |= _paired(difference)
        record |= {"protocol": _protocol(record["column"])}
        writer.writerow({key: record.get(key) for key in COLUMNS})
    return buffer.getvalue()


def to_json(table: Table | None, records: Mapping[str, Any] | None = None) -> str:
    """The table, its paired differences, notes and further records as one JSON object."""
    if table is None:
        return json.dumps({"schema": 1, **(records or {})}, indent=1, allow_nan=False) + "\n"
    means = [
        {key: value for key, value in record.items() if key != "column"}
        | {"protocol": dict(record["column"].protocol)}
        for record in _means(table)
    ]
    record = {
        "schema": 1,
        "alpha": ALPHA,
        "methods": table.methods,
        "means": means,
        "differences": [
            {
                "bench": d.column.bench,
                "protocol": dict(d.column.protocol),
                "method": d.method,
                "metric": PRIMARY,
                "unit": d.column.unit,
                **_paired(d),
                "method_lacks": [{"order": o, "seed": s} for o, s in d.method_lacks],
                "reference_lacks": [{"order": o, "seed": s} for o, s in d.reference_lacks],
            }
            for d in table.differences
        ],
        "notes": notes(table),
        **(records or {}),
    }
    return json.dumps(record, indent=1, allow_nan=False) + "\n"


def grid_records(grid: Grid) -> list[dict[str, str]]:
    """The printed rows of a grid by its header; unnamed columns are left out."""
    return [
        {name: cell.shown for name, cell in zip(grid.header, row, strict=True) if name}
        for row in grid.rows
    ]


def _means(table: Table) -> list[dict[str, Any]]:
    out = []
    for number, column in enumerate(table.columns):
        for method in table.methods:
            for metric in table.metrics:
                entry = table.entry(method, number, metric.key)
                out.append(
                    {
                        "column": column,
                        "bench": column.bench,
                        "method": method,
                        "metric": metric.key,
                        "mean": entry.mean if entry else None,
                        "std": entry.std if entry else None,
                        "half_width": entry.half_width if entry else None,
                        "n": entry.n if entry else 0,
                        "unit": column.unit,
                        "runs": entry.runs if entry else 0,
                        "best": entry.best if entry else False,
                        "second": entry.second if entry else False,
                    }
                )
    return out


def _protocol(column: Column) -> str:
    return "; ".join(f"{name}={value}" for name, value in column.protocol)


def _paired(d: Difference) -> dict[str, Any]:
    return {
        "reference": d.reference,
        "difference": d.mean,
        "difference_std": d.std,
        "interval_low": d.interval.low if d.interval else None,
        "interval_high": d.interval.high if d.interval else None,
        "interval_method": d.interval.method if d.interval else None,
        "n_paired": d.n,
        "effect": d.effect,
        "p": d.p,
        "p_holm": d.p_holm,
        "p_smallest": d.p_smallest,
        "wilcoxon_p": stats.wilcoxon_p(d.differences) if d.n else None,
        "wins": d.wins,
        "losses": d.losses,
    }
