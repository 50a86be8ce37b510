"""The command `python analysis/paper.py --sweep smoke --out paper`: write a folder for a paper.

The folder holds every table as LaTeX, every figure as PDF and PNG, the published tables and figures
in files of their own, one document that shows all tables, and `REPRODUCIBILITY.md` with the cells
and commits from which each number was computed. Exit code as `compare.py`: 0 complete, 2 wrong
usage or refused, 3 no runs or missing cells. `--published-only` needs no store.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

if not __package__:  # started as a file: import from the project's root, not from this folder
    here = Path(__file__).resolve().parent
    sys.path[:] = [str(here.parent), *(p for p in sys.path if p != str(here))]

from analysis import figures, selection
from analysis.blocks import details, grid, published, published_tables
from analysis.formats import csv_json, latex
from analysis.pages import reproducibility
from analysis.selection import Selection, print_notice
from analysis.tables import comparison
from janus.errors import JanusError
from janus.one_line import error_text, open_streams, printable

COLUMN_SETS = {
    "main": ("acc", "maa", "bwt"),
    "stability": ("forgetting", "learning_acc", "acc_taskmean", "maa_taskmean"),
    "cost": ("seconds", "memory", "kept"),
}
"""{file name of a table of our runs: its columns}."""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the folder; returns the exit code."""
    open_streams()
    p = argparse.ArgumentParser(prog="python analysis/paper.py", description=__doc__)
    selection.add_options(p)
    selection.add_test_options(p)
    p.add_argument("--out", default="paper", metavar="DIR", help="folder to write (default: paper)")
    only = "write only the published tables and figures"
    p.add_argument("--published-only", action="store_true", help=only)
    words = list(sys.argv[1:] if argv is None else argv)
    args = p.parse_args(words)
    folder = Path(args.out)
    try:
        selection.load_outside(args)
        endpoints = selection.metrics(args.endpoint, "--endpoint")
        names = _published(folder)
        missing = False
        if not args.published_only:
            chosen = selection.select(args)
            if not chosen.runs:
                print_notice(f"no finished runs in {', '.join(map(str, chosen.roots))}")
                selection.warn_missing(chosen)
                return 3
            ours = _ours(folder, chosen, endpoints, args.correction, shlex.join(words))
            names = [*ours, *names]
            selection.warn_missing(chosen)
            missing = bool(chosen.missing)
        _write(folder / "tables.tex", _document(names))
    except (JanusError, OSError) as error:
        print(printable(error_text(error)), file=sys.stderr)
        return 2
    print_notice(
        f"wrote {folder}/ (all tables: pdflatex -output-directory {folder} {folder}/tables.tex)"
    )
    return 3 if missing else 0


def _published(folder: Path) -> list[str]:
    """Write the published tables and figures; returns the names of the tables."""
    names = []
    for layout, block in published_tables.all_tables():
        names.append(f"published_{layout.key}")
        text = latex.table_of(block, f"{latex.tex(layout.caption)}.", f"tab:{names[-1]}")
        _write(folder / "tables" / f"{names[-1]}.tex", text)
    for drawn in figures.draw_published():
        figures.save_figure(drawn, folder / "figures")
    return names


def _ours(
    folder: Path, chosen: Selection, endpoints: Sequence[str], correction: str, words: str
) -> list[str]:
    """Write our tables, figures and `REPRODUCIBILITY.md`; returns the names of the tables."""
    found = {
        name: comparison.build_table(
            chosen.groups,
            chosen.labels,
            columns,
            chosen.reference,
            chosen.rows or None,
            untested=chosen.untested,
            endpoints=endpoints,
            correction=correction,
        )
        for name, columns in COLUMN_SETS.items()
    }
    main_table = found["main"]
    blocks = {  # the paired comparison stands in the main table only
        name: grid.blocks(table if name == "main" else replace(table, differences=()))[0]
        for name, table in found.items()
    }
    extra = details.build_details(chosen.groups, chosen.labels, main_table)
    blocks["details"] = details.details_block(extra, main_table)
    judged = published.judge_all(chosen.groups, chosen.labels)
    if judged.pairs:
        blocks["verdicts"] = published.verdict_block(judged)
    for name, block in blocks.items():
        text = latex.table_of(block, label=f"tab:{name}")
        _write(folder / "tables" / f"{name}.tex", text)
    records = {
        "details": details.details_json(extra),
        "verdicts": published.verdict_records(judged),
    }
    _write(folder / "numbers.json", csv_json.table_json(main_table, records))
    drawn = figures.draw_figures(chosen.groups, chosen.labels, main_table.methods)
    for figure in drawn:
        figures.save_figure(figure, folder / "figures")
    text = reproducibility.page_text(chosen, found, [d.name for d in drawn], words)
    _write(folder / "REPRODUCIBILITY.md", text)
    return list(blocks)


def _document(names: Sequence[str]) -> str:
    """The text of a LaTeX document that shows every table once."""
    body = "\n\\clearpage\n".join(rf"\input{{tables/{name}.tex}}" for name in names)
    return f"{latex.PREAMBLE}{body}\n\\end{{document}}\n"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
