"""A sweep of 16 cells against its own training steps, and against a process that runs them in turn.

    python -m tests.perf.one_after_another              the bundled bench, SeqLoRA: 20 minutes
    python -m tests.perf.one_after_another --alone 2    fewer cells for the two slow ways
    python -m tests.perf.one_after_another train.epochs=1

Four ways, by the clock, each with an empty store: one process with one thread, and with all cores
(the first `--alone` cells, and their time for all); as many processes as cores, one thread each,
without a driver; and `python -m sweeps run` as it stands. Parts of the runs are timed where the
loop calls them. A benchmark, not a test: the machine must be idle.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from janus.config.cell import Cell
from janus.store.store import Store
from janus.training.loop import run_cell
from sweeps.spec.plan import plan
from sweeps.spec.sweep_file import load_sweep
from tests.perf.growth import clocked

CORES = os.cpu_count() or 1
PARTS = ("train", "evaluate", "diagnose", "begin", "end", "save")


def words(given: argparse.Namespace, store: Path) -> list[str]:
    """Words of the command, from which all four take their cells."""
    return [
        f"methods=[{given.method}]",
        f"orders={given.cells}",
        f"workers={CORES}",
        *(f"store={store}", *given.overrides),
    ]


def cells_of(given: argparse.Namespace) -> list[Cell]:
    """The grid."""
    return plan(load_sweep("smoke", words(given, Path("unused"))).sweep).cells


def alone(given: argparse.Namespace, threads: int, share: slice) -> None:
    """In this process: some of the cells, one after another; prints seconds by part."""
    costs: dict[str, float] = defaultdict(float)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for cell in cells_of(given)[share]:
            with clocked(cell, costs, time.perf_counter):
                run_cell(cell, Store(folder), threads=threads, device=given.device)
    sys.stdout.write(json.dumps(costs | {"cells": time.perf_counter() - began}))


def processes(given: argparse.Namespace, count: int, threads: int, cells: int) -> dict[str, float]:
    """Several such processes at once, each with its share of the first `cells`: seconds by part,
    summed over processes, and the `wall` from their start to the last one's end."""
    began = time.perf_counter()
    running = []
    for index in range(count):
        turn = json.dumps({**vars(given), "turn": [threads, index, cells, count]})
        running.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.perf.one_after_another", "--turn", turn],
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    total: dict[str, float] = defaultdict(float)
    for process in running:
        out, _ = process.communicate()
        if process.returncode:
            sys.exit(process.returncode)
        for name, seconds in json.loads(out).items():
            total[name] += seconds
    return dict(total) | {"wall": time.perf_counter() - began}


def swept(given: argparse.Namespace) -> float:
    """Seconds from the command of the sweep to its end."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "sweeps", "run", "smoke", *words(given, Path(folder))]
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.perf_counter() - began


def main(given: argparse.Namespace) -> None:
    """Print each way as it ends, and the ratios."""

    def say(name: str, found: dict[str, float], cells: int) -> None:
        parts = ", ".join(f"{part} {found[part]:.1f}" for part in PARTS if part in found)
        sys.stdout.write(f"{name}, {cells} cells: {found['wall']:.1f} s; {parts}\n")
        sys.stdout.flush()

    few, all_ = given.alone, given.cells
    say(f"{CORES} processes, 1 thread", packed := processes(given, CORES, 1, all_), all_)
    sweep = swept(given)
    sys.stdout.write(f"sweeps run, {CORES} workers, {all_} cells: {sweep:.1f} s\n")
    say("1 process, 1 thread", one := processes(given, 1, 1, few), few)
    say(f"1 process, {CORES} threads", wide := processes(given, 1, CORES, few), few)
    steps = packed["train"] / CORES
    # a process starts once, however many cells it takes
    start = one["wall"] - one["cells"]
    slow = {
        "1 thread": start + one["cells"] / few * all_,
        f"{CORES} threads": start + wide["cells"] / few * all_,
    }
    sys.stdout.write(
        f"the sweep over its training steps ({steps:.1f} s a core): x{sweep / steps:.3f}; "
        f"over the same processes without a driver: x{sweep / packed['wall']:.3f}\n"
    )
    for name, seconds in slow.items():
        sys.stdout.write(f"one process with {name} over the sweep: x{seconds / sweep:.2f}\n")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--cells", type=int, default=16)
    parser.add_argument("--alone", type=int, default=4, help="cells for the ways of one process")
    parser.add_argument("--method", default="seqlora")
    parser.set_defaults(device="cpu")
    parser.add_argument("--turn", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", default=["train.epochs=5"], metavar="OVERRIDE")
    return parser.parse_args()


if __name__ == "__main__":
    asked = arguments()
    if asked.turn:
        threads, index, cells, count = asked.turn["turn"]
        alone(argparse.Namespace(**asked.turn), threads, slice(index, cells, count))
    else:
        main(asked)
