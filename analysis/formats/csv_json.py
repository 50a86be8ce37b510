"""Writes the table as CSV and JSON, for programs.

Accuracies are fractions, memory is in bytes, missing values are empty (CSV) or null (JSON).
Published figures, verdicts and details come as `records`: plain values by name.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from typing import Any

from analysis.stats import significance
from analysis.stats.paired import ALPHA, AVERAGE, Difference
from analysis.tables.comparison import Entry, Table
from analysis.tables.notes import notes

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
    "d_z",
    "p",
    "p_maxt",
    "p_holm",
    "family",
    "p_smallest",
    "wilcoxon_p",
    "wins",
    "losses",
)


PUBLISHED_COLUMNS = ("kind", "row", "source", "place", "how", "caution", "verdict", "why")
"""Additional columns of the CSV if it holds published figures; `kind` is `measured`, `published` or
`verdict`."""


def to_csv(table: Table | None, records: Mapping[str, Any] | None = None) -> str:
    """The table as CSV: one line per bench, method and metric.

    The columns of the paired comparison are filled only for endpoints. The average over benches has
    the bench name `average`. Published figures and verdicts in `records` are additional lines; the
    column `kind` tells them from measured ones. CSV holds no other records.
    """
    buffer = io.StringIO()
    lines = [] if table is None else _measured(table)
    columns: tuple[str, ...] = COLUMNS
    if records and "published" in records:
        columns = (*COLUMNS, *PUBLISHED_COLUMNS)
        lines = [line | {"kind": "measured"} for line in lines]
        lines += [_published(figure) for figure in records["published"]]
        lines += [_verdict(found) for found in records.get("verdicts", ())]
    writer = csv.DictWriter(buffer, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(lines)
    return buffer.getvalue()


def _measured(table: Table) -> list[dict[str, Any]]:
    paired = {(d.column, d.method, d.metric): _paired(d) for d in table.differences}
    lines = []
    for record in _means(table):
        place = (record["column"], record["method"], record["metric"])
        protocol = _joined(record["column"].protocol)
        lines.append(record | paired.get(place, {}) | {"protocol": protocol})
    return lines


def _published(figure: Mapping[str, Any]) -> dict[str, Any]:
    return {**figure, "kind": "published", "protocol": _joined(figure["protocol"].items())}


def _verdict(found: Mapping[str, Any]) -> dict[str, Any]:
    """The CSV line of a verdict: our value, with the published figure as the reference."""
    return {
        **found,
        "kind": "verdict",
        "mean": found["ours"],
        "std": found["ours_std"],
        "n": found["ours_n"],
        "reference": f"{found['source']}: {found['place']}",
        "interval_low": found["low"],
        "interval_high": found["high"],
        "interval_method": None if found["low"] is None else "Welch",
    }


def table_json(table: Table | None, records: Mapping[str, Any] | None = None) -> str:
    """The table, its paired differences, its notes and the records as the text of a JSON object."""
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
        "endpoints": [metric.key for metric in table.endpoints],
        "correction": table.correction,
        "means": means,
        "differences": [
            {
                "bench": d.column.bench,
                "protocol": dict(d.column.protocol),
                "method": d.method,
                "metric": d.metric,
                "unit": d.column.unit,
                **_paired(d),
                **_bca(d),
                "by_unit": dict(d.by_unit),
                "method_lacks": [{"order": o, "seed": s} for o, s in d.method_lacks],
                "reference_lacks": [{"order": o, "seed": s} for o, s in d.reference_lacks],
            }
            for d in table.differences
        ],
        "notes": notes(table),
        **(records or {}),
    }
    return json.dumps(record, indent=1, allow_nan=False) + "\n"


def _means(table: Table) -> list[dict[str, Any]]:
    """One dict per column, method and metric with its mean; endpoints without a column, too.

    The average over benches is the last column.
    """
    metrics = dict.fromkeys([*table.metrics, *table.endpoints])
    places = [
        (column, method, metric, table.entry(method, number, metric.key))
        for number, column in enumerate(table.columns)
        for method in table.methods
        for metric in metrics
    ]
    places += [
        (AVERAGE, method, metric, table.averages.get((method, metric.key)))
        for method in table.methods
        for metric in metrics
        if any(key == metric.key for _, key in table.averages)
    ]
    return [
        {
            "column": column,
            "bench": column.bench,
            "method": method,
            "metric": metric.key,
            "unit": column.unit,
            **_entry(entry),
        }
        for column, method, metric, entry in places
    ]


def _entry(entry: Entry | None) -> dict[str, Any]:
    return {
        "mean": entry.mean if entry else None,
        "std": entry.std if entry else None,
        "half_width": entry.half_width if entry else None,
        "n": entry.n if entry else 0,
        "runs": entry.runs if entry else 0,
        "best": entry.best if entry else False,
        "second": entry.second if entry else False,
    }


def _joined(protocol: Iterable[tuple[str, str]]) -> str:
    return "; ".join(f"{name}={value}" for name, value in protocol)


def _paired(d: Difference) -> dict[str, Any]:
    return {
        "reference": d.reference,
        "difference": d.mean,
        "difference_std": d.std,
        "interval_low": d.interval.low if d.interval else None,
        "interval_high": d.interval.high if d.interval else None,
        "interval_method": d.interval.method if d.interval else None,
        "n_paired": d.n,
        "d_z": d.d_z,
        "p": d.p,
        "p_maxt": d.p_maxt,
        "p_holm": d.p_holm,
        "family": d.family,
        "p_smallest": d.p_smallest,
        "wilcoxon_p": None
        if d.column is AVERAGE or not d.n
        else significance.wilcoxon_p(d.differences),
        "wins": d.wins,
        "losses": d.losses,
    }


def _bca(d: Difference) -> dict[str, Any]:
    """The bootstrap interval, None for the average over benches.

    It has its own keys beside the t interval, because with few units it is too narrow.
    """
    found = None if d.column is AVERAGE else significance.bca_interval(d.differences, 1 - ALPHA)
    return {"bca_low": found and found.low, "bca_high": found and found.high}
