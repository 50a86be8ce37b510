"""Draws all figures of the selected runs, and two of the paper's from published numbers.

To add a figure, write a function in a file of this folder that returns a `Drawn` or None, and add
it to `ONE_EACH`. From outside of this project: `janus.plugins.register_figure`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from analysis.figures import across_benches, curves, facts, inside_network, spread, tuning
from analysis.figures.style import Drawn, save_figure, styled
from analysis.runs.protocol import Group
from janus import plugins

__all__ = ["Drawn", "draw_figures", "draw_published", "save_figure"]

ONE_EACH = (
    curves.after_each_task,
    spread.stability_plasticity,
    spread.order_effect,
    spread.pairwise,
    spread.parts,
    curves.accuracy_matrices,
    inside_network.null_space_violation,
    inside_network.feature_invasion,
    curves.training_time,
    tuning.best_so_far,
)


def draw_figures(
    groups: Sequence[Group], labels: Mapping[str, str], order: Sequence[str]
) -> list[Drawn]:
    """Every figure for which the runs have data, bench by bench; its name begins with the bench.

    `order`: the row names in the order in which rows are drawn.
    """
    out: list[Drawn] = []
    outside = [entry.value for entry in plugins.every("figure")]
    benches = [group.bench for group in groups]
    for number, group in enumerate(groups):
        bench = group.bench + (f"_{number + 1}" if benches.count(group.bench) > 1 else "")
        rows = facts.rows_of(group, labels, order)
        with styled():
            found = [make(group.bench, rows) for make in (*ONE_EACH, *outside)]
            found += spread.sensitivity(group.bench, rows)
        out += [replace(d, name=f"{bench}_{d.name}") for d in found if d is not None]
    if len(set(benches)) == len(benches):  # not if a bench has several protocols
        named = {g.bench: facts.rows_of(g, labels, order) for g in groups}
        with styled():
            profiles = across_benches.profiles(named)
        out += [profiles] if profiles else []
    return out


def draw_published() -> list[Drawn]:
    """The paper's figures that can be redrawn from published numbers."""
    with styled():
        return [curves.published_trajectory(), inside_network.published_violation()]
