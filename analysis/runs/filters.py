"""Filters runs by bench, row name and any field of the cell.

A filter with an unknown name raises ConfigError with the nearest valid name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from analysis.runs.load import RunRecord, value_text
from janus.errors import ConfigError, suggest

_LABEL = re.compile(r"[^,\[\]\s]+(?:\[[^\]]*\])?")


def split_names(texts: Iterable[str]) -> list[str]:
    """Names in texts like `seqlora,janus[rank=4,margin=0]`, split at commas outside brackets."""
    return [name for item in texts for name in _LABEL.findall(item)]


def matching(runs: Sequence[RunRecord], conditions: Iterable[str]) -> list[RunRecord]:
    """The runs that satisfy every `key=value`; keys are dotted fields of the cell (`method.rank`).

    Several values for one key are alternatives. Raises ConfigError for a key that no run has.
    """
    wanted: dict[str, list[str]] = {}
    for condition in conditions:
        key, equals, value = condition.partition("=")
        if not equals or not key:
            raise ConfigError(f"--where takes key=value, got {condition!r}")
        wanted.setdefault(key, []).append(value)
    fields = {run.id: flat(run.cell) for run in runs} if wanted else {}
    known = {name for found in fields.values() for name in found}
    for key in wanted:
        if runs and key not in known:
            raise ConfigError(f"--where: no run has a field {key!r}.{suggest(key, known)}")
    return [
        run
        for run in runs
        if all(
            key in fields[run.id] and any(_same(fields[run.id][key], v) for v in values)
            for key, values in wanted.items()
        )
    ]


def flat(cell: Mapping[str, Any]) -> dict[str, Any]:
    """{dotted name as on the command line, e.g. `train.epochs`, `method.rank`: value} of a cell."""
    out: dict[str, Any] = {}
    for name, value in cell.items():
        if not isinstance(value, Mapping):
            out[name] = value
            continue
        for inner, content in value.items():
            if (name, inner) == ("method", "values"):
                out |= {f"method.{setting}": v for setting, v in content.items()}
            elif (name, inner) == ("method", "name"):
                out["method"] = out["method.name"] = content
            elif (name, inner) not in (("method", "neutral"), ("method", "revised")):
                out[f"{name}.{inner}"] = content
    return out


def _same(value: Any, wanted: str) -> bool:
    if value_text(value) == wanted:
        return True
    try:
        return not isinstance(value, bool | str) and float(value) == float(wanted)
    except (TypeError, ValueError):
        return False


def benches(
    runs: Sequence[RunRecord], wanted: Sequence[str], also: Collection[str] = ()
) -> list[RunRecord]:
    """The runs on the benches in `wanted`, or all runs if it is empty.

    Raises ConfigError for a bench without runs, except for those in `also`.
    """
    known = {run.bench for run in runs} | set(also)
    for name in wanted:
        if runs and name not in known:
            raise ConfigError(f"--bench: no run on {name!r}.{suggest(name, known)}")
    return [run for run in runs if not wanted or run.bench in wanted]


def select_rows(labels: Collection[str], wanted: Sequence[str], option: str) -> list[str]:
    """The labels that the names in `wanted` select, in the order of `wanted`.

    `janus` selects every configuration of janus, `janus[rank=4]` those with this setting; the whole
    label of a row with settings selects only that row. Raises ConfigError for a name that selects
    no label; the message names `option`.
    """
    out: list[str] = []
    for name in wanted:
        whole = "[" in name and name in labels
        found = [x for x in sorted(labels, key=natural) if (x == name if whole else _fits(x, name))]
        if not found:
            raise ConfigError(f"{option}: no runs of {name!r}.{suggest(name, labels)}")
        out += [label for label in found if label not in out]
    return out


def natural(label: str) -> tuple[tuple[float, str], ...]:
    """A sort key for labels that compares numbers in them as numbers: rank=5 before rank=20."""
    parts = re.split(r"(\d+(?:\.\d+)?)", label)
    return tuple((float(p) if i % 2 else -1.0, "" if i % 2 else p) for i, p in enumerate(parts))


def _fits(label: str, wanted: str) -> bool:
    if label == wanted:
        return True
    method, settings = _parts(label)
    wanted_method, wanted_settings = _parts(wanted)
    return method == wanted_method and wanted_settings <= settings


def _parts(label: str) -> tuple[str, set[str]]:
    method, _, inside = label.partition("[")
    return method, {part for part in inside.removesuffix("]").split(",") if part}


def reference(labels: Collection[str], wanted: str | None, default: str = "janus") -> str | None:
    """The label of the row to which differences are computed.

    `wanted`: the requested name. If it is None, the row of `default` is taken; None is returned if
    there is no such row, or several. Raises ConfigError if `wanted` fits no row, or several.
    """
    if not labels or (wanted is None and not any(_fits(label, default) for label in labels)):
        return None
    found = select_rows(labels, [wanted or default], "--reference")
    if len(found) > 1 and wanted is not None:
        raise ConfigError(
            f"--reference: {wanted!r} names {len(found)} rows: {', '.join(found)}. Choose one"
        )
    return found[0] if len(found) == 1 else None
