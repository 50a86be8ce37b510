"""Figures over several benches: performance profiles."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from analysis.figures import facts
from analysis.figures.curves import MOST_BANDS
from analysis.figures.facts import Rows
from analysis.figures.style import Drawn, canvas, legend, line_style
from analysis.stats import across_benches as statistics


def profiles(benches: Mapping[str, Rows]) -> Drawn | None:
    """Performance profiles: the share of the units of all benches above each normalised score.

    After Agarwal et al. 2021; scores are those of `stats.across_benches.normalised`. Rows that were
    not measured on every bench are left out. None for fewer than two benches or two such rows.
    """
    common = [
        row
        for row in next(iter(benches.values()), {})
        if all(row in rows and facts.metric(rows[row], "acc") for rows in benches.values())
    ]
    if len(benches) < 2 or len(common) < 2:
        return None
    scores = statistics.normalised(
        {
            row: [np.array([*facts.metric(rows[row], "acc").values()]) for rows in benches.values()]
            for row in common
        }
    )
    every = np.concatenate([values for found in scores.values() for values in found])
    thresholds = np.linspace(float(every.min()) - 0.1, float(every.max()) + 0.1, 101)
    few, banded = len(common) <= MOST_BANDS, False
    figure, (panel,) = canvas()
    for index, row in enumerate(common):
        line = 100 * statistics.performance_profile(scores[row], thresholds.tolist())
        panel.plot(
            thresholds,
            line,
            drawstyle="steps-pre",
            label=row,
            markevery=(index % 10, 10),
            **line_style(index),
        )
        band = statistics.profile_band(scores[row], thresholds.tolist()) if few else None
        if band is not None:
            low, high = 100 * band[0], 100 * band[1]
            shade = {"color": line_style(index)["color"], "alpha": 0.15, "linewidth": 0}
            panel.fill_between(thresholds, low, high, step="pre", **shade)
            banded = True
    panel.set(
        xlabel="ACC, in std from the bench's mean",
        ylabel="units above it (%)",
        title=f"{len(benches)} benches",
    )
    legend(figure, panel)
    return Drawn(
        "profiles",
        figure,
        f"Performance profiles of ACC over {', '.join(benches)}: share of the orders of all "
        "benches above each score (ACC minus the mean of the rows' means on its bench, divided by "
        "the std of all values of that bench). A curve above another is better at every threshold."
        + " Bands: 95 % stratified bootstrap at each threshold."
        * banded,
    )
