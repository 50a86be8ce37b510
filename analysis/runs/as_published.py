"""Rows that differ in more than the method: printed with footnotes, never tested.

A sweep that runs every method as it was published says so in its plan. Its rows stand in one
column, each with a mark that leads to the protocol it was run under; no difference is taken, no
value is bold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.runs import protocol
from analysis.runs.load import RunRecord
from analysis.runs.protocol import MISSING, Group

AS_PUBLISHED = "as_published"
"""The protocol that a sweep's plan gives to such cells."""

WARNING = (
    "Every row was run with the settings of its own publication: rows differ in more than the "
    "method, so none is tested against another."
)


@dataclass(frozen=True, slots=True)
class AsPublished:
    """One column per bench, rows with marks, and what the marks stand for."""

    groups: tuple[Group, ...]
    labels: dict[str, str]
    """Run id to `bilora [2]`."""
    notes: tuple[str, ...]


def mark(runs: Sequence[RunRecord], labels: dict[str, str]) -> AsPublished:
    """The runs of each bench in one group; every protocol of a bench gets a number, in
    the order of the rows' names."""
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
