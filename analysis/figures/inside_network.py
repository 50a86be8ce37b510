"""Figures of diagnostics inside the network: null-space violation, overlap with old classes."""

from __future__ import annotations

import numpy as np

from analysis.figures import facts
from analysis.figures.facts import Rows
from analysis.figures.style import WIDTH, Drawn, canvas, cloud, legend, line_style
from analysis.published.read_csv import published_figures

PROJECTIONS = (("k", "K"), ("v", "V"))


def null_space_violation(bench: str, rows: Rows) -> Drawn | None:
    """|dW X_past| by block for K and V: the change of outputs on past inputs by a task's update."""
    figure, panels = canvas(2, width=2 * WIDTH, height=2.6)
    drawn = 0
    for panel, (key, title) in zip(panels, PROJECTIONS, strict=True):
        for index, (row, runs) in enumerate(rows.items()):
            found = [v for run in runs if (v := facts.violation(run, key)) is not None]
            if found:
                mean = np.mean(found, axis=0)
                panel.plot(range(len(mean)), mean, label=row, **line_style(index))
                drawn += 1
        panel.set(xlabel="block", title=f"{bench}, {title}")
        panel.set_ylim(bottom=0)
    if not drawn:
        return None
    panels[0].set_ylabel(r"$\|\Delta W X_{past}\|_F$")
    legend(figure, panels[0])
    return Drawn(
        "null_space_violation",
        figure,
        f"Null-space violation on {bench} by block, against held-out inputs of past tasks, "
        "mean over tasks and runs (un-normalised).",
    )


def feature_invasion(bench: str, rows: Rows) -> Drawn | None:
    """Cosine to the nearest old class centre against cosine to the own centre, a point per task."""
    figure, (panel,) = canvas(height=2.8)
    drawn = 0
    for index, (row, runs) in enumerate(rows.items()):
        points = [pair for run in runs for pair in facts.overlap_per_task(run)]
        if not points:
            continue
        own, other = zip(*points, strict=True)
        cloud(panel, own, other, row, index)
        drawn += 1
    if not drawn:
        return None
    panel.set(
        xlabel="cosine to own class centre", ylabel="cosine to nearest old centre", title=bench
    )
    legend(figure, panel)
    return Drawn(
        "feature_invasion",
        figure,
        f"Feature invasion on {bench}: test features of each new task; large points are means. "
        "Lower: new classes stay away from old ones.",
    )


def published_violation() -> Drawn:
    """The paper's bars with and without rectification, redrawn from heights read off its figure."""
    figure, panels = canvas(2, width=2 * WIDTH, height=2.4)
    for panel, (key, title) in zip(panels, PROJECTIONS, strict=True):
        rows: dict[str, dict[int, float]] = {}
        for f in published_figures():
            if f.metric == f"violation_{key}" and f.at is not None:
                rows.setdefault(f.title.removeprefix("Janus "), {})[f.at] = f.mean
        for index, (row, found) in enumerate(rows.items()):
            blocks = np.array(sorted(found))
            panel.bar(
                blocks + 0.4 * index - 0.2,
                [found[b] for b in blocks],
                width=0.38,
                label=row,
                color=line_style(index)["color"],
                edgecolor="white",
                linewidth=0,
                hatch="" if index else "////",  # in grey print the two colours look alike
            )
        panel.set(xlabel="block", title=f"{title} (published)")
    panels[0].set_ylabel(r"$\|\Delta W X_{past}\|_F$")
    legend(figure, panels[0])
    return Drawn(
        "published_violation",
        figure,
        "Published, not measured here: Janus-LoRA's null-space violation by block, read off the "
        "bars to ±0.005; the data set is not named.",
    )
