"""Which runs a command works on: the options that choose them, and the choice itself.

Shared by the table, the report and the paper folder, so that all three mean the same runs by the
same words. Remarks for people go to stderr.
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
from analysis.runs.load import Run
from analysis.runs.protocol import Group
from analysis.stats import paired
from analysis.tables import comparison
from janus import plugins
from janus.errors import ComparisonError, ConfigError, suggest
from janus.store.store import Store


@dataclass(frozen=True, slots=True)
class Selection:
    """Runs that passed every filter and every check, named and grouped."""

    roots: tuple[Path, ...]
    loaded: load.Loaded
    planned: sweep_lists.Plan | None
    missing: tuple[sweep_lists.Planned, ...]
    runs: tuple[Run, ...]
    """One per (protocol, row, order, seed); empty when nothing matches."""
    labels: dict[str, str]
    """Run id to the name of its row."""
    rows: tuple[str, ...]
    """Rows in the order asked for; empty: the default order."""
    groups: tuple[Group, ...]
    reference: str | None
    untested: tuple[str, ...] | None = None
    """Notes on rows that differ in more than the method; given, nothing may be tested."""


def add_options(p: argparse.ArgumentParser) -> None:
    """The options that choose runs."""

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
    p.add_argument("--sweep", metavar="NAME", help="show this sweep's cells, list missing ones")
    p.add_argument("--expect", metavar="FILE", help='list of {"id", "title"} that must be there')
    several(
        "--include", "PATH", "import a module of your own first: metrics, columns, figures, methods"
    )
    several(
        "--allow",
        "FIELD[,FIELD]",
        "protocol fields that may differ: printed side by side, never averaged or tested",
    )


def load_outside(args: argparse.Namespace) -> None:
    """Import the modules of --include, and add the columns that they, or packages, registered."""
    for path in args.include:
        plugins.include(path)
    comparison.add_outside()


def add_test_options(p: argparse.ArgumentParser) -> None:
    """The options that choose what is tested, and how."""
    p.add_argument(
        "--endpoint",
        default=comparison.PRIMARY,
        metavar="NAME[,NAME]",
        help="what is compared with the reference: any names of --columns (default: acc)",
    )
    p.add_argument(
        "--correction",
        choices=paired.CORRECTIONS,
        default="maxt",
        help="for testing many rows at once: Westfall and Young's max-T, Holm, or none "
        "(default: maxt)",
    )


def metrics(text: str, option: str) -> list[str]:
    """The metrics that an option names; `all` means every one.

    Raises ConfigError for a name that is none.
    """
    found = filters.names([text])
    if found == ["all"]:
        return list(comparison.METRICS)
    for name in found:
        if name not in comparison.METRICS:
            raise ConfigError(f"{option}: no column {name!r}.{suggest(name, comparison.METRICS)}")
    if not found:
        raise ConfigError(f"{option}: name at least one column")
    return list(dict.fromkeys(found))


def roots_of(args: argparse.Namespace) -> tuple[Path, ...]:
    """The stores that were named, or the default one."""
    return tuple(Path(root) for root in args.store or ["runs"])


def select(args: argparse.Namespace, also_allowed: Sequence[str] = ()) -> Selection:
    """Load, filter, name, check. Raises JanusError for what the user must mend.

    `also_allowed`: values of --allow that name no field of a run, but something the caller knows.
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
    rows = filters.rows(set(labels.values()), filters.names(args.methods), "--methods")
    runs = [run for run in runs if not rows or labels[run.id] in rows]
    labels = {run.id: labels[run.id] for run in runs}
    runs = _one_per_place(runs, labels)
    if planned and any(cell.protocol == as_published.AS_PUBLISHED for cell in planned.cells):
        _refuse_reference(args.reference)
        found = as_published.mark(runs, labels)
        rows = [new for row in rows for new in _renamed(row, labels, found.labels)]
        head = (roots, loaded, planned, missing, tuple(runs))
        return Selection(*head, found.labels, tuple(rows), found.groups, None, found.notes)
    allow = [name for name in filters.names(args.allow) if name not in also_allowed]
    groups = tuple(protocol.split_by_protocol(runs, labels, allow))
    if planned is None:
        _refuse_disjoint(groups, labels, also_allowed)
    reference = _reference(args.reference, set(labels.values()))
    return Selection(
        roots, loaded, planned, missing, tuple(runs), labels, tuple(rows), groups, reference
    )


def _load(args: argparse.Namespace, roots: Sequence[Path]) -> load.Loaded:
    """The runs of the stores, or those that W&B recorded where that was asked for."""
    if not getattr(args, "wandb", None):
        return load.load(roots)
    from analysis.runs import from_wandb

    return from_wandb.read(args.wandb)


def _refuse_reference(reference: str | None) -> None:
    if reference is not None:
        raise ComparisonError(
            f"--reference {reference}: the rows of this sweep were each run as published and "
            "differ in more than the method; compare methods in a sweep with `protocol: unified`"
        )


def _renamed(row: str, old: dict[str, str], new: dict[str, str]) -> list[str]:
    return list(dict.fromkeys(new[key] for key, label in old.items() if label == row))


