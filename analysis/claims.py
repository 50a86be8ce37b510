"""The command `python analysis/claims.py`: test the paper's claims on the runs of a store.

claims.yaml lists the claims, and for each claim the pairs of rows that differ only in the part that
it concerns. The command prints Markdown: one sentence and one table per claim. `make claims` first
trains the runs that the claims need.

Exit code 0: every pair was tested; 2: wrong usage or a damaged file; 3: runs are missing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as a file: import from the project's root, not from this folder
    here = Path(__file__).resolve().parent
    sys.path[:] = [str(here.parent), *(p for p in sys.path if p != str(here))]

from analysis.runs import load, sweep_lists
from analysis.runs.load import RunRecord
from analysis.selection import roots_of
from analysis.stats.paired import Difference
from analysis.tables import comparison
from analysis.tables.paper_claims import Tested, judge_claim, read_claims, sweeps_of
from janus.errors import ConfigError, JanusError
from janus.one_line import error_text, open_streams, printable

COMPLETE, WRONG, MISSING = 0, 2, 3


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tested claims as Markdown; returns the exit code."""
    open_streams()
    p = argparse.ArgumentParser(prog="python analysis/claims.py", description=__doc__)
    store = "run store (default: runs); may be repeated"
    p.add_argument("--store", action="append", default=[], metavar="DIR", help=store)
    p.add_argument("--out", type=Path, metavar="FILE", help="also write the Markdown to this file")
    sweeps = "print only the names of the sweeps that the claims need"
    p.add_argument("--sweeps", action="store_true", help=sweeps)
    args = p.parse_args(argv)
    try:
        claims = read_claims()
        if args.sweeps:
            print(*sweeps_of(claims), sep="\n")
            return COMPLETE
        runs = {name: runs_by_row(name, roots_of(args)) for name in sweeps_of(claims)}
        tested = [judge_claim(claim, runs[claim.sweep]) for claim in claims]
        text = claims_page(tested)
        print(text, end="")
        if args.out:
            args.out.write_text(text, encoding="utf-8")
    except (JanusError, OSError) as error:
        print(printable(error_text(error)), file=sys.stderr)
        return WRONG
    return MISSING if any(d is None for found in tested for d in found.differences) else COMPLETE


def runs_by_row(name: str, roots: Sequence[Path]) -> dict[str, list[RunRecord]]:
    """{row name in the sweep's list: finished runs}; {} if the list cannot be found or read.

    Raises ConfigError if the runs are on several benches, because claims are tested on one bench.
    """
    try:
        listed = sweep_lists.find_sweep(name, roots)
    except ConfigError:
        return {}
    runs = {run.id: run for run in load.load_runs(roots).runs}
    rows: dict[str, list[RunRecord]] = {}
    for cell in listed.cells:
        if cell.id in runs:
            rows.setdefault(str(cell.row), []).append(runs[cell.id])
    benches = {run.bench for found in rows.values() for run in found}
    if len(benches) > 1:
        raise ConfigError(
            f"sweep {name} has runs on several benches ({', '.join(sorted(benches))}), but claims "
            "are tested on one: use one store per bench (make claims STORE=DIR BENCH=NAME)"
        )
    return rows


def claims_page(tested: Sequence[Tested]) -> str:
    """The claims as Markdown: heading, sentence and table of each."""
    return "\n".join(part for found in tested for part in _claim(found))


def _claim(found: Tested) -> list[str]:
    claim = found.claim
    lines = [f"### {claim.claim}", "", f"{found.sentence()} The paper: {claim.paper}.", ""]
    if not any(found.differences):
        return lines
    known = comparison.COLUMNS.get(claim.metric)
    scale, digits = (known.scale, known.digits) if known else (1.0, 3)
    title = known.title if known else claim.metric
    lines += [
        f"| pair | {title}: difference [95 %] | n | wins | p (max-T) | verdict |",
        "|:--|--:|--:|--:|--:|:--|",
    ]
    for (first, second), d in zip(claim.pairs, found.differences, strict=True):
        shown = _shown(d, scale, digits)
        lines.append(f"| `{first}` - `{second}` | {shown} | {found.verdict(d)} |")
    return [*lines, ""]


def _shown(d: Difference | None, scale: float, digits: int) -> str:
    if d is None or d.mean is None or d.interval is None or d.p_maxt is None:
        return "-- | 0 | -- | --"
    low, high = (f"{scale * end:+.{digits}f}" for end in (d.interval.low, d.interval.high))
    wins = "--" if d.wins is None else f"{d.wins}/{d.n}"
    mean = f"{scale * d.mean:+.{digits}f}"
    return f"{mean} [{low}, {high}] | {d.n} | {wins} | {d.p_maxt:.3g}"


if __name__ == "__main__":
    sys.exit(main())
