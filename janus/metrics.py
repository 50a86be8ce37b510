"""Continual-learning metrics from the matrix of correct counts. The one place they are defined.

`correct[t][j]` counts the correct predictions on task j's test images after training task t
(both from 0, j <= t); `total[j]` is the number of those images. R[t, j] = correct / total.
Two weightings circulate: by test image (InfLoRA, PILOT) and by task (Lopez-Paz); both are kept.
A row that was not measured is None, and every metric that needs it is None too. Where all tasks
share one test set (CORe50), rows and `total` have one entry, and metrics of single tasks are None.
"""

from __future__ import annotations

from collections.abc import Sequence

Row = Sequence[int] | None


def after_task(correct: Row, total: Sequence[int]) -> tuple[float, float] | None:
    """(image-weighted, task-mean) accuracy over the tasks of one row."""
    if correct is None:
        return None
    seen = total[: len(correct)]
    by_image = sum(correct) / sum(seen)
    by_task = sum(c / n for c, n in zip(correct, seen, strict=True)) / len(seen)
    return by_image, by_task


def summarise(correct: Sequence[Row], total: Sequence[int]) -> dict[str, float | None]:
    """All metrics of a run, as fractions.

    acc, acc_taskmean: accuracy after the last task over all test images / mean over tasks.
    maa, maa_taskmean: mean of that accuracy over the times after each task (first included).
    bwt: mean over old tasks of R[T,j] - R[j,j] (Lopez-Paz and Ranzato 2017).
    forgetting: mean over old tasks of max_{t<T} R[t,j] - R[T,j] (Chaudhry et al. 2018).
    learning_acc: mean over tasks of R[j,j]. Exactly: acc_taskmean = learning_acc + bwt (T-1)/T.
    """
    curve = [after_task(row, total) for row in correct]
    last = curve[-1]
    measured = [point for point in curve if point is not None]
    whole = len(measured) == len(curve)
    out: dict[str, float | None] = {
        "acc": last[0] if last else None,
        "acc_taskmean": last[1] if last else None,
        "maa": sum(p[0] for p in measured) / len(measured) if whole else None,
        "maa_taskmean": sum(p[1] for p in measured) / len(measured) if whole else None,
        "bwt": None,
        "forgetting": None,
        "learning_acc": None,
    }
    rows = [row for row in correct if row is not None]
    if len(rows) < len(correct):
        return out
    tasks = len(rows)
    if len(total) < tasks:
        return out  # one test set for all tasks: there are no accuracies per task
    rate = [[c / n for c, n in zip(row, total, strict=False)] for row in rows]
    out["learning_acc"] = sum(rate[j][j] for j in range(tasks)) / tasks
    if tasks > 1:
        old = range(tasks - 1)
        out["bwt"] = sum(rate[-1][j] - rate[j][j] for j in old) / len(old)
        best = [max(rate[t][j] for t in range(j, tasks - 1)) for j in old]
        out["forgetting"] = sum(best[j] - rate[-1][j] for j in old) / len(old)
    return out
