"""The command `python analysis/compare.py --store runs`: print the table of finished runs.

stdout holds the table, in the text format followed by sentences on the leading rows; warnings go to
stderr. Exit code 0: complete; 2: wrong usage, or the comparison was refused; 3: no runs, or planned
cells are missing.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as a file: import from the project's root, not from this folder
    here = Path(__file__).resolve().parent
    sys.path[:] = [str(here.parent), *(p for p in sys.path if p != str(here))]

from analysis import selection
from analysis.blocks.grid import Block
from analysis.formats import csv_json, latex, plain_text
from analysis.runs import filters
from analysis.selection import Selection, print_notice
from analysis.stats.paired import AVERAGE
from analysis.tables import comparison
from janus.errors import ConfigError, JanusError, suggest
from janus.one_line import drop_stdout, explain_os_error, open_streams, printable

COMPLETE, USAGE, INCOMPLETE = 0, 2, 3
NOT_IN_CSV = "{}: not in CSV, where a line holds one number; --format json has them"
FORMATS = {
    "text": plain_text.to_text,
    "markdown": plain_text.to_markdown,
    "latex": latex.to_latex,
    "csv": csv_json.to_csv,
    "json": csv_json.table_json,
}


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    p = argparse.ArgumentParser(
        prog="python analysis/compare.py",
        description="Table of finished runs: means, and paired differences to a reference.",
        epilog="Exit code 0: complete; 2: wrong usage, or the comparison was refused; 3: no runs, "
        "or planned cells are missing.",
    )
    selection.add_options(p)
    selection.add_test_options(p)
    p.add_argument(
        "--wandb",
        metavar="WHERE",
        help="read the runs from W&B instead of the store: a folder of offline runs, or "
        "ENTITY/PROJECT online",
    )
    p.add_argument(
        "--columns",
        default="acc,maa,bwt",
        metavar="NAME[,NAME]",
        help=f"metrics to show: {', '.join(comparison.COLUMNS)}; or all (default: acc,maa,bwt)",
    )
    p.add_argument(
        "--format",
        choices=(*FORMATS, "long"),
        default="text",
        help="output format (default: text); long: CSV with one line per cell and metric of "
        "--columns",
    )
    p.add_argument(
        "--spread",
        choices=("std", "ci"),
        default="std",
        help="value after ±: std (ddof 1), or half of the 95 %% t interval (default: std)",
    )
    p.add_argument(
        "--sort",
        choices=("file", "acc"),
        default="file",
        help="order of the rows: file, as in the sweep file or by name (default); acc, the best "
        "mean of the first ranked endpoint first",
    )
    p.add_argument(
        "--details",
        action="store_true",
        help="also print statistics across benches, the standard deviations due to order and to "
        "seed, and the number of additional orders that a test needs",
    )
    p.add_argument(
        "--images",
        action="store_true",
        help="also print differences over single test images: standard errors, an interval over "
        "orders and images, McNemar's test",
    )
    p.add_argument(
        "--published",
        action="store_true",
        help="also print published figures, and a verdict on each measured figure that has a "
        "published one; without a store the published figures alone",
    )
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table that `argv` asks for; return the exit code."""
    open_streams()
    args = parser().parse_args(argv)
    try:
        return compare(args)
    except JanusError as error:
        print(printable(f"{type(error).__name__}: {error}"), file=sys.stderr)
        return USAGE
    except BrokenPipeError:  # the reader of the pipe, such as `head`, has closed it
        drop_stdout()
        return COMPLETE
    except OSError as error:
        if error.filename is None:  # a full disk behind `> FILE`
            drop_stdout()
        print(printable(f"error: {explain_os_error(error)}"), file=sys.stderr)
        return USAGE


def compare(args: argparse.Namespace) -> int:
    """Print the table of the selected runs; returns the exit code.

    Raises JanusError for errors that the user must correct.
    """
    selection.load_outside(args)
    metrics = selection.metrics(args.columns, "--columns")
    endpoints = selection.metrics(args.endpoint, "--endpoint")
    if args.published and not args.store and not selection.roots_of(args)[0].is_dir():
        return _print_published(args)
    chosen = selection.select(args, _fields_of_published(args))
    if not chosen.runs:
        what = " that match" if chosen.loaded.runs else ""
        print_notice(f"no finished runs{what} in {', '.join(map(str, chosen.roots))}")
        selection.warn_missing(chosen)
        if args.published and chosen.planned is None:
            print_notice("published figures alone:")
            return _print_published(args)
        return INCOMPLETE
    if args.format == "long":
        for option in ("details", "images", "published"):
            if getattr(args, option):
                print_notice(f"--{option}: not in the long format, where a line holds one run")
        return _print_long(chosen, metrics)
    table = comparison.build_table(
        chosen.groups,
        chosen.labels,
        metrics,
        chosen.reference,
        chosen.rows,
        args.spread,
        chosen.untested,
        endpoints,
        args.correction,
    )
    if args.sort == "acc":
        table = comparison.ranked(table)
    extra, records = _extra(args, chosen, table)
    _print(table, args.format, extra, records)
    if args.format == "text":
        _print_answers(table)
    _warn_unpaired(table)
    _warn_untested(table)
    for caution in table.cautions if args.format == "csv" else ():
        print_notice(caution)  # the other formats print it below the table
    selection.warn_missing(chosen)
    return INCOMPLETE if chosen.missing else COMPLETE


