"""Writes `--format long`: CSV with one line per cell and metric, for pandas, autorank or rliable.

Values are in stored units (accuracies are fractions, memory is in bytes, times are in seconds). A
value that was not measured is an empty field, which pandas reads as NaN.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from analysis.runs import filters
from analysis.runs.load import RunRecord
from analysis.runs.protocol import Group
from analysis.tables import comparison

HEADINGS = (
    "id",
    "bench",
    "protocol",
    "method",
    "label",
    "order",
    "seed",
    "eval",
    "metric",
    "value",
    "correct_images",
    "store",
)
"""`method` is the method's name, `label` the row of the table; `protocol` distinguishes runs of one
bench under several protocols; `correct_images` names the file of correct test images."""


def to_long(
    groups: Sequence[Group], labels: Mapping[str, str], metrics: Sequence[str], rows: Sequence[str]
) -> str:
    """The CSV text of all runs in the groups, by row: in the order of `rows`, else by name."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEADINGS)
    for group in groups:
        protocol = "; ".join(f"{name}={value}" for name, value in group.protocol)
        for run in sorted(group.runs, key=lambda run: _place(run, labels[run.id], rows)):
            for key in metrics:
                writer.writerow(_line(run, protocol, labels[run.id], key))
    return buffer.getvalue()


def _place(run: RunRecord, label: str, rows: Sequence[str]) -> tuple[object, ...]:
    at = rows.index(label) if rows else 0
    return at, filters.natural(label), filters.natural(run.order), run.seed


def _line(run: RunRecord, protocol: str, label: str, key: str) -> tuple[object, ...]:
    value = comparison.COLUMNS[key].read(run)
    where = (run.id, run.bench, protocol, run.method, label, run.order, run.seed, run.eval)
    return (*where, key, "" if value is None else value, run.correct_images or "", run.store)
