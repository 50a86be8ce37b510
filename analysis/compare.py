"""Print the comparison table of finished runs: `python analysis/compare.py --store runs`.

stdout carries the table and nothing else; warnings and counts go to stderr. Exit code 0: complete;
2: wrong usage, or the comparison was refused; 3: nothing to show, or planned cells are missing.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as a file: find the project, and import nothing from beside it
    here = Path(__file__).resolve().parent
    sys.path[:] = [str(here.parent), *(p for p in sys.path if p != str(here))]

from analysis import choose, export, load, plan, protocol, render, tables
from analysis.load import Run
from janus.errors import ConfigError, JanusError, suggest

COMPLETE, USAGE, INCOMPLETE = 0, 2, 3
FORMATS = {
    "text": render.to_text,
    "markdown": render.to_markdown,
    "latex": render.to_latex,
    "csv": export.to_csv,
    "json": export.to_json,
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python analysis/compare.py",
        description="Table of finished runs: means, and paired differences to a reference.",
        epilog="Exit code 0: complete; 2: usage or refused; 3: planned cells are missing.",
    )

    def several(option: str, metavar: str, text: str) -> None:
        p.add_argument(option, action="append", default=[], metavar=metavar, help=text)

    several("--store", "DIR", "run store (default: runs); may be repeated")
    several("--bench", "NAME[,NAME]", "benches to show (default: all)")
    several(
        "--methods",
        "ROW[,ROW]",
        "rows to show, in this order (default: all); janus[rank=4] picks configurations",
    )
    several(
        "--where",
        "KEY=VALUE",
        "keep runs with this field, e.g. train.epochs=5; values of one key are alternatives",
    )
    p.add_argument(
        "--eval",
        choices=("test", "validation"),
        default="test",
        help="which images the runs were scored on (default: test)",
    )
    p.add_argument("--reference", metavar="ROW", help="row to compare to (default: janus)")
    p.add_argument(
        "--columns",
        default="acc,maa,bwt",
        metavar="NAME[,NAME]",
        help=f"of {', '.join(tables.METRICS)} (default: acc,maa,bwt)",
    )
    p.add_argument("--format", choices=FORMATS, default="text", help="default: text")
    p.add_argument("--sweep", metavar="NAME", help="show this sweep's cells, list missing ones")
    p.add_argument("--expect", metavar="FILE", help='list of {"id", "title"} that must be there')
    several(
        "--allow",
        "FIELD[,FIELD]",
        "protocol fields that may differ: printed side by side, never averaged or tested",
    )
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table that `argv` asks for; return the exit code."""
    args = parser().parse_args(argv)
    try:
        return compare(args)
    except JanusError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return USAGE
    except BrokenPipeError:  # `| head` has seen enough; Python must not complain at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return COMPLETE


def compare(args: argparse.Namespace) -> int:
    """Load, select, check, print. Raises JanusError for what the user must mend."""
    roots = [Path(root) for root in args.store or ["runs"]]
    metrics = _metrics(args.columns)
    loaded = load.load(roots)
    _warn_skipped(loaded)
    planned = _planned(args, roots)
    runs = _select(args, loaded.runs, planned)
    missing = _missing(args, planned, {run.id for run in loaded.runs})
    if not runs:
        what = " that match" if loaded.runs else ""
        _say(f"no finished runs{what} in {', '.join(map(str, roots))}")
        _warn_missing(missing, planned, roots)
        return INCOMPLETE

    labels = load.labels(runs) | _sweep_rows(planned, runs)
    rows = choose.rows(set(labels.values()), choose.names(args.methods), "--methods")
    runs = [run for run in runs if not rows or labels[run.id] in rows]
    labels = {run.id: labels[run.id] for run in runs}
    runs = _one_per_place(runs, labels)
    groups = protocol.split_by_protocol(runs, labels, choose.names(args.allow))
    reference = _reference(args.reference, set(labels.values()))
    table = tables.build(groups, labels, metrics, reference, rows)
    _print(table, args.format)
    _warn_unpaired(table)
    _warn_provenance(runs)
    _warn_missing(missing, planned, roots)
    return INCOMPLETE if missing else COMPLETE


def _metrics(text: str) -> list[str]:
    found = choose.names([text])
    for name in found:
        if name not in tables.METRICS:
            raise ConfigError(f"--columns: no column {name!r}.{suggest(name, tables.METRICS)}")
    if not found:
        raise ConfigError("--columns: name at least one column")
    return list(dict.fromkeys(found))


def _planned(args: argparse.Namespace, roots: Sequence[Path]) -> plan.Plan | None:
    if args.sweep and args.expect:
        raise ConfigError("give --sweep or --expect, not both")
    if args.sweep:
        return plan.find_sweep(args.sweep, roots)
    return plan.read_plan(Path(args.expect)) if args.expect else None