def _print_long(chosen: Selection, metrics: Sequence[str]) -> int:
    """Print CSV with one line per run and metric; returns the exit code."""
    from analysis.formats import long_form
    from analysis.tables import cautions

    sys.stdout.write(long_form.to_long(chosen.groups, chosen.labels, metrics, chosen.rows))
    for caution in cautions.of_runs(chosen.groups, chosen.labels):
        print_notice(caution)
    selection.warn_missing(chosen)
    return INCOMPLETE if chosen.missing else COMPLETE


def _fields_of_published(args: argparse.Namespace) -> list[str]:
    """With --published, the values of --allow that are fields of published figures alone."""
    return ["order", "normalisation", "weighting"] if args.published else []


def _extra(
    args: argparse.Namespace, chosen: Selection, table: comparison.Table
) -> tuple[list[Block], dict[str, object]]:
    """The blocks that options such as --details add, and the same content as records for JSON and
    CSV by name."""
    blocks: list[Block] = []
    records: dict[str, object] = {}
    if args.details:
        from analysis.blocks import details

        found = details.build_details(chosen.groups, chosen.labels, table)
        blocks.append(details.details_block(found, table))
        records["details"] = details.details_json(found)
        if args.format == "csv":
            print_notice(NOT_IN_CSV.format("--details"))
    if args.images:
        from analysis.blocks import image_comparisons

        by_image = image_comparisons.compare_images(chosen.groups, chosen.labels, table)
        blocks.append(image_comparisons.images_block(by_image, table))
        records["images"] = image_comparisons.images_json(by_image)
        for remark in by_image.remarks:
            print_notice(remark)
        if args.format == "csv":
            print_notice(NOT_IN_CSV.format("--images"))
    if args.published:
        from analysis.blocks import published

        allow = filters.split_names(args.allow)
        benches = filters.split_names(args.bench) or {run.bench for run in chosen.runs}
        judged = published.judge_all(chosen.groups, chosen.labels, allow)
        blocks.append(published.figures_block(benches))
        records["published"] = published.figure_records(benches)
        if judged.pairs:
            blocks.append(published.verdict_block(judged, allow))
        elif judged.left_out:
            print_notice(f"nothing to judge. {published.left_out_text(judged)}")
        else:
            print_notice("no published figure is on these benches: nothing to judge")
        records["verdicts"] = published.verdict_records(judged)
        records["verdicts_left_out"] = judged.left_out
    return [block for block in blocks if any(grid.rows for grid in block.grids)], records


def _print_published(args: argparse.Namespace) -> int:
    """Print only the published figures; returns the exit code.

    Raises ConfigError if there are none on the benches of --bench.
    """
    from analysis.blocks import published
    from analysis.published import read_csv

    wanted = filters.split_names(args.bench)
    block = published.figures_block(wanted)
    if not block.grids[0].rows:
        known = {figure.bench for figure in read_csv.summaries()}
        names = ", ".join(wanted)
        raise ConfigError(f"--bench: nothing published on {names}.{suggest(names, known)}")
    _print(None, args.format, [block], {"published": published.figure_records(wanted)})
    return COMPLETE


def _print(
    table: comparison.Table | None,
    form: str,
    extra: Sequence[Block],
    records: dict[str, object],
) -> None:
    if form == "text" and sys.stdout.isatty():
        plain_text.print_terminal(table, sys.stdout, extra)
    elif form in ("csv", "json"):
        sys.stdout.write(FORMATS[form](table, records))  # type: ignore[operator]
    else:
        sys.stdout.write(FORMATS[form](table, extra))  # type: ignore[operator]
    sys.stdout.flush()


def _print_answers(table: comparison.Table) -> None:
    """Print below the table, for each bench, a sentence on the leading row."""
    from analysis.blocks import answer

    for sentence in answer.answers(table):
        print(printable(f"\n{sentence}"))


def _warn_untested(table: comparison.Table) -> None:
    """Print a warning for each requested endpoint that no run measured."""
    compared = {d.metric for d in table.differences}
    measured = {key for _, _, key in table.entries}
    for metric in table.endpoints:
        if table.reference is not None and metric.key not in compared | measured:
            print_notice(
                f"--endpoint: {metric.key} was not measured in these runs, so nothing is compared"
            )


def _warn_unpaired(table: comparison.Table) -> None:
    for d in table.differences:
        if d.metric != table.endpoints[0].key or d.column is AVERAGE:
            continue  # the same runs are missing for other endpoints and for the average
        for name, lacks, other in (
            (d.method, d.method_lacks, d.reference),
            (d.reference, d.reference_lacks, d.method),
        ):
            if lacks:
                places = ", ".join(f"order={order} seed={seed}" for order, seed in lacks[:5])
                places += f" and {len(lacks) - 5} more" if len(lacks) > 5 else ""
                print_notice(
                    f"{d.column.title}: {name} lacks {places}, which {other} has: left out of "
                    f"their differences (n = {d.n} {d.column.unit}s)"
                )


if __name__ == "__main__":
    gc.disable()  # a short process; saves a third of the time with many runs
    sys.exit(main())
