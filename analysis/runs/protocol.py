"""Checks that runs have the same protocol, and groups them into the columns of the table.

Every identity field of bench, backbone and train is part of the protocol, so a field added later is
compared without a change in this module. Hashes verified at the start of a run replace the declared
ones; the names of bench, backbone, weights and split are not compared.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from analysis.runs.load import RunRecord, value_text
from janus.errors import ComparisonError, ConfigError, suggest

PARTS = ("bench", "backbone", "train")
REPLACED = {
    "bench": {"name", "split", "split_sha256"},
    "backbone": {"name", "weights", "weights_sha256"},
    "train": set(),
}
"""Identity fields that are not compared: names, and fields of which a verified hash is compared."""


@dataclass(frozen=True, slots=True)
class Field:
    """One protocol value of a run: `key` is compared, `shown` is printed."""

    key: str
    shown: str


MISSING = Field("", "--")
"""The value of a field that older results did not record."""


@dataclass(frozen=True, slots=True)
class Group:
    """Runs of one bench that are equal in every protocol field."""

    bench: str
    protocol: tuple[tuple[str, str], ...]
    """(field, value) pairs that distinguish this group from other groups of the bench; () if the
    bench has no other group."""
    runs: tuple[RunRecord, ...]


def fields_of(run: RunRecord) -> dict[str, Field]:
    """{field name, e.g. `weights`, `split`, `epochs`, `core`: value} of a run's protocol."""
    parts = {name: run.identity[name] for name in (*PARTS, "core")}
    parts["sources"] = run.identity.get("sources") or {}
    return _fields(json.dumps(parts), run.schema, run.weights_sha256, run.split_sha256)


@lru_cache(maxsize=1000)  # thousands of runs share a few protocols
def _fields(parts: str, schema: int, weights: str, split: str) -> dict[str, Field]:
    identity = json.loads(parts)
    bench, backbone = identity["bench"], identity["backbone"]
    out = {
        "weights": _hashed(f"{backbone['model']}, {backbone['weights']}", weights),
        "split": _hashed(bench["split"], split),
        "core": _plain(identity["core"]),
        "schema": _plain(schema),
    }
    for part, sha256 in identity["sources"].items():
        if part in PARTS:  # the source file of a method is not part of the protocol
            out[f"{part}.source"] = _hashed(part, sha256)
    for part in PARTS:
        for name, value in identity[part].items():
            if name not in REPLACED[part]:
                out[name if name not in out else f"{part}.{name}"] = _plain(value)
    return out


def _plain(value: Any) -> Field:
    return Field(value_text(value), value_text(value))


def _hashed(name: str, sha256: str) -> Field:
    shown = f"{sha256[:8]}…" if len(sha256) > 16 else sha256
    return Field(sha256, f"{name} (sha {shown})")


def split_by_protocol(
    runs: Sequence[RunRecord], labels: Mapping[str, str], allow: Collection[str] = ()
) -> list[Group]:
    """The groups of runs with equal protocols; several per bench if fields in `allow` differ.

    Raises ComparisonError if runs of a bench differ in a field that is not in `allow`, ConfigError
    if `allow` names an unknown field.
    """
    protocols = {run.id: fields_of(run) for run in runs}
    known = {name for protocol in protocols.values() for name in protocol}
    for name in allow:
        if known and name not in known:
            raise ConfigError(f"--allow: no protocol field {name!r}.{suggest(name, known)}")
    groups: list[Group] = []
    for bench in sorted({run.bench for run in runs}):
        members = [run for run in runs if run.bench == bench]
        found = differing([protocols[run.id] for run in members])
        if set(found) - set(allow):
            raise ComparisonError(_refusal(bench, members, labels, protocols, found))
        groups += _groups(bench, members, protocols, found)
    return groups


def _groups(
    bench: str,
    runs: Sequence[RunRecord],
    protocols: Mapping[str, Mapping[str, Field]],
    differing: Sequence[str],
) -> list[Group]:
    parts: dict[tuple[Field, ...], list[RunRecord]] = {}
    for run in runs:
        protocol = protocols[run.id]
        parts.setdefault(tuple(protocol.get(n, MISSING) for n in differing), []).append(run)
    return [
        Group(bench, tuple(zip(differing, (f.shown for f in values), strict=True)), tuple(members))
        for values, members in sorted(parts.items(), key=lambda item: [f.key for f in item[0]])
    ]


def differing(protocols: Sequence[Mapping[str, Field]]) -> list[str]:
    """The names of the fields in which these protocols are not all equal."""
    names = dict.fromkeys(name for protocol in protocols for name in protocol)
    return [n for n in names if len({p.get(n, MISSING).key for p in protocols}) > 1]


def _refusal(
    bench: str,
    runs: Sequence[RunRecord],
    labels: Mapping[str, str],
    protocols: Mapping[str, Mapping[str, Field]],
    differing: Sequence[str],
) -> str:
    """The error message for runs that differ in protocol.

    It lists, for each differing field, the values and the rows that have them.
    """
    width = max(map(len, differing))
    lines = [f"  {name:{width}}  {_holders(name, runs, labels, protocols)}" for name in differing]
    return "\n".join(
        [
            f"cannot compare runs of {_names({labels[r.id] for r in runs})} on {bench}: "
            "protocol differs",
            *lines,
            f"Pass --allow {','.join(differing)} to print them side by side with a footnote, "
            "or keep one kind with --where.",
        ]
    )


def _holders(
    name: str,
    runs: Sequence[RunRecord],
    labels: Mapping[str, str],
    protocols: Mapping[str, Mapping[str, Field]],
) -> str:
    """The values of field `name` with their rows: `5 (janus: 4 runs)  vs  8 (inflora: 1 run)`."""
    values: dict[str, dict[str, int]] = {}
    for run in runs:
        counts = values.setdefault(protocols[run.id].get(name, MISSING).shown, {})
        counts[labels[run.id]] = counts.get(labels[run.id], 0) + 1
    return "  vs  ".join(
        f"{value} ({', '.join(f'{label}: {_runs(n)}' for label, n in sorted(counts.items()))})"
        for value, counts in sorted(values.items())
    )


def _runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs"


def _names(labels: Collection[str]) -> str:
    quoted = [f"'{label}'" for label in sorted(labels)]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
