"""Figures that compare rows: stability and plasticity, orders, pairs, ablation, sensitivity."""

from __future__ import annotations

import math

import numpy as np

from analysis.figures import facts
from analysis.figures.facts import Rows
from analysis.figures.style import WIDTH, Drawn, canvas, cloud, legend, line_style
from analysis.runs import load
from analysis.stats import paired, significance
from analysis.tables import comparison


def stability_plasticity(bench: str, rows: Rows) -> Drawn | None:
    """BWT against learning accuracy: one point per unit, and a large point for the mean."""
    figure, (panel,) = canvas(height=2.8)
    drawn = 0
    for index, (row, runs) in enumerate(rows.items()):
        x, y = facts.metric(runs, "learning_acc"), facts.metric(runs, "bwt")
        units = [unit for unit in x if unit in y]
        if not units:
            continue
        cloud(panel, [x[u] for u in units], [y[u] for u in units], row, index)
        drawn += 1
    if not drawn:
        return None
    panel.set(
        xlabel="learning accuracy (%): plasticity", ylabel="BWT (points): stability", title=bench
    )
    legend(figure, panel)
    return Drawn(
        "stability_plasticity",
        figure,
        f"Stability against plasticity on {bench}: small points are orders, large ones means.",
    )


def order_effect(bench: str, rows: Rows) -> Drawn | None:
    """ACC of every order, joined over the rows: shows how much the order alone changes ACC."""
    values = {row: facts.metric(runs, "acc") for row, runs in rows.items()}
    orders = sorted({unit for found in values.values() for unit in found})
    if len(orders) < 2:
        return None
    longest = max(map(len, rows))  # slanted names below the panel need part of the height
    figure, (panel,) = canvas(width=max(WIDTH, 0.45 * len(rows) + 1), height=2.2 + 0.025 * longest)
    for order in orders:
        line = [values[row].get(order, math.nan) for row in values]
        panel.plot(range(len(values)), line, color="0.6", linewidth=0.7, zorder=1, label=order)
    for index, (row, found) in enumerate(values.items()):
        style = line_style(index) | {"linestyle": "none"}
        panel.plot([index] * len(found), list(found.values()), gid=row, zorder=2, **style)
    panel.set_xticks(range(len(values)), list(values), rotation=30, ha="right")
    panel.set(ylabel="ACC (%)", title=bench)
    return Drawn(
        "order_effect",
        figure,
        f"ACC on {bench} for each of {len(orders)} orders; a grey line joins one order. Parallel "
        "lines: the order changes all methods alike, and pairing removes this.",
    )


Pairs = dict[tuple[int, int], significance.Pairing]
"""{(i, j): paired differences of row number i to row number j, i < j}, without pairs of rows that
have no (order, seed) in common."""


def _pairs(rows: Rows) -> Pairs:
    """The paired differences of ACC, in points, of all pairs of rows, computed as in the table."""
    unit = comparison.unit_of([run for runs in rows.values() for run in runs])
    values = [facts.places(runs, "acc") for runs in rows.values()]
    found = {
        (i, j): significance.pair(values[i], values[j], unit)
        for i in range(len(values))
        for j in range(i + 1, len(values))
    }
    return {place: pairing for place, pairing in found.items() if pairing.differences}


def pairwise(bench: str, rows: Rows) -> Drawn | None:
    """Mean paired difference of row i to row j, with a star if the max-T p is below 0.05."""
    pairs = {place: p.differences for place, p in _pairs(rows).items()}
    if not pairs:
        return None
    names = list(rows)
    mean = np.full((len(names), len(names)), np.nan)
    for (i, j), found in pairs.items():
        mean[i, j] = float(np.mean(list(found.values())))
        mean[j, i] = -mean[i, j]
    adjusted = significance.max_t(list(pairs.values()))
    sure = {place for place, p in zip(pairs, adjusted, strict=True) if p < paired.ALPHA}
    most = max(map(len, pairs.values()))
    size = max(2.6, 0.42 * len(names) + 1.4)
    figure, (panel,) = canvas(width=size + 0.8, height=size)
    limit = float(np.nanmax(np.abs(mean))) or 1.0
    image = panel.imshow(mean, cmap="PuOr", vmin=-limit, vmax=limit)
    for (i, j), value in np.ndenumerate(mean):
        if not math.isnan(value):
            star = "*" if (i, j) in sure or (j, i) in sure else ""
            tone = "white" if abs(value) > 0.6 * limit else "black"
            panel.text(
                j, i, f"{value:+z.1f}{star}", ha="center", va="center", fontsize=6, color=tone
            )
    panel.set_xticks(range(len(names)), names, rotation=45, ha="right")
    panel.set_yticks(range(len(names)), names)
    panel.set_title(bench)
    panel.grid(False)
    figure.colorbar(image, ax=panel, label="ACC of row - column (points)", shrink=0.8)
    return Drawn(
        "pairwise",
        figure,
        f"Paired differences of ACC on {bench} over common orders; *: p < "
        f"{paired.ALPHA} (sign-flip test, step-down max-T over the {len(pairs)} pairs)."
        f"{_out_of_reach(most)}",
    )


