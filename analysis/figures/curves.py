"""Figures over the sequence of tasks: accuracy, training time, and the accuracy matrix."""

from __future__ import annotations

import numpy as np
from matplotlib.ticker import MaxNLocator

from analysis.figures import facts
from analysis.figures.facts import Rows
from analysis.figures.style import WIDTH, Drawn, canvas, folded, legend, line_style, write_values
from analysis.published.read_csv import published_figures

MOST_BANDS = 8
"""Largest number of rows for which curves have bands."""

MOST_MATRICES = 9
"""Largest number of accuracy matrices in one figure."""


def after_each_task(bench: str, rows: Rows) -> Drawn | None:
    """Accuracy over all classes seen after each task; the band is one std over the units."""
    figure, (panel,) = canvas()
    counts = []
    for index, (row, runs) in enumerate(rows.items()):
        values = facts.over_units(runs, facts.curve)
        if not len(values):
            continue
        counts.append(len(values))
        tasks = np.arange(1, values.shape[1] + 1)
        mean = values.mean(axis=0)
        panel.plot(tasks, mean, label=row, **line_style(index))
        if len(values) > 1 and len(rows) <= MOST_BANDS:
            std = values.std(axis=0, ddof=1)
            panel.fill_between(
                tasks,
                mean - std,
                mean + std,
                color=line_style(index)["color"],
                alpha=0.15,
                linewidth=0,
            )
    if not counts:
        return None
    panel.set(xlabel="task", ylabel="accuracy on classes seen (%)", title=bench)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(figure, panel)
    bands = (
        "; bands: one standard deviation (ddof 1)."
        if len(rows) <= MOST_BANDS
        else "; no bands, because those of so many rows would overlap."
    )
    return Drawn(
        "accuracy_after_task",
        figure,
        f"Accuracy after each task on {bench}, mean over {_range(counts)} units{bands}",
    )


def _range(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def training_time(bench: str, rows: Rows) -> Drawn | None:
    """Training time in seconds, summed over the tasks so far."""
    figure, (panel,) = canvas()
    drawn = 0
    for index, (row, runs) in enumerate(rows.items()):
        values = facts.over_units(runs, facts.seconds)
        if len(values):
            mean = values.mean(axis=0)
            panel.plot(np.arange(1, len(mean) + 1), mean, label=row, **line_style(index))
            drawn += 1
    if not drawn:
        return None
    panel.set(xlabel="task", ylabel="training time (s)", title=bench)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(figure, panel)
    return Drawn(
        "training_time",
        figure,
        f"Cumulative training time on {bench}, mean over units, as measured on the machines that "
        "ran them: comparable only where these were alike and equally busy.",
    )


def rows_shown(rows: Rows) -> Rows:
    """The first rows, as many as MOST_MATRICES allows, and the last row (the reference)."""
    names = list(rows)
    if len(names) > MOST_MATRICES:
        names = [*names[: MOST_MATRICES - 1], names[-1]]
    return {name: rows[name] for name in names}


def accuracy_matrices(bench: str, rows: Rows) -> Drawn | None:
    """The accuracy matrix R[t, j] of each row, mean over its runs."""
    shown = list(rows_shown(rows).items())
    if not shown:
        return None
    columns = min(3, len(shown))
    lines = -(-len(shown) // columns)
    folds = max(folded(row).count("\n") for row, _ in shown)
    height = (2.3 + 0.12 * folds) * lines + 0.3
    figure, panels = canvas(columns, width=2 * WIDTH, height=height, rows=lines)
    means = [np.mean([facts.matrix(run) for run in runs], axis=0) for _, runs in shown]
    low = min(float(np.nanmin(mean)) for mean in means)
    high = max(float(np.nanmax(mean)) for mean in means)
    for panel, (row, _), mean in zip(panels, shown, means, strict=False):
        image = panel.imshow(mean, vmin=low, vmax=high, cmap="viridis", aspect="equal")
        write_values(panel, mean.tolist(), (low + high) / 2)
        panel.set(xlabel="tested on task", ylabel="after task")
        panel.set_title(folded(row))
        panel.grid(False)
        ticks = range(0, len(mean), max(1, len(mean) // 5))
        panel.set_xticks(list(ticks), [str(t + 1) for t in ticks])
        panel.set_yticks(list(ticks), [str(t + 1) for t in ticks])
    for panel in panels[len(shown) :]:
        panel.set_axis_off()
    figure.colorbar(image, ax=panels, label="accuracy (%)", shrink=0.8)
    left_out = len(rows) - len(shown)
    more = f" {left_out} further rows are not drawn." if left_out else ""
    return Drawn(
        "accuracy_matrices",
        figure,
        f"Accuracy on each task after each task on {bench}, mean over runs.{more}",
    )


def published_trajectory() -> Drawn:
    """The paper's figure of accuracy after each task, drawn again from points read off it."""
    figure, (panel,) = canvas(height=2.9)
    points: dict[str, dict[int, float]] = {}
    for f in published_figures():
        if f.source == "janus-lora" and f.metric == "acc_after_task" and f.at is not None:
            points.setdefault(f.title, {})[f.at] = f.mean
    for index, (title, found) in enumerate(points.items()):
        tasks = sorted(found)
        panel.plot(tasks, [found[t] for t in tasks], label=title, **line_style(index))
    panel.set(xlabel="task", ylabel="accuracy on classes seen (%)", title="ImageNet-R (published)")
    legend(figure, panel)
    return Drawn(
        "published_trajectory",
        figure,
        "Published, not measured here: Janus-LoRA's trajectories on ImageNet-R, 10 tasks, one run "
        "each, read off the curves to ±0.2 points; hidden points are missing.",
    )
