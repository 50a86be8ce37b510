"""Read a run store and print a comparison: `python examples/read_store.py [STORE [REFERENCE]]`.

The table of `analysis/compare.py`: means over class orders and seeds, and paired differences to
the reference method. Needs no torch.
"""

from __future__ import annotations

import sys

from analysis.formats.plain_text import to_markdown
from analysis.runs.load import labels, load_runs
from analysis.runs.protocol import split_by_protocol
from analysis.tables.comparison import build_table


def main(store: str = "runs", reference: str | None = None) -> str:
    """Print accuracy, its mean over tasks and backward transfer of every row; return the table."""
    loaded = load_runs([store])
    for path, why in loaded.skipped:
        print(f"not usable: {path}: {why}", file=sys.stderr)
    runs = [run for run in loaded.runs if run.eval == "test"]
    rows = labels(runs)  # {id of a run: the row it belongs to}
    groups = split_by_protocol(runs, rows)  # refuses runs that must not be compared
    text = to_markdown(build_table(groups, rows, ["acc", "maa", "bwt"], reference))
    print(text)
    return text


if __name__ == "__main__":
    main(*sys.argv[1:])
