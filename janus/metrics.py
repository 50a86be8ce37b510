"""Defines every continual-learning metric, computed from the matrix of correct counts.

`correct[t][j]` counts the correct predictions on task j's test images after training task t
(both from 0, j <= t); `total[j]` is the number of those images. R[t, j] = correct / total.
The literature averages in two ways: over test images (InfLoRA, PILOT) and over tasks (Lopez-Paz);
both are computed. A row that was not measured is None, and so is every metric that needs it. Where
all tasks share one test set (CORe50), rows and `total` have one entry, and metrics of single tasks
are None.

To add a metric, write a function of `Matrix` and an entry of `METRICS`. It is then available for
every existing result too, since results keep their counts. This module does not import torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import gt
from typing import Any

Row = Sequence[int] | None

KINDS = ("", "_in_task", "_ncm")
"""Suffixes of a result's count matrices (`correct`, ...) and of their metrics (`metrics`, ...)."""

TOLERANCE = 1e-9
"""Largest difference between a stored metric and the one computed from the counts; Python versions
sum differently in the last bits."""


def after_task(correct: Row, total: Sequence[int]) -> tuple[float, float] | None:
    """(image-weighted, task-mean) accuracy over the tasks of one row; None if not measured."""
    if correct is None:
        return None
    seen = total[: len(correct)]
    by_image = sum(correct) / sum(seen)
    by_task = sum([c / n for c, n in zip(correct, seen, strict=True)]) / len(seen)
    return by_image, by_task


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


class Matrix:
    """The counts of one run in the forms that metrics use. T is the number of tasks."""

    def __init__(self, correct: Sequence[Row], total: Sequence[int]) -> None:
        self.tasks = len(correct)
        rows = [
            None if row is None else [c / n for c, n in zip(row, total, strict=False)]
            for row in correct
        ]
        self.curve = [
            None
            if row is None or rate is None
            else (sum(row[: t + 1]) / sum(total[: min(t + 1, len(row))]), _mean(rate[: t + 1]))
            for t, (row, rate) in enumerate(zip(correct, rows, strict=True))
        ]
        """Per task t: (image-weighted, task-mean) accuracy over tasks 0..t; None: not measured."""
        self.last = self.curve[-1]
        measured = [rate for rate in rows if rate is not None]
        self.whole = len(measured) == self.tasks
        """Whether every row was measured."""
        by_task = len(total) >= self.tasks
        self.final = rows[-1] if by_task else None
        """R[T-1, j] per task j; None: not measured, or one test set for all tasks."""
        self.rate = measured if by_task and self.whole else None
        """R[t, j] for j <= t, and for later tasks where they were measured. None: a row is missing,
        or one test set serves all tasks."""

    def old(self, of: Callable[[list[list[float]], int], float]) -> float | None:
        """Mean of `of(R, j)` over the old tasks j < T-1; None without R or without old tasks."""
        if self.rate is None or self.tasks < 2:
            return None
        return _mean([of(self.rate, j) for j in range(self.tasks - 1)])


def _acc(m: Matrix) -> float | None:
    return m.last[0] if m.last else None


def _acc_taskmean(m: Matrix) -> float | None:
    return m.last[1] if m.last else None


def _mean_over_time(m: Matrix, weighting: int) -> float | None:
    if not m.whole:
        return None
    return sum([p[weighting] for p in m.curve if p]) / m.tasks


def _bwt(m: Matrix) -> float | None:
    return m.old(lambda rate, j: rate[-1][j] - rate[j][j])


def _forgetting(m: Matrix) -> float | None:
    return m.old(lambda rate, j: max([row[j] for row in rate[j:-1]]) - rate[-1][j])


def _forgetting_pilot(m: Matrix) -> float | None:
    return m.old(lambda rate, j: max([row[j] for row in rate[j:]]) - rate[-1][j])


def _forgetting_avalanche(m: Matrix) -> float | None:
    return m.old(lambda rate, j: rate[j][j] - rate[-1][j])


def _learning_acc(m: Matrix) -> float | None:
    if m.rate is None:
        return None
    return _mean([row[j] for j, row in enumerate(m.rate)])


def _forward_transfer(m: Matrix) -> float | None:
    if m.rate is None or any(len(row) <= t + 1 for t, row in enumerate(m.rate[:-1])):
        return None
    return m.old(lambda rate, j: rate[j][j + 1])


