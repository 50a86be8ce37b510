"""Turns a run into the rows, configuration and summary that are logged to Weights & Biases.

The step of a row depends only on the position in training. So an attempt that resumes after a kill
uses the same steps: it leaves out rows that exist and writes lost rows again from the matrices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from janus import metrics
from janus.config.cell import canonical

STEPS = 100
"""Steps per task in W&B's history: 99 for progress inside the task, the last for its end."""

CURVES = {
    "accuracy": "acc",
    "accuracy_taskmean": "acc_taskmean",
    "bwt": "bwt",
    "forgetting": "forgetting",
    "learning_acc": "learning_acc",
}
"""Curve names in the history, with the metric (see `janus.metrics`) over the tasks so far."""

FACTS = (
    "schema",
    "weights_sha256",
    "split_sha256",
    "class_order",
    "kept_bytes",
    "trained_parameters",
    "passes",
    "total",
    *(f"{name}{kind}" for name in ("correct", "metrics") for kind in metrics.KINDS),
)
"""Fields of a result that are copied into the summary."""

Row = dict[str, Any]


def config(cell: Mapping[str, Any], identity: Mapping[str, Any], about: Mapping[str, Any]) -> Row:
    """A run's configuration: the whole cell, plus its main fields under short names.

    `about`: the cell's `sweep` and its `row` in the sweep's table, if it belongs to a sweep.
    """
    method = str(cell["method"]["name"])
    return {
        "bench": cell["bench"]["name"],
        "backbone": cell["backbone"]["name"],
        "method": method,
        "row": about.get("row") or method,
        "order": cell["order"],
        "seed": cell["seed"],
        "sweep": about.get("sweep"),
        "cell": dict(cell),
        "identity": canonical(identity),  # as text, because W&B would change the number 1.0 into 1
    }


def task_rows(facts: Mapping[str, Any]) -> Iterator[tuple[int, Row]]:
    """(step, row) of every measured task; accuracies are fractions, tasks count from 0."""
    beside = {"seconds": facts["seconds_per_task"], "diagnostics": facts["diagnostics"]}
    for task, counts in enumerate(facts["correct"]):
        if counts is None:
            continue  # methods that train on all tasks at once are measured only at the end
        row: Row = {"task": task}
        for kind in metrics.KINDS:
            row |= _curves(facts.get(f"correct{kind}"), facts["total"], task, kind)
        for j, right in enumerate(counts):
            row[f"accuracy_on/{j:02d}"] = right / facts["total"][j]
        at = {name: task - len(facts["correct"]) + len(known) for name, known in beside.items()}
        if at["seconds"] >= 0:
            row["seconds"] = beside["seconds"][at["seconds"]]
        if at["diagnostics"] >= 0:
            row |= diagnostics(beside["diagnostics"][at["diagnostics"]])
        yield (task + 1) * STEPS - 1, row


def _curves(rows: Sequence[metrics.Row] | None, total: Sequence[int], task: int, kind: str) -> Row:
    """The metrics after `task`, as if the stream ended there; undefined ones are left out."""
    if not rows or rows[task] is None:
        return {}
    found = metrics.summarise(rows[: task + 1], total)
    if len(total) == 1:
        found["learning_acc"] = None  # a shared test set, which row 0 cannot show
    named = {f"{name}{kind}": found[key] for name, key in CURVES.items()}
    return {name: value for name, value in named.items() if value is not None}


def diagnostics(facts: Mapping[str, Any]) -> Row:
    """The diagnostics as one value per key: a list over blocks becomes `name/00`, `name/01`, ...

    Blocks are counted from the input.
    """
    flat: Row = {}
    for name, value in facts.items():
        if name != "task":
            _flatten(f"diagnostics/{name}", value, flat)
    return flat


def _flatten(name: str, value: Any, into: Row) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _flatten(f"{name}/{key}", inner, into)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _flatten(f"{name}/{index:02d}", inner, into)
    elif value is not None:
        into[name] = value


def progress_row(facts: Mapping[str, Any]) -> tuple[int, Row]:
    """(step, row) for progress inside a task. `position` counts tasks: 2.5 is half of the third.

    Several rows may have the same step; the first one that is written is kept.
    """
    share = min(1.0, facts["step"] / max(1, facts["steps"]))
    step = facts["task"] * STEPS + int(share * (STEPS - 2))
    row = {"train/position": facts["task"] + share, "train/loss": facts["loss"]}
    return step, row | {"train/epoch": facts["epoch"]}


def summary(result: Mapping[str, Any], provenance: Mapping[str, Any]) -> Row:
    """The summary of a finished run: enough to compare it without its store."""
    found = {name: result[name] for name in FACTS if name in result}
    return found | {"provenance": dict(provenance), "failure": None}  # clears an earlier failure


def matrix_table(result: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """Column names and rows of the accuracy matrix, one row per (after task, on task)."""
    columns = ["after_task", "on_task", "accuracy", "accuracy_in_task", "correct", "total"]
    data = []
    total = result["total"]
    for t, row in enumerate(result["correct"]):
        for j, right in enumerate(row or ()):
            in_task = result["correct_in_task"][t][j] / total[j]
            data.append([t, j, right / total[j], in_task, right, total[j]])
    return columns, data
