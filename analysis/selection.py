"""Selects the runs that a command compares: the command-line options, filters and checks.

compare.py, report.py and paper.py share it, so that equal options select equal runs. Messages go to
stderr.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from analysis.runs import as_published, filters, load, protocol, sweep_lists
from analysis.runs.load import RunRecord
from analysis.runs.protocol import Group
from analysis.stats import paired
from analysis.tables import comparison
from janus import plugins
from janus.errors import ComparisonError, ConfigError, suggest
from janus.store.store import Store


@dataclass(frozen=True, slots=True)
class Selection:
    """The runs that passed all filters and checks, with their row names and groups."""

    roots: tuple[Path, ...]
    loaded: load.Loaded
    planned: sweep_lists.SweepList | None
    missing: tuple[sweep_lists.ListedCell, ...]
    runs: tuple[RunRecord, ...]
    """One run per (protocol, row, order, seed); empty if no run matches."""
    labels: dict[str, str]
    """{run id: name of its row}."""
    rows: tuple[str, ...]
    """Row names in the requested order; () for the default order."""
    groups: tuple[Group, ...]
    reference: str | None
    untested: tuple[str, ...] | None = None
    """Notes on rows that differ in more than the method; None if there are no such rows. If given,
    no row may be tested."""


def add_options(p: argparse.ArgumentParser) -> None:
    """Add the options that select runs to the parser `p`."""

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
        "--sweep", metavar="NAME", help="show only cells of this sweep, and list the missing ones"
    )
    p.add_argument(
        "--expect",
        metavar="FILE",
        help='JSON list of planned cells {"id", "title"}: list those without a result',
    )
    several(
        "--include",
        "PATH",
        "first import this module, which registers metrics, columns, figures or methods",
    )
    several(
        "--allow",
        "FIELD[,FIELD]",
        "protocol fields that may differ: printed side by side, never averaged or tested",
    )


def load_outside(args: argparse.Namespace) -> None:
    """Import the modules of --include, and add the registered columns to `comparison.COLUMNS`.

    Installed packages can register columns, too.
    """
    for path in args.include:
        plugins.include(path)
    comparison.add_outside()


def add_test_options(p: argparse.ArgumentParser) -> None:
    """Add the options that select the tested metrics and the correction to the parser `p`."""
    p.add_argument(
        "--endpoint",
        default=comparison.PRIMARY,
        metavar="NAME[,NAME]",
        help="metrics whose differences to the reference are tested: names as in --columns "
        "(default: acc)",
    )
    p.add_argument(
        "--correction",
        choices=paired.CORRECTIONS,
        default="maxt",
        help="correction of p for many tests: Westfall and Young's max-T, Holm, or none "
        "(default: maxt)",
    )


def metrics(text: str, option: str) -> list[str]:
    """The metric keys in the comma-separated `text`, without repetitions; `all` gives every key.

    Raises ConfigError for an unknown name and for an empty text; the message names `option`.
    """
    found = filters.split_names([text])
    if found == ["all"]:
        return list(comparison.COLUMNS)
    for name in found:
        if name not in comparison.COLUMNS:
            raise ConfigError(f"{option}: no column {name!r}.{suggest(name, comparison.COLUMNS)}")
    if not found:
        raise ConfigError(f"{option}: name at least one column")
    return list(dict.fromkeys(found))


def roots_of(args: argparse.Namespace) -> tuple[Path, ...]:
    """The folders of the stores given by --store, or of the default store `runs`."""
    return tuple(Path(root) for root in args.store or ["runs"])


SIDES = ("orders", "seeds")
"""Values of --allow that let rows stand side by side without common orders or seeds."""


def select(args: argparse.Namespace, also_allowed: Sequence[str] = ()) -> Selection:
    """The runs that the options select, with their row names and groups.

    Raises JanusError for errors of the user. `also_allowed`: values of --allow that only the caller
    uses, which no run has as a field.
    """
    roots = roots_of(args)
    loaded = _load(args, roots)
    tracked = getattr(args, "wandb", None)
    names = (
        ("tracked run", "tracked runs") if tracked else ("file in the store", "files in the store")
    )
    _warn_skipped(loaded, *names)
    planned = _planned(args, roots)
    runs = _filtered(args, loaded.runs, planned)
    missing = tuple(_missing(args, planned, {run.id for run in loaded.runs}))
    if not runs:
        return Selection(roots, loaded, planned, missing, (), {}, (), (), None)
    labels = load.labels(runs) | _sweep_rows(planned, runs)
    rows = filters.select_rows(set(labels.values()), filters.split_names(args.methods), "--methods")
    runs = [run for run in runs if not rows or labels[run.id] in rows]
    labels = {run.id: labels[run.id] for run in runs}
    runs = _one_per_place(runs, labels)
    if planned and any(cell.protocol == as_published.AS_PUBLISHED for cell in planned.cells):
        _refuse_reference(args.reference)
        found = as_published.group_as_published(runs, labels)
        rows = [new for row in rows for new in _renamed(row, labels, found.labels)]
        head = (roots, loaded, planned, missing, tuple(runs))
        return Selection(*head, found.labels, tuple(rows), found.groups, None, found.notes)
    given = filters.split_names(args.allow)
    allow = [name for name in given if name not in (*also_allowed, *SIDES)]
    groups = tuple(protocol.split_by_protocol(runs, labels, allow))
    if planned is None:
        _refuse_disjoint(groups, labels, [name for name in given if name in SIDES])
    reference = _reference(args.reference, set(labels.values()))
    return Selection(
        roots, loaded, planned, missing, tuple(runs), labels, tuple(rows), groups, reference
    )


def _load(args: argparse.Namespace, roots: Sequence[Path]) -> load.Loaded:
    """The runs of the stores `roots`, or with --wandb the runs that W&B recorded."""
    if not getattr(args, "wandb", None):
        return load.load_runs(roots)
    from analysis.runs import from_wandb

    return from_wandb.read_wandb(args.wandb)


def _refuse_reference(reference: str | None) -> None:
    if reference is not None:
        raise ComparisonError(
            f"--reference {reference}: the rows of this sweep were each run as published and "
            "differ in more than the method; compare methods in a sweep with `protocol: unified`"
        )


def _renamed(row: str, old: dict[str, str], new: dict[str, str]) -> list[str]:
    return list(dict.fromkeys(new[key] for key, label in old.items() if label == row))


def _planned(args: argparse.Namespace, roots: Sequence[Path]) -> sweep_lists.SweepList | None:
    if args.sweep and args.expect:
        raise ConfigError("give --sweep or --expect, not both")
    if args.sweep:
        return sweep_lists.find_sweep(args.sweep, roots)
    return sweep_lists.read_sweep_list(Path(args.expect)) if args.expect else None


def _filtered(
    args: argparse.Namespace, runs: Sequence[RunRecord], planned: sweep_lists.SweepList | None
) -> list[RunRecord]:
    """The runs that pass the filters. Prints how many runs --eval leaves out."""
    if args.sweep and planned:
        ids = {cell.id for cell in planned.cells}
        runs = [run for run in runs if run.id in ids]
    chosen = [run for run in runs if run.eval == args.eval]
    if len(chosen) < len(runs):
        other = "validation" if args.eval == "test" else "test"
        count = len(runs) - len(chosen)
        noun = "run" if count == 1 else "runs"
        print_notice(f"{count} {noun} scored on {other} data left out (--eval {other} shows them)")
    also: set[str] = set()
    if getattr(args, "published", False):
        from analysis.published import read_csv

        also = {figure.bench for figure in read_csv.summaries()}
    return filters.matching(
        filters.benches(chosen, filters.split_names(args.bench), also), args.where
    )


def _missing(
    args: argparse.Namespace, planned: sweep_lists.SweepList | None, done: set[str]
) -> list[sweep_lists.ListedCell]:
    """The planned cells without a result, for the selected benches and methods only."""
    if planned is None:
        return []
    benches = filters.split_names(args.bench)
    methods = [name.partition("[")[0] for name in filters.split_names(args.methods)]
    return [
        cell
        for cell in sweep_lists.missing(planned, done)
        if (not benches or cell.bench in benches) and (not methods or cell.method in methods)
    ]


def _sweep_rows(planned: sweep_lists.SweepList | None, runs: Sequence[RunRecord]) -> dict[str, str]:
    """{run id: row name in the sweep's list}, without runs that the list does not name.

    These names replace the labels, so that a row holds one configuration only.
    """
    named = {c.id: c.row for c in planned.cells if c.row} if planned else {}
    return {run.id: row for run in runs if (row := named.get(run.id))}


def _one_per_place(runs: Sequence[RunRecord], labels: dict[str, str]) -> list[RunRecord]:
    """The first run for each (protocol, row, order, seed). Prints the runs that are left out."""
    seen = Counter((run.bench, labels[run.id], run.order, run.seed) for run in runs)
    kept: dict[tuple[object, ...], RunRecord] = {}
    for run in runs:
        if seen[run.bench, labels[run.id], run.order, run.seed] == 1:  # needs no protocol
            kept[(run.id,)] = run
            continue
        fields = tuple(sorted((k, f.key) for k, f in protocol.fields_of(run).items()))
        place = (run.bench, fields, labels[run.id], run.order, run.seed)
        first = kept.setdefault(place, run)
        if first is not run:
            print_notice(f"{run.id} repeats {first.id} ({run.title}) and is left out")
    return list(kept.values())


def _refuse_disjoint(
    groups: Sequence[Group], labels: dict[str, str], allowed: Sequence[str]
) -> None:
    """Raise ComparisonError if two rows of a group have no order in common, or no seed in any
    common order: such rows have no paired difference.

    It is not called for a sweep, because the missing runs of a sweep are listed.
    """
    for group in groups:
        orders: dict[str, set[str]] = {}
        places: dict[str, set[tuple[str, int]]] = {}
        for run in group.runs:
            orders.setdefault(labels[run.id], set()).add(run.order)
            places.setdefault(labels[run.id], set()).add((run.order, run.seed))
        for first, second in combinations(sorted(orders), 2):
            pair = f"cannot compare {first!r} and {second!r} on {group.bench}"
            if not orders[first] & orders[second] and "orders" not in allowed:
                raise ComparisonError(
                    f"{pair}: no common order\n"
                    f"  {first}: {_listed(orders[first])}\n  {second}: {_listed(orders[second])}\n"
                    "Run the missing orders, keep one kind with --where order=..., or pass "
                    "--allow orders to print the means side by side."
                )
            common = orders[first] & orders[second]
            if common and not places[first] & places[second] and "seeds" not in allowed:
                seeds = {
                    row: {str(seed) for order, seed in places[row] if order in common}
                    for row in (first, second)
                }
                raise ComparisonError(
                    f"{pair}: no common seed in any of their common orders\n"
                    f"  {first}: {_listed(seeds[first])}\n  {second}: {_listed(seeds[second])}\n"
                    "Run the missing seeds, keep one kind with --where seed=..., or pass "
                    "--allow seeds to print the means side by side."
                )


def _listed(orders: set[str]) -> str:
    shown = sorted(orders, key=lambda o: (not o.isdigit(), int(o) if o.isdigit() else 0, o))
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")


def _reference(wanted: str | None, labels: set[str]) -> str | None:
    found = filters.reference(labels, wanted)
    if found is None and any(label.startswith("janus[") for label in labels):
        print_notice(
            "several configurations of janus: choose one with --reference for paired differences"
        )
    elif found is None and len(labels) > 1:
        print_notice("no row of janus: --reference ROW gives paired differences to that row")
    return found


def in_order(chosen: Selection) -> list[RunRecord]:
    """The runs sorted by bench, row, order and seed; numbers in names are compared as numbers."""

    def place(run: RunRecord) -> tuple[object, ...]:
        label, order = filters.natural(chosen.labels[run.id]), filters.natural(run.order)
        return run.bench, label, order, run.seed

    return sorted(chosen.runs, key=place)


def print_notice(message: str) -> None:
    """Print a message on stderr, because stdout holds only the output that the user asked for."""
    print(message, file=sys.stderr)


def _warn_skipped(loaded: load.Loaded, one: str, many: str) -> None:
    if len(loaded.skipped) == 1:
        print_notice(f"1 {one} is not a usable result and is left out:")
    elif loaded.skipped:
        print_notice(f"{len(loaded.skipped)} {many} are not usable results and are left out:")
    for path, why in loaded.skipped:
        print_notice(f"  {path}: {why}")


def warn_missing(chosen: Selection) -> None:
    """Print the planned cells without a result, and the command that runs them."""
    planned = chosen.planned
    if not chosen.missing or planned is None:
        return
    print_notice(
        f"incomplete: {len(chosen.missing)} of {len(planned.cells)} planned cells have no result:"
    )
    for cell in chosen.missing:
        print_notice(f"  {cell.id}  {cell.title}  ({sweep_lists.cell_state(cell, chosen.roots)})")
    how = planned.command or f"the command that wrote {planned.source}"
    damaged = damaged_results([cell.id for cell in chosen.missing], chosen.roots)
    if damaged:
        print_notice("damaged results, which prevent training: move these files away first:")
        for path in damaged:
            print_notice(f"  {path}")
    print_notice(f"run them with: {how}")


def damaged_results(cell_ids: Sequence[str], roots: Sequence[Path]) -> list[Path]:
    """The existing result files of these cells, which have no usable result.

    While such a file exists, its cell is not trained again.
    """
    paths = (Store(root).result_path(cell_id) for root in roots for cell_id in cell_ids)
    return [path for path in paths if os.path.lexists(path)]
