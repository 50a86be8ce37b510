"""What several processes on one device give: cells an hour of 1, 2, 3 and 4 at once.

    python -m tests.perf.packing --device cuda               glyphs, SeqLoRA; whole cells
    python -m tests.perf.packing --device cuda bench=cifar100 bench.root=DATA train.epochs=1
    python -m tests.perf.packing --processes 1 2 3 4         on a CPU, one thread each

Bare processes, each of which trains its cells one after another from an empty store, all at once;
start-up is left out. On a GPU the sweep packs by memory alone (docs/sweeps.md): this says whether
that many are worth it; `workers=N` bounds them. A benchmark, not a test.
"""

from __future__ import annotations

import argparse
import sys

from tests.perf.one_after_another import processes


def main() -> None:
    """One line per number of processes, as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--each", type=int, default=2, help="cells of each process")
    parser.add_argument("--method", default="seqlora")
    parser.add_argument("overrides", nargs="*", default=["train.epochs=2"], metavar="OVERRIDE")
    given = parser.parse_args()
    given.cells = given.each * max(given.processes)
    first = 0.0
    for count in given.processes:
        cells = count * given.each
        found = processes(given, count, 1, cells)
        rate = 3600 * cells / (found["cells"] / count)
        first = first or rate
        sys.stdout.write(f"{count} at once: {rate:.0f} cells an hour, x{rate / first:.2f}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