def _select(args: argparse.Namespace, runs: Sequence[Run], planned: plan.Plan | None) -> list[Run]:
    """The runs that the filters leave; those of the other eval are counted on stderr."""
    if args.sweep and planned:
        ids = {cell.id for cell in planned.cells}
        runs = [run for run in runs if run.id in ids]
    chosen = [run for run in runs if run.eval == args.eval]
    if len(chosen) < len(runs):
        other = "validation" if args.eval == "test" else "test"
        count = len(runs) - len(chosen)
        noun = "run" if count == 1 else "runs"
        _say(f"{count} {noun} scored on {other} data left out (--eval {other} shows them)")
    return choose.where(choose.benches(chosen, choose.names(args.bench)), args.where)


def _missing(
    args: argparse.Namespace, planned: plan.Plan | None, done: set[str]
) -> list[plan.Planned]:
    """Planned cells without a result, among the benches and methods that were asked for."""
    if planned is None:
        return []
    benches = choose.names(args.bench)
    methods = [name.partition("[")[0] for name in choose.names(args.methods)]
    return [
        cell
        for cell in plan.missing(planned, done)
        if (not benches or cell.bench in benches) and (not methods or cell.method in methods)
    ]


def _sweep_rows(planned: plan.Plan | None, runs: Sequence[Run]) -> dict[str, str]:
    """Run id to the name that the sweep gave its configuration; a sweep's rows never mix any."""
    named = {c.id: c.row for c in planned.cells if c.row} if planned else {}
    return {run.id: row for run in runs if (row := named.get(run.id))}


def _one_per_place(runs: Sequence[Run], labels: dict[str, str]) -> list[Run]:
    """Runs without repetitions of one (protocol, configuration, order, seed); told on stderr."""
    kept: dict[tuple[object, ...], Run] = {}
    for run in runs:
        fields = tuple(sorted((k, f.key) for k, f in protocol.fields_of(run).items()))
        place = (run.bench, fields, labels[run.id], run.order, run.seed)
        first = kept.setdefault(place, run)
        if first is not run:
            _say(f"{run.id} repeats {first.id} ({run.title}) and is left out")
    return list(kept.values())


def _reference(wanted: str | None, labels: set[str]) -> str | None:
    found = choose.reference(labels, wanted)
    if found is None and any(label.startswith("janus[") for label in labels):
        _say("several configurations of janus: choose one with --reference for paired differences")
    return found


def _print(table: tables.Table, form: str) -> None:
    if form == "text" and sys.stdout.isatty():
        render.print_terminal(table, sys.stdout)
    else:
        sys.stdout.write(FORMATS[form](table))
    sys.stdout.flush()


def _say(message: str) -> None:
    print(message, file=sys.stderr)


def _warn_skipped(loaded: load.Loaded) -> None:
    if len(loaded.skipped) == 1:
        _say("1 file in the store is not a usable result and is left out:")
    elif loaded.skipped:
        _say(f"{len(loaded.skipped)} files in the store are not usable results and are left out:")
    for path, why in loaded.skipped:
        _say(f"  {path}: {why}")


def _warn_unpaired(table: tables.Table) -> None:
    for d in table.differences:
        for name, lacks, other in (
            (d.method, d.method_lacks, d.reference),
            (d.reference, d.reference_lacks, d.method),
        ):
            if lacks:
                places = ", ".join(f"order={order} seed={seed}" for order, seed in lacks[:5])
                places += f" and {len(lacks) - 5} more" if len(lacks) > 5 else ""
                _say(
                    f"{d.column.title}: {name} lacks {places}, which {other} has: left out of "
                    f"their differences (n = {d.n} {d.column.unit}s)"
                )


def _warn_provenance(runs: Sequence[Run]) -> None:
    records = [load.provenance(run) for run in runs]
    resumed = sum(bool(r.get("resumed_under_other_numerics")) for r in records)
    dirty = sum(bool((r.get("git") or {}).get("dirty")) for r in records)
    if resumed:
        _say(f"{resumed} of {len(runs)} runs: resumed under other hardware or versions")
    if dirty:
        _say(f"{dirty} of {len(runs)} runs: source tree with uncommitted changes")


def _warn_missing(
    missing: Sequence[plan.Planned], planned: plan.Plan | None, roots: Sequence[Path]
) -> None:
    if not missing or planned is None:
        return
    _say(f"incomplete: {len(missing)} of {len(planned.cells)} planned cells have no result:")
    for cell in missing:
        _say(f"  {cell.id}  {cell.title}  ({plan.state(cell, roots)})")
    _say(f"run them with: {planned.command or f'the command that wrote {planned.source}'}")


if __name__ == "__main__":
    sys.exit(main())