def _task_std(m: Matrix) -> float | None:
    if m.final is None or m.tasks < 2:
        return None
    mean = _mean(m.final)
    return math.sqrt(sum([(r - mean) ** 2 for r in m.final]) / (m.tasks - 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One number of a run, computed from its counts."""

    key: str
    title: str
    """Heading of the metric's column."""
    of: Callable[[Matrix], float | None]
    """Computes the value in stored units; None where the counts do not allow it."""
    better: int = 1
    """+1: more is better, -1: less is better, 0: not ranked."""
    low: float = 0.0
    high: float = 1.0
    """Least and greatest possible value, in stored units."""
    scale: float = 100.0
    """Factor for printing the stored value: 100 turns fractions into percentages."""
    unit: str = "%"
    digits: int = 2
    stored: bool = False
    """Whether result files hold the metric. A new metric need not be stored: it is computed from
    the counts of finished cells, whose files stay unchanged."""


METRICS = {
    metric.key: metric
    for metric in (
        # accuracy after the last task over all test images / mean over tasks
        Metric(key="acc", title="ACC", of=_acc, stored=True),
        Metric(key="acc_taskmean", title="ACC/task", of=_acc_taskmean, stored=True),
        # mean of that accuracy over the times after each task, the first included
        Metric(key="maa", title="MAA", of=lambda m: _mean_over_time(m, 0), stored=True),
        Metric(
            key="maa_taskmean",
            title="MAA/task",
            of=lambda m: _mean_over_time(m, 1),
            stored=True,
        ),
        # mean over old tasks of R[T,j] - R[j,j] (Lopez-Paz and Ranzato 2017)
        Metric(key="bwt", title="BWT", of=_bwt, low=-1, stored=True),
        # mean over old tasks of max_{t<T} R[t,j] - R[T,j] (Chaudhry et al. 2018); < 0: gained
        Metric(
            key="forgetting", title="Forgetting", of=_forgetting, better=-1, low=-1, stored=True
        ),
        # mean over tasks of R[j,j]. Exactly: acc_taskmean = learning_acc + bwt (T-1)/T
        Metric(key="learning_acc", title="Learning", of=_learning_acc, stored=True),
        # as PILOT prints "Forgetting": the maximum includes the last task, so it is never negative
        Metric(key="forgetting_pilot", title="Forgetting (PILOT)", of=_forgetting_pilot, better=-1),
        # as Avalanche prints "StreamForgetting": R[j,j] - R[T,j], exactly -bwt
        Metric(
            key="forgetting_avalanche",
            title="Forgetting (Avalanche)",
            of=_forgetting_avalanche,
            better=-1,
            low=-1,
        ),
        # mean over j > 0 of R[j-1,j], where rows were measured beyond their own task. Lopez-Paz
        # and Ranzato subtract the untrained network's R, which no run measures: here it is 0
        Metric(key="forward_transfer", title="FWT", of=_forward_transfer),
        # deviation (ddof 1) of R[T,j] over tasks j: how unevenly the tasks are known at the end
        Metric(key="task_std", title="Std/tasks", of=_task_std, better=-1),
    )
}
"""Every metric by its key, in the order of result files. Values are fractions unless noted; those
with `stored` are in result files."""


def compute_metrics(correct: Sequence[Row], total: Sequence[int]) -> dict[str, float | None]:
    """Every metric of `METRICS` from a run's counts; None where the counts do not allow it."""
    matrix = Matrix(correct, total)
    return {metric.key: metric.of(matrix) for metric in METRICS.values()}


def summarise(correct: Sequence[Row], total: Sequence[int]) -> dict[str, float | None]:
    """The metrics that a result file holds, as fractions."""
    matrix = Matrix(correct, total)
    return {metric.key: metric.of(matrix) for metric in METRICS.values() if metric.stored}


def checked(record: Mapping[str, Any], kind: str = "") -> dict[str, float | None]:
    """Every metric of one kind (see KINDS), computed from the counts in a result's record.

    A record without such counts (W&B's copy of an older run) gives its stored metrics. Raises
    ValueError naming the stored metric that contradicts the counts or lies outside its range, or
    the count that is not valid.
    """
    stored = {
        str(name): None if value is None else float(value)
        for name, value in (record.get(f"metrics{kind}") or {}).items()
    }
    for name, value in stored.items():
        _require_range(name, kind, value)
    if record.get(f"correct{kind}") is None:
        return stored
    correct, total = record[f"correct{kind}"], record["total"]
    _require_counts(correct, total, kind)
    found = compute_metrics(correct, total)
    for name, value in stored.items():
        if name not in found:
            found[name] = value  # written by a later version, which has more metrics
        elif not _agree(value, found[name]):
            raise ValueError(f"{name}{kind} is {value}, but its counts give {found[name]}")
    return found


def contradiction(record: Mapping[str, Any]) -> str | None:
    """A sentence on the stored metric that contradicts the record's counts; None if all agree."""
    try:
        for kind in KINDS:
            checked(record, kind)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return str(error)
    return None


def _require_range(name: str, kind: str, value: float | None) -> None:
    metric = METRICS.get(name)
    low, high = (metric.low, metric.high) if metric else (-math.inf, math.inf)
    if value is None or (low <= value <= high and math.isfinite(value)):
        return
    if metric and (low, high) in ((0, 1), (-1, 1)):
        raise ValueError(f"{name}{kind} is {value}, which is not a fraction")
    raise ValueError(f"{name}{kind} is {value}, which is not between {low} and {high}")


def _agree(stored: float | None, found: float | None) -> bool:
    if stored is None or found is None:
        return stored is found
    return abs(stored - found) <= TOLERANCE * max(1.0, abs(found))


def _require_counts(correct: Sequence[Row], total: Sequence[int], kind: str) -> None:
    """Raise ValueError unless all entries are counts of correct predictions, at most `total`."""
    if not correct or len(total) not in (1, len(correct)) or not all(n > 0 for n in total):
        raise ValueError(f"total{kind} {list(total)} does not fit {len(correct)} tasks")
    shared = len(total) == 1 < len(correct)
    for t, row in enumerate(correct):
        if row is None:
            continue
        if len(row) > len(total) or len(row) < (1 if shared else t + 1):
            raise ValueError(f"correct{kind}[{t}] has {len(row)} entries")
        if set(map(type, row)) == {int} and min(row) >= 0 and not any(map(gt, row, total)):
            continue  # the usual case; it keeps reading ten thousand results down to seconds
        for j, count in enumerate(row):
            if not 0 <= count <= total[j] or count != int(count):
                raise ValueError(
                    f"correct{kind}[{t}][{j}] is {count}, which is no count among {total[j]} images"
                )
