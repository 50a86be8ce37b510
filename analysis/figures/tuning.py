"""The figure of a tuning sweep: the best validation ACC against the training time spent.

ACC against each single setting is drawn by `spread.sensitivity`, as for any other sweep.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

from analysis.figures import facts
from analysis.figures.facts import Rows
from analysis.figures.style import Drawn, canvas, legend, line_style
from analysis.runs.load import RunRecord
from analysis.stats import significance

LEAST = 3
"""Smallest number of configurations with which a method gets a line."""


def best_so_far(bench: str, rows: Rows) -> Drawn | None:
    """The best mean validation ACC of each method so far, against its training seconds so far.

    Configurations are counted in the order of `rows`. None for runs that were scored on test
    images, and if no method has LEAST configurations.
    """
    lines: dict[str, list[tuple[float, float]]] = {}
    for runs in rows.values():
        if any(run.cell["bench"].get("eval") != "validation" for run in runs):
            return None
        mean, _ = significance.mean_std(list(facts.metric(runs, "acc").values()))
        if mean is not None:
            lines.setdefault(runs[0].method, []).append((_seconds(runs), mean))
    lines = {method: found for method, found in lines.items() if len(found) >= LEAST}
    if not lines:
        return None
    figure, (panel,) = canvas()
    for index, (method, found) in enumerate(lines.items()):
        spent = list(accumulate(seconds for seconds, _ in found))
        best = list(accumulate((acc for _, acc in found), max))
        label = f"{method} ({len(found)} configurations)"
        panel.step(spent, best, where="post", label=label, **line_style(index))
    panel.set(xlabel="training seconds, added up", ylabel="best ACC so far (%)", title=bench)
    legend(figure, panel)
    return Drawn(
        "tuning",
        figure,
        f"Tuning on {bench}: the best mean ACC on validation images so far, against the training "
        "seconds spent on a row's configurations, in the table's order.",
    )


def _seconds(runs: Sequence[RunRecord]) -> float:
    """Training seconds of all runs of a configuration; those not recorded count as 0."""
    return math.fsum((facts.seconds(run) or [0.0])[-1] for run in runs)
