"""What the methods' own files say of settings that were run: sentences under a table, beside a run.

A method's YAML names combinations of settings that come to something nobody would choose them for
(`cautions`). They are told before training; a table is read by others, later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from analysis.runs.load import Run
from analysis.runs.protocol import Group
from janus.config.method_spec import method_spec, readable_names


def of_run(run: Run) -> list[str]:
    """What is to be said of the run's settings; nothing of most."""
    if run.method not in readable_names("method"):
        return []
    return method_spec(run.method).cautions_of(run.cell["method"]["values"])


def of_rows(groups: Sequence[Group], labels: Mapping[str, str]) -> list[str]:
    """The same for the rows of a table, each sentence with the rows that it is about."""
    one_each = {(group.bench, labels[run.id]): run for group in groups for run in group.runs}
    found: dict[str, list[str]] = {}
    for (_, label), run in one_each.items():
        for text in of_run(run):
            rows = found.setdefault(text, [])
            if label not in rows:
                rows.append(label)
    return [f"{', '.join(rows)}: {text}." for text, rows in found.items()]