def _planned(args: argparse.Namespace, roots: Sequence[Path]) -> sweep_lists.Plan | None:
    if args.sweep and args.expect:
        raise ConfigError("give --sweep or --expect, not both")
    if args.sweep:
        return sweep_lists.find_sweep(args.sweep, roots)
    return sweep_lists.read_plan(Path(args.expect)) if args.expect else None


def _filtered(
    args: argparse.Namespace, runs: Sequence[Run], planned: sweep_lists.Plan | None
) -> list[Run]:
    """The runs that the filters leave; those of the other eval are counted on stderr."""
    if args.sweep and planned:
        ids = {cell.id for cell in planned.cells}
        runs = [run for run in runs if run.id in ids]
    chosen = [run for run in runs if run.eval == args.eval]
    if len(chosen) < len(runs):
        other = "validation" if args.eval == "test" else "test"
        count = len(runs) - len(chosen)
        noun = "run" if count == 1 else "runs"
        say(f"{count} {noun} scored on {other} data left out (--eval {other} shows them)")
    also: set[str] = set()
    if getattr(args, "published", False):
        from analysis.published import read_csv

        also = {figure.bench for figure in read_csv.summaries()}
    return filters.where(filters.benches(chosen, filters.names(args.bench), also), args.where)


def _missing(
    args: argparse.Namespace, planned: sweep_lists.Plan | None, done: set[str]
) -> list[sweep_lists.Planned]:
    """Planned cells without a result, among the benches and methods that were asked for."""
    if planned is None:
        return []
    benches = filters.names(args.bench)
    methods = [name.partition("[")[0] for name in filters.names(args.methods)]
    return [
        cell
        for cell in sweep_lists.missing(planned, done)
        if (not benches or cell.bench in benches) and (not methods or cell.method in methods)
    ]


def _sweep_rows(planned: sweep_lists.Plan | None, runs: Sequence[Run]) -> dict[str, str]:
    """Run id to the name that the sweep gave its configuration; a sweep's rows never mix any."""
    named = {c.id: c.row for c in planned.cells if c.row} if planned else {}
    return {run.id: row for run in runs if (row := named.get(run.id))}


def _one_per_place(runs: Sequence[Run], labels: dict[str, str]) -> list[Run]:
    """Runs without repetitions of one (protocol, configuration, order, seed); told on stderr."""
    seen = Counter((run.bench, labels[run.id], run.order, run.seed) for run in runs)
    kept: dict[tuple[object, ...], Run] = {}
    for run in runs:
        if seen[run.bench, labels[run.id], run.order, run.seed] == 1:  # spares reading its protocol
            kept[(run.id,)] = run
            continue
        fields = tuple(sorted((k, f.key) for k, f in protocol.fields_of(run).items()))
        place = (run.bench, fields, labels[run.id], run.order, run.seed)
        first = kept.setdefault(place, run)
        if first is not run:
            say(f"{run.id} repeats {first.id} ({run.title}) and is left out")
    return list(kept.values())


def _refuse_disjoint(
    groups: Sequence[Group], labels: dict[str, str], allowed: Sequence[str]
) -> None:
    """Rows of one column must share an order, and a seed in one of their common orders.

    A sweep on its way is no such case: its plan says what is still to come.
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
        say("several configurations of janus: choose one with --reference for paired differences")
    elif found is None and len(labels) > 1:
        say("no row of janus: --reference ROW gives paired differences to that row")
    return found


def in_order(chosen: Selection) -> list[Run]:
    """The runs by bench, row, order and seed, numbers as people count them."""

    def place(run: Run) -> tuple[object, ...]:
        label, order = filters.natural(chosen.labels[run.id]), filters.natural(run.order)
        return run.bench, label, order, run.seed

    return sorted(chosen.runs, key=place)


def say(message: str) -> None:
    """Tell the person; stdout is for the table alone."""
    print(message, file=sys.stderr)


def _warn_skipped(loaded: load.Loaded, one: str, many: str) -> None:
    if len(loaded.skipped) == 1:
        say(f"1 {one} is not a usable result and is left out:")
    elif loaded.skipped:
        say(f"{len(loaded.skipped)} {many} are not usable results and are left out:")
    for path, why in loaded.skipped:
        say(f"  {path}: {why}")


def warn_missing(chosen: Selection) -> None:
    """List the planned cells that have no result, and the command that runs them."""
    planned = chosen.planned
    if not chosen.missing or planned is None:
        return
    say(f"incomplete: {len(chosen.missing)} of {len(planned.cells)} planned cells have no result:")
    for cell in chosen.missing:
        say(f"  {cell.id}  {cell.title}  ({sweep_lists.state(cell, chosen.roots)})")
    how = planned.command or f"the command that wrote {planned.source}"
    damaged = damaged_results([cell.id for cell in chosen.missing], chosen.roots)
    if damaged:
        say("results that are in the way of training: move these files away first:")
        for path in damaged:
            say(f"  {path}")
    say(f"run them with: {how}")


def damaged_results(cell_ids: Sequence[str], roots: Sequence[Path]) -> list[Path]:
    """Result files of cells that have no usable result: they stop these cells' training."""
    paths = (Store(root).result_path(cell_id) for root in roots for cell_id in cell_ids)
    return [path for path in paths if os.path.lexists(path)]
