"""Writes `REPRODUCIBILITY.md`: the cells, commits and commands behind each number of the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from analysis.blocks.grid import NONE, number_text
from analysis.pages.reproduce import FILL_IN, cell_command
from analysis.runs import load, protocol
from analysis.runs.load import RunRecord
from analysis.selection import Selection, in_order
from analysis.tables.comparison import Table

OTHER_TABLES = (
    "* Paired differences (`main.tex`): the cells of the row and those of its reference, above, "
    "over the orders and seeds that both have.",
    "* `details.tex`: ACC from the same cells as `main.tex`.",
    "* `verdicts.tex`, where published figures exist: ours from the same cells as `main.tex`, "
    "theirs from `analysis/published/figures.csv`.",
    "* `published_*.tex`: copied from `analysis/published/figures.csv`; they hold no cell of ours.",
    "* `numbers.json`: `main.tex`, `details.tex` and `verdicts.tex` at full precision.",
)
"""Lines on tables without a section of their own: their cells are listed elsewhere on the page, or
they have none."""


def page_text(
    chosen: Selection, found: Mapping[str, Table], drawn: Sequence[str], words: str
) -> str:
    """The page, as Markdown, for the tables `found` and the figures named `drawn`.

    `words`: the options of `analysis/paper.py`, which wrote them.
    """
    parts = [
        "# Where each number comes from",
        "",
        "Written by the command below from the run store; nothing here is typed by hand.",
        "",
        "```sh",
        f"python analysis/paper.py {words}",
        "```",
        "",
    ]
    if chosen.planned and chosen.planned.command:
        parts += ["The runs were made with", "", f"```sh\n{chosen.planned.command}\n```", ""]
    parts += _missing(chosen)
    parts += _protocols(chosen)
    for name, table in found.items():
        parts += [f"## tables/{name}.tex", "", *_numbers(chosen, table), ""]
    parts += ["## Further tables", "", *OTHER_TABLES, ""]
    parts += ["## Figures", "", *(f"* `figures/{name}.pdf`" for name in drawn), ""]
    parts += ["All figures of a bench rest on all cells of that bench, listed here.", ""]
    parts += ["## Cells", "", FILL_IN, "", *_cells(chosen)]
    return "\n".join(parts).rstrip() + "\n"


def _missing(chosen: Selection) -> list[str]:
    if not chosen.missing:
        return []
    lines = [f"* `{cell.id}` {cell.title}" for cell in chosen.missing]
    return [f"**Incomplete: {len(lines)} planned cells have no result.**", "", *lines, ""]


def _protocols(chosen: Selection) -> list[str]:
    out = ["## Protocol", ""]
    for group in chosen.groups:
        fields = protocol.fields_of(group.runs[0])
        out += [f"`{group.bench}`: " + "; ".join(f"{k} {f.shown}" for k, f in fields.items()), ""]
    return out


def _numbers(chosen: Selection, table: Table) -> list[str]:
    """The lines of a Markdown table: per bench and row the values, n, commits and cells."""
    metrics = " | ".join(metric.title for metric in table.metrics)
    out = [
        f"| bench | row | {metrics} | units | commits | cells |",
        "|" + " :-- |" * 2 + " --: |" * (len(table.metrics) + 1) + " :-- |" * 2,
    ]
    for index, (column, group) in enumerate(zip(table.columns, chosen.groups, strict=True)):
        for method in table.methods:
            runs = [run for run in group.runs if chosen.labels[run.id] == method]
            if not runs:
                continue
            shown = []
            for metric in table.metrics:
                entry = table.entry(method, index, metric.key)
                shown.append(
                    f"{number_text(entry.mean, metric)} ± {number_text(entry.std, metric)}"
                    if entry
                    else NONE
                )
            units = f"{table.units(method, index)} {column.unit}s"
            cells = " ".join(f"`{run.id}`" for run in runs)
            commits = ", ".join(sorted({f"`{commit_of(run)}`" for run in runs}))
            line = [column.title, method, *shown, units, commits, cells]
            out.append(f"| {' | '.join(line)} |")
    return out


def commit_of(run: RunRecord) -> str:
    """The commit that trained the run, followed by `+` if there were uncommitted changes."""
    git = load.provenance(run).get("git") or {}
    sha = str(git.get("sha") or "not recorded")[:12]
    return sha + ("+" if git.get("dirty") else "")


def _cells(chosen: Selection) -> list[str]:
    out = []
    for run in in_order(chosen):
        out += [f"* `{run.id}` {run.title}, commit `{commit_of(run)}`:", ""]
        out += [f"      {cell_command(load.record(run)['cell'])}", ""]
    return out
