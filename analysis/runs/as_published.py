"""Groups the runs of a sweep in which every method was run with the settings of its publication.

The rows of such a sweep differ in more than the method. They stand in one column per bench, each
with the number of a note on its protocol; no differences are computed and no value is bold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.runs import protocol
from analysis.runs.load import RunRecord
from analysis.runs.protocol import MISSING, Group

AS_PUBLISHED = "as_published"
"""The value of `protocol` in the sweep's list for cells of such a sweep."""

WARNING = (
    "Every row was run with the settings of its own publication: rows differ in more than the "
    "method, so none is tested against another."
)


@dataclass(frozen=True, slots=True)
class AsPublished:
    """One group per bench, the row names with marks, and the notes that explain the marks."""

    groups: tuple[Group, ...]
    labels: dict[str, str]
    """{run id: row name with its mark, e.g. `bilora [2]`}."""
    notes: tuple[str, ...]


def group_as_published(runs: Sequence[RunRecord], labels: dict[str, str]) -> AsPublished:
    """One group per bench of these runs, with numbered protocols.

    Protocols are numbered through all benches, in the order of the row names. A bench on which all
    runs have the same protocol gets no numbers.
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