def _out_of_reach(units: int) -> str:
    """A sentence if no test with this number of units can give p < 0.05; else ''.

    Without the sentence a missing star could be taken for equality.
    """
    if significance.smallest_p(units) < paired.ALPHA:
        return ""
    return f" With {units} orders no pair can reach it, whatever the differences."


def parts(bench: str, rows: Rows) -> Drawn | None:
    """Ablation: ACC and BWT of every row; None if no method has several configurations."""
    methods = [row.partition("[")[0] for row in rows]
    if len(set(methods)) == len(methods):
        return None
    figure, panels = canvas(2, width=2 * WIDTH, height=0.24 * len(rows) + 0.9)
    for panel, (key, title) in zip(
        panels, (("acc", "ACC (%)"), ("bwt", "BWT (points)")), strict=True
    ):
        for index, (row, runs) in enumerate(rows.items()):
            found = list(facts.metric(runs, key).values())
            if not found:
                continue
            mean, _ = significance.mean_std(found)
            half = significance.t_half_width(found)
            colour = line_style(methods.index(row.partition("[")[0]))["color"]
            panel.errorbar(
                [mean or 0.0],
                [index],
                xerr=None if half is None else [half],
                fmt="o",
                color=colour,
                capsize=2,
                label=row,
            )
        panel.set_yticks(range(len(rows)), list(rows))
        panel.invert_yaxis()
        panel.set_xlabel(title)
    panels[1].set_yticklabels([])
    return Drawn(
        "ablation",
        figure,
        f"Configurations on {bench}: mean over orders with 95 % t intervals. These show each "
        "row's own spread; the paired table says which differences hold.",
    )


def sensitivity(bench: str, rows: Rows) -> list[Drawn]:
    """One figure per method and numeric setting that varies: ACC against the setting.

    Each combination of the other settings has a line.
    """
    by_method: dict[str, list[load.RunRecord]] = {}
    for runs in rows.values():
        for run in runs:
            by_method.setdefault(run.method, []).append(run)
    out = []
    for method, runs in by_method.items():
        for name in facts.numeric_settings(runs):
            drawn = _sensitivity(bench, method, name, runs)
            out += [drawn] if drawn else []
    return out


def _sensitivity(bench: str, method: str, name: str, runs: list[load.RunRecord]) -> Drawn | None:
    lines: dict[str, dict[float, list[load.RunRecord]]] = {}
    for run in runs:
        others = {k: load.value_text(v) for k, v in load.settings(run).items() if k != name}
        rest = ",".join(f"{k}={v}" for k, v in sorted(others.items()))
        value = load.settings(run).get(name)
        if isinstance(value, int | float):
            lines.setdefault(rest, {}).setdefault(float(value), []).append(run)
    lines = {rest: found for rest, found in lines.items() if len(found) > 1}
    if not lines:
        return None
    figure, (panel,) = canvas()
    names = _short(list(lines))
    for index, found in enumerate(lines.values()):
        xs = sorted(found)
        units = [list(facts.metric(found[x], "acc").values()) for x in xs]
        means = [float(np.mean(u)) for u in units]
        bars = [significance.mean_std(u)[1] or 0.0 for u in units]
        panel.errorbar(xs, means, yerr=bars, capsize=2, label=names[index], **line_style(index))
    every = sorted({x for found in lines.values() for x in found})
    if min(every) > 0 and max(every) / min(every) >= 8:
        panel.set_xscale("log")
    panel.set_xticks(every, [f"{x:g}" for x in every])
    panel.minorticks_off()
    panel.set(xlabel=name, ylabel="ACC (%)", title=f"{method} on {bench}")
    if len(lines) > 1:
        legend(figure, panel)
    return Drawn(
        f"sensitivity_{method}_{name}",
        figure,
        f"ACC of {method} on {bench} over {name}; bars: one standard deviation over orders.",
    )


def _short(texts: list[str]) -> list[str]:
    """The texts (`name=value,...`) without the settings that all have; `all` if nothing is left."""
    split = [text.split(",") for text in texts]
    common = set(split[0]).intersection(*split[1:])
    return [",".join(part for part in parts_ if part not in common) or "all" for parts_ in split]
