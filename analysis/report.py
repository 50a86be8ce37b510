"""The command `python analysis/report.py --sweep smoke --out report.html`: write an HTML report.

The report shows tables, figures, every run, and missing cells, with the commands that reproduce
each number. It is a single file, without links to scripts or images elsewhere. Exit code as
`compare.py`: 0 complete, 2 wrong usage or refused, 3 no runs or missing cells.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

if not __package__:  # started as a file: import from the project's root, not from this folder
    here = Path(__file__).resolve().parent
    sys.path[:] = [str(here.parent), *(p for p in sys.path if p != str(here))]

from analysis import figures, selection
from analysis.blocks import answer, details, grid, published
from analysis.pages import html, run_page
from analysis.pages.reproduce import FILL_IN
from analysis.runs import load, protocol, sweep_lists
from analysis.selection import Selection, print_notice
from analysis.tables import comparison
from janus.errors import JanusError
from janus.one_line import error_text, open_streams, printable

COLUMNS = ("acc", "maa", "bwt", "forgetting", "learning_acc", "seconds", "memory")
PAGE = Path(__file__).parent / "page"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the report; returns the exit code."""
    open_streams()
    p = argparse.ArgumentParser(prog="python analysis/report.py", description=__doc__)
    selection.add_options(p)
    selection.add_test_options(p)
    out = "file to write (default: report.html)"
    p.add_argument("--out", default="report.html", metavar="FILE", help=out)
    runs = "number of runs that are shown one by one (default: 200)"
    p.add_argument("--runs", type=int, default=200, metavar="N", help=runs)
    words = list(sys.argv[1:] if argv is None else argv)
    args = p.parse_args(words)
    try:
        selection.load_outside(args)
        endpoints = selection.metrics(args.endpoint, "--endpoint")
        chosen = selection.select(args)
        if not chosen.runs:
            print_notice(f"no finished runs in {', '.join(map(str, chosen.roots))}")
            selection.warn_missing(chosen)
            return 3
        Path(args.out).write_text(report_page(chosen, args, endpoints, words), encoding="utf-8")
    except (JanusError, OSError) as error:
        print(printable(error_text(error)), file=sys.stderr)
        return 2
    print_notice(f"wrote {args.out}")
    selection.warn_missing(chosen)
    return 3 if chosen.missing else 0


def report_page(
    chosen: Selection, args: argparse.Namespace, endpoints: Sequence[str], words: Sequence[str]
) -> str:
    """The whole report as HTML."""
    table = comparison.build_table(
        chosen.groups,
        chosen.labels,
        COLUMNS,
        chosen.reference,
        chosen.rows or None,
        untested=chosen.untested,
        endpoints=endpoints,
        correction=args.correction,
    )
    title = f"Sweep {args.sweep}" if args.sweep else "Runs"
    sections = {
        "Summary": _summary(chosen),
        "Results": _results(chosen, table),
        "Figures": _figures(chosen, table),
        "Protocol": _protocol(chosen),
        "Failures": _failures(chosen),
        "Reproduce": _reproduce(chosen, words),
        "Every run": _runs(chosen, args.runs),
    }
    links = "".join(f'<li><a href="#{_anchor(name)}">{name}</a></li>' for name in sections)
    body = "".join(
        f'<section id="{_anchor(name)}"><h2>{name}</h2>{content}</section>'
        for name, content in sections.items()
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="icon" href="data:,">'
        f"<style>{(PAGE / 'style.css').read_text()}</style></head><body>"
        f'<a class="skip" href="#results">To the results</a><header><h1>{escape(title)}</h1>'
        f'<nav aria-label="Sections"><ul>{links}</ul></nav></header><main>{body}</main>'
        f"<script>{(PAGE / 'page.js').read_text()}</script></body></html>\n"
    )


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")


