"""What tracking adds to a run: `python -m tests.perf.tracking [METHOD] [CELLS] [KEY=VALUE ...]`.

Trains the same cells plain and tracked, in turn and in one process as a worker of a sweep does, and
prints processor seconds: those of the trainer, which the run has to wait for, and those of the
tracker's process and wandb's service, which run beside it. Processor time and not wall-clock time,
so that other work on the machine does not matter; the wall-clock time of both is printed, too.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from janus.config.compose import compose
from janus.config.overrides import parse_overrides
from janus.store.store import Store
from janus.tracking.wandb_tracker import Tracking
from janus.training.loop import run_cell


def measure(method: str, cells: int, overrides: dict[str, Any]) -> None:
    """Print a line for each cell and the tracker's share."""
    tracking = Tracking({"WANDB_MODE": "offline"})
    sums = {"plain": 0.0, "tracked": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(cells):
            cell = compose({"method": method, "seed": seed, **overrides})
            for kind in sums:
                store = Store(Path(folder) / kind)
                about = {} if kind == "tracked" else None
                cpu, wall = time.process_time(), time.monotonic()
                with tracking.observe(cell, store, about) as tracker:
                    run_cell(cell, store, tracker, threads=1)
                cpu, wall = time.process_time() - cpu, time.monotonic() - wall
                sums[kind] += cpu
                sys.stdout.write(f"{cell.title} {kind:>8}: {cpu:.2f} s cpu, {wall:.2f} s wall\n")
        start = time.monotonic()
        tracking.close(600.0)
        waited = time.monotonic() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    beside = used.ru_utime + used.ru_stime
    added = (sums["tracked"] - sums["plain"]) / cells
    share = 100 * added * cells / sums["plain"]
    sys.stdout.write(
        f"{cells} cells: {added:+.3f} s cpu a cell in the trainer ({share:+.1f} %), "
        f"{beside / cells:.2f} s cpu a cell beside it ({beside:.2f} s in all); "
        f"waited {waited:.2f} s at the end\n"
    )


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if "=" not in word]
    given = parse_overrides([word for word in sys.argv[1:] if "=" in word])
    measure(words[0] if words else "janus", int(words[1]) if words[1:] else 3, given)
