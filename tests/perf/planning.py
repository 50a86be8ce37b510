"""What planning costs when most of a large sweep is done.

    python -m tests.perf.planning                  10,000 cells, 9,000 done; a minute to prepare
    python -m tests.perf.planning --cells 1000

A store is filled with results, provenance and claims as runs leave them; then `python -m sweeps
plan` is timed as a whole, from the start of its process to the forecast it prints.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from janus.config.cell import Cell
from janus.store.store import Store
from sweeps.spec.plan import plan
from sweeps.spec.sweep_file import load_sweep

METHODS = "methods=[seqlora,inflora,lora_gpm,janus,ncm]"
ROUNDS = 5


def words(cells: int, store: Path) -> list[str]:
    """Five methods, four grid points for those with a rate, 50 orders and so many seeds."""
    return [
        METHODS,
        "train.epochs=1,2,3,4",
        "orders=50",
        f"seeds={cells // 1000}",
        f"store={store}",
    ]


def finish(store: Store, cell: Cell) -> None:
    """Leave what a finished run leaves, without its syncs."""
    run = store.run_dir(cell.id)
    for folder in (run / "claims", run / "attempts" / "000001", store.result_path(cell.id).parent):
        folder.mkdir(parents=True, exist_ok=True)
    facts = {"seconds": 60.0, "numerics": [{"device": "some processor"}]}
    for path, record in (
        (run / "claims" / "000001.json", {"owner": {}, "claimed_at": 0.0}),
        (run / "claims" / "000001.released", {}),
        (run / "attempts" / "000001" / "provenance.json", facts),
        (run / "committed.json", {"attempt": 1}),
        (store.result_path(cell.id), {"id": cell.id, "metrics": {"acc": 0.5}}),
    ):
        path.write_text(json.dumps(record))


def main(cells: int) -> int:
    """Prepare, then time; prints the medians."""
    with tempfile.TemporaryDirectory(prefix="planning-", dir="/tmp") as folder:
        store = Store(Path(folder) / "store")
        planned = plan(load_sweep("smoke", words(cells, store.root)).sweep).cells
        for cell in planned[: len(planned) * 9 // 10]:
            finish(store, cell)
        walls, processors = [], []
        for _ in range(ROUNDS):
            before, start = os.times(), time.monotonic()
            command = [sys.executable, "-m", "sweeps", "plan", "smoke", *words(cells, store.root)]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            walls.append(time.monotonic() - start)
            after = os.times()
            processors.append(sum(after[2:4]) - sum(before[2:4]))
        sys.stdout.write(
            f"{said.splitlines()[1]}\nmedian of {ROUNDS}: {statistics.median(walls):.2f} s on the "
            f"clock, {statistics.median(processors):.2f} s of processor time\n"
        )
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=10_000, help="a multiple of 1000")
    sys.exit(main(parser.parse_args().cells))