def _summary(chosen: Selection) -> str:
    planned = len(chosen.planned.cells) if chosen.planned else None
    seconds = sum(float(load.provenance(run).get("seconds") or 0) for run in chosen.runs)
    facts = {
        "benches": ", ".join(sorted({run.bench for run in chosen.runs})),
        "rows": str(len(set(chosen.labels.values()))),
        "orders": str(len({run.order for run in chosen.runs})),
        "seeds": str(len({run.seed for run in chosen.runs})),
        "runs": f"{len(chosen.runs)}" + (f" of {planned} planned" if planned else ""),
        "missing": str(len(chosen.missing)),
        "training hours": f"{seconds / 3600:.2f}",
        "scored on": ", ".join(sorted({run.eval for run in chosen.runs})),
    }
    pairs = "".join(f"<div><dt>{k}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items())
    return f'<dl class="facts">{pairs}</dl>'


def _results(chosen: Selection, table: comparison.Table) -> str:
    parts = [f'<p class="answer">{escape(text)}</p>' for text in answer.answers(table)]
    parts += [html.block_html(grid.per_bench(table))]
    found = details.build_details(chosen.groups, chosen.labels, table)
    parts.append(html.block_html(details.details_block(found, table)))
    judged = published.judge_all(chosen.groups, chosen.labels)
    if judged.pairs:
        parts.append(html.block_html(published.verdict_block(judged)))
    return "".join(parts)


def _figures(chosen: Selection, table: comparison.Table) -> str:
    drawn = figures.draw_figures(chosen.groups, chosen.labels, table.methods)
    return f'<div class="figures">{"".join(map(html.figure_html, drawn))}</div>'


def _protocol(chosen: Selection) -> str:
    parts = []
    for group in chosen.groups:
        fields = protocol.fields_of(group.runs[0])
        rows = [(name, field.shown) for name, field in sorted(fields.items())]
        marks = "".join(f", {name} {value}" for name, value in group.protocol)
        parts.append(html.plain_table(rows, ("field", "value"), group.bench + marks))
    return "".join(parts)


def _failures(chosen: Selection) -> str:
    rows = [(c.id, c.title, sweep_lists.cell_state(c, chosen.roots)) for c in chosen.missing]
    rows += [(path.stem, str(path), why) for path, why in chosen.loaded.skipped]
    if not rows:
        return (
            "<p>None: every planned cell has a result, and every file in the store is usable.</p>"
        )
    header = ("cell", "title or file", "reason")
    return html.plain_table(rows, header, "Planned cells without a usable result")


def _reproduce(chosen: Selection, words: Sequence[str]) -> str:
    own = argparse.ArgumentParser(add_help=False)  # the options that compare.py does not have
    own.add_argument("--out")
    own.add_argument("--runs")
    options = shlex.join(own.parse_known_args(words)[1])
    lines = []
    if chosen.planned and chosen.planned.command:
        lines += ["# train what is missing (finished cells are never trained again)"]
        lines += [chosen.planned.command, ""]
    lines += [
        "# the tables of this page",
        f"python analysis/compare.py {options} --columns {','.join(COLUMNS)} --details",
        "",
        "# this page",
        f"python analysis/report.py {options}",
    ]
    commits = sorted(
        {
            str((load.provenance(run).get("git") or {}).get("sha") or "not recorded")
            for run in chosen.runs
        }
    )
    note = f"Each run below shows the command that trains it. {FILL_IN}"
    return (
        f"<pre>{escape(chr(10).join(lines))}</pre><p>{note}</p>"
        f"<h3>Commits that trained these runs</h3>{html.bullet_list(commits)}"
    )


def _runs(chosen: Selection, most: int) -> str:
    runs = selection.in_order(chosen)
    left = len(runs) - most
    said = f"<p>{left} further runs are left out (--runs N shows more).</p>" if left > 0 else ""
    sections = "".join(run_page.section(run, chosen.labels[run.id]) for run in runs[:most])
    return (
        '<p class="filter"><label for="filter">Filter by words, e.g. janus order=3</label><br>'
        '<input id="filter" type="search"> <span id="shown" role="status"></span></p>'
        f"{said}{sections}"
    )


if __name__ == "__main__":
    sys.exit(main())
