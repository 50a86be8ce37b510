"""Marks the rows of a sweep in which every method was run as published: footnotes, no tests.

Such rows differ in more than the method. They are in one column, each with a mark that leads to its
protocol; no differences are computed and no value is bold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.runs import protocol
from analysis.runs.load import RunRecord
from analysis.runs.protocol import MISSING, Group

AS_PUBLISHED = "as_published"
"""The value of `protocol` in the sweep's list for such cells."""

WARNING = (
    "Every row was run with the settings of its own publication: rows differ in more than the "
    "method, so none is tested against another."
)


@dataclass(frozen=True, slots=True)
class AsPublished:
    """One group per bench, rows with marks, and notes that explain the marks."""

    groups: tuple[Group, ...]
    labels: dict[str, str]
    """{run id: row name with its mark, e.g. `bilora [2]`}."""
    notes: tuple[str, ...]


def group_as_published(runs: Sequence[RunRecord], labels: dict[str, str]) -> AsPublished:
    """Put the runs of each bench into one group, and number the protocols of each bench.

    Numbers follow the order of the row names.
    """
    groups: list[Group] = []
    notes = [WARNING]
    marks: dict[str, list[int]] = {}
    for bench in sorted({run.bench for run in runs}):
        members = tuple(run for run in runs if run.bench == bench)
        groups.append(Group(bench, (), members))
        fields = {run.id: protocol.fields_of(run) for run in members}
        names = protocol.differing(list(fields.values()))
        numbers: dict[tuple[str, ...], int] = {}
        for run in sorted(members, key=lambda run: labels[run.id]) if names else ():
            values = tuple(fields[run.id].get(name, MISSING).shown for name in names)
            if values not in numbers:
                numbers[values] = len(notes)
                said = ", ".join(f"{n} {v}" for n, v in zip(names, values, strict=True))
                notes.append(f"[{len(notes)}] {bench}: {said}.")
            found = marks.setdefault(labels[run.id], [])
            if numbers[values] not in found:
                found.append(numbers[values])
    named = {label: f"{label} [{','.join(map(str, found))}]" for label, found in marks.items()}
    return AsPublished(
        tuple(groups), {key: named.get(label, label) for key, label in labels.items()}, tuple(notes)
    )
