"""A sweep whose drivers and workers are killed at random: see tests/helpers/chaos.py.

    python -m tests.perf.chaos                      200 cells, five drivers killed; minutes
    python -m tests.perf.chaos --cells 16 --kills 2

Exits with 1 where a result was lost, is missing or differs.
"""

from __future__ import annotations

import argparse
import sys

from tests.helpers.chaos import run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=200, help="an even number")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    outcome = run(given.cells, given.kills, given.seed)
    sys.stdout.write(f"{outcome}\n")
    sys.exit(bool(outcome.lost or outcome.missing or outcome.different))
