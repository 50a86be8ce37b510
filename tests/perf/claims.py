"""`python -m tests.perf.claims CELLS CLAIMERS [FOLDER]`: how fast one store hands out cells.

CLAIMERS processes claim, beat, commit and release CELLS cells in the order that tasks use, without
training. Prints cells per second, how long a claim took, file-system calls and files for each cell,
and what was claimed in vain. The calls, not the seconds of this disk, carry over to a shared file
system. Thousands of claimers are fine: each is a process without torch.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from cluster.node.job import Job
from cluster.node.job_store import TaskStore
from cluster.node.next_cell import own_order, pick
from cluster.scheduler.slurm_commands import Queued
from janus.config.cell import Cell
from janus.config.compose import compose
from janus.store.store import Store

COUNTED = ("stat", "listdir", "link", "replace", "fsync", "mkdir", "unlink", "open")


def count_calls(counts: Counter[str]) -> None:
    """Count this process's file-system calls (`scandir` and the builtin `open` as well)."""
    for name in COUNTED:
        setattr(os, name, _counting(name, getattr(os, name), counts))

    def hook(event: str, args: Any) -> None:
        if event == "open" and isinstance(args[0], str):
            counts["open"] += 1
        if event == "os.scandir":
            counts["listdir"] += 1

    sys.addaudithook(hook)


def _counting(name: str, call: Callable[..., Any], counts: Counter[str]) -> Callable[..., Any]:
    def counted(*args: Any, **more: Any) -> Any:
        counts[name] += name != "open"  # the hook hears of every open
        return call(*args, **more)

    return counted


def claimer(root: str, cells: list[Cell], index: int, claimers: int, start: Any, out: Any) -> None:
    """One task's worker, without the training."""
    counts: Counter[str] = Counter()
    store = TaskStore(root, Job(str(index), f"1_{index}", 0, f"n{index}"))
    order = own_order(cells, index, claimers)
    everybody = [Queued(str(i), f"1_{i}", "RUNNING", 0, f"n{i}", "") for i in range(claimers)]
    start.wait()
    count_calls(counts)
    won = tried = 0
    took: list[float] = []
    for cell in pick(order, {}, store, len(cells[index::claimers]), lambda: everybody):
        tried += 1
        began = time.monotonic()
        claim = store.claim(cell)
        if claim is None:
            continue
        took.append(time.monotonic() - began)
        if store.result_path(cell.id).exists():  # as in run_cell
            claim.release()
            continue
        claim.beat({"step": 1}, every_s=0)
        claim.commit({"id": cell.id, "filler": "x" * 4000}, {"seconds": 1.0})
        claim.release()
        won += 1
    out.put((won, tried, took, counts))


def measure(cells: int, claimers: int, folder: Path) -> dict[str, Any]:
    """Run the claimers; `start` lets them go together."""
    pattern = compose({"bench": "glyphs", "backbone": "toy", "method": "janus"})  # no torch
    planned = [replace(pattern, order=str(n)) for n in range(cells)]
    ids = {cell.id for cell in planned}  # hashing belongs to the plan
    gc.freeze()  # what a forked process never touches it shares with this one
    context = multiprocessing.get_context("fork")
    start, out = context.Event(), context.Queue()
    processes = [
        context.Process(
            target=claimer, args=(str(folder), planned, i, claimers, start, out), daemon=True
        )
        for i in range(claimers)
    ]
    for process in processes:
        process.start()
    began, cpu = time.monotonic(), os.times()
    start.set()
    found = [out.get(timeout=600) for _ in processes]  # one that died would be waited for
    wall = time.monotonic() - began
    for process in processes:
        process.join()
    after = os.times()
    busy = (after.children_user + after.children_system) - (cpu.children_user + cpu.children_system)
    calls = sum((counts for *_, counts in found), Counter())
    took = sorted(seconds for *_, each, _ in found for seconds in each)
    files = [len(names) for _, _, names in os.walk(folder)]
    assert Store(folder).done() == ids and cells == sum(won for won, *_ in found)
    return {
        "cells": cells,
        "claimers": claimers,
        "seconds": round(wall, 1),
        "cpu_seconds": round(busy, 1),
        "cells_per_s": round(cells / wall, 1),
        "claim_s": {"median": round(took[len(took) // 2], 3), "longest": round(took[-1], 3)},
        "claims_in_vain": sum(tried - won for won, tried, *_ in found),
        "calls_per_cell": {k: round(v / cells, 1) for k, v in calls.most_common()},
        "files_per_cell": round(sum(files) / cells, 1),
        "folders_per_cell": round(len(files) / cells, 1),
    }


if __name__ == "__main__":
    base = sys.argv[3] if len(sys.argv) > 3 else None
    place = Path(tempfile.mkdtemp(prefix="claims-", dir=base))
    try:
        print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]), place)))
    finally:
        shutil.rmtree(place)
