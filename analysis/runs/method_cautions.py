"""Reads the cautions that a method's YAML declares, for tables and run pages.

A caution warns of settings that have an unexpected effect together. It is printed before training;
tables and run pages repeat it for readers who did not train the runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from analysis.runs.load import RunRecord
from analysis.runs.protocol import Group
from janus.config.method_spec import method_spec, readable_names


def of_run(run: RunRecord) -> list[str]:
    """The cautions that apply to the run's settings; [] for most runs."""
    if run.method not in readable_names("method"):
        return []
    return method_spec(run.method).cautions_of(run.cell["method"]["values"])


def of_rows(groups: Sequence[Group], labels: Mapping[str, str]) -> list[str]:
    """The cautions for the rows of a table, each once; it begins with the names of its rows."""
    one_each = {(group.bench, labels[run.id]): run for group in groups for run in group.runs}
    found: dict[str, list[str]] = {}
    for (_, label), run in one_each.items():
        for text in of_run(run):
            rows = found.setdefault(text, [])
            if label not in rows:
                rows.append(label)
    return [f"{', '.join(rows)}: {text}." for text, rows in found.items()]
