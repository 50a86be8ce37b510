"""`python -m tests.perf.big_site [CELLS [WORKERS]]`: a sweep on a site larger than any here.
With `--json` (and no numbers) the two sites of docs/scale.md are written to site.json; `--first`
prints the counts and the first of those rows as JSON.

First counts the file-system calls of what workers do, on a store in a temporary folder. Then a
discrete-event simulation: workers take cells in their real order, every call costs a round trip,
and one server answers at most so many calls a second. Prints a row for each length of a cell: the
server's load, what each cell waits, and how much later than without waiting the sweep ends. The
same counts give the same rows: nothing is drawn but from one seed.
"""

from __future__ import annotations

import heapq
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from cluster.node.job import Job
from cluster.node.job_store import TaskStore
from cluster.node.next_cell import CHECKED, pick
from cluster.scheduler.slurm_commands import Queued
from janus import atomic_files
from janus.config.compose import compose
from tests.perf.claims import count_calls

FIGURES = Path(__file__).with_name("site.json")
SITES = ((10_000, 1_000, (30.0, 5.0, 1.0, 0.25)), (30_000, 3_000, (30.0, 5.0, 1.0)))
"""What docs/scale.md shows: cells, workers, minutes a cell."""

ROUND_TRIP_S = 0.0005
"""Of one call to the file server, when it is idle."""

SERVER_CALLS_S = 10_000
"""Calls the file server answers a second. Both are assumptions: ask your site."""

BEAT_S = 5.0
SAVE_S = 54.0
"""Between heartbeats and checkpoints of a run (`lose_at_most_s` is 60)."""

SPREAD = 0.1
"""Standard deviation of how long cells take, relative to their mean."""

BIN_S = 10.0
"""Over which peaks are averaged."""

TURN = 20
"""Calls that a worker makes before others have theirs answered."""


def measure_calls() -> dict[str, int]:
    """{what a worker does: file-system calls}, counted on a small store."""
    counts: Counter[str] = Counter()
    found: dict[str, int] = {}

    @contextmanager
    def noted(name: str, times: int = 1) -> Any:
        before = counts.total()
        yield
        found[name] = round((counts.total() - before) / times)

    pattern = compose({"bench": "glyphs", "backbone": "toy", "method": "janus"})
    cells = [replace(pattern, order=str(n)) for n in range(20)]
    with tempfile.TemporaryDirectory() as folder:
        us, other = Job("1", "1_1", 0, "n1"), Job("2", "1_2", 0, "n2")
        store = TaskStore(folder, us)
        running = [
            Queued("1", "1_1", "RUNNING", 0, "n1", ""),
            Queued("2", "1_2", "RUNNING", 0, "n2", ""),
        ]
        count_calls(counts)
        first = pick(cells[:1], {}, store, 1, lambda: running)
        with noted("take"):
            claim = store.claim(next(first))
        assert claim is not None
        claim.beat({"step": 1}, every_s=0)
        with noted("beat"):
            claim.beat({"step": 2}, every_s=0)
        for number in range(5):  # as janus.training.checkpoint.save_checkpoint
            with noted("save"):
                claim.check()
                path = claim.checkpoint_dir / f"{number:05d}.safetensors"
                atomic_files.replace(path, atomic_files.json_writer({}))
                claim.prune_checkpoints()
        with noted("commit"):
            claim.commit({"id": cells[0].id, "filler": "x" * 4000}, {"seconds": 1.0})
            store.drop_checkpoints(cells[0].id)
            claim.release()
            list(first)
        for cell in cells[1:]:
            held = TaskStore(folder, other).claim(cell)
            assert held is not None
            held.beat({"step": 1})
        with noted("look", 19):
            assert all(store.held(cell.id) for cell in cells[1:])
        with noted("look and ask", 19):
            assert not list(pick(cells[1:], {}, store, 19, lambda: running))
    found["ask"] = found.pop("look and ask") - found["look"]
    found["list results"] = 257
    return found


class Site:
    """Workers, the cells they share, and the one file server that answers them all.

    Calls come in turns of `TURN`, so that no worker keeps the others waiting with a long listing.
    Heartbeats and checkpoints are not simulated one by one: they take their share of the server.
    """

    def __init__(self, cells: int, workers: int, minutes: float, calls: dict[str, int]) -> None:
        draw = random.Random(0)
        mean = 60 * minutes
        self.calls, self.workers = calls, workers
        self.length = [max(1.0, draw.gauss(mean, SPREAD * mean)) for _ in range(cells)]
        # a scheduler starts so many tasks within a minute, not all at once
        self.starts = [draw.uniform(0, 60) for _ in range(workers)]
        self.state = ["open"] * cells
        self.steady = workers * (calls["beat"] / BEAT_S + calls["save"] / SAVE_S)
        self.bins: Counter[int] = Counter()
        self.asked: Counter[int] = Counter()
        self.now = self.waited = 0.0

    def run(self, capacity: float, round_trip_s: float) -> float:
        """Seconds until the last worker has ended, with a server that answers `capacity` a second
        and lets each caller wait `round_trip_s` for each call."""
        free_at = 0.0
        events = [(at, i, self.worker(i), 0) for i, at in enumerate(self.starts)]
        heapq.heapify(events)
        while events:
            self.now, i, worker, left = heapq.heappop(events)
            if not left:
                kind, amount = next(worker, ("end", 0))
                if kind == "end":
                    continue
                if kind == "train":
                    heapq.heappush(events, (self.now + amount, i, worker, 0))
                    continue
                left = int(amount)
            turn = min(left, TURN)
            free_at = max(free_at, self.now) + turn / capacity
            later = max(self.now + turn * round_trip_s, free_at)
            self.bins[int(self.now / BIN_S)] += turn
            self.waited += later - self.now
            heapq.heappush(events, (later, i, worker, left - turn))
        return self.now

    def rest(self, index: int) -> Iterator[int | None]:
        """None for the listing, then the cells of others that are not done by then."""
        yield None
        order = chain(range(index, len(self.state)), range(index))
        yield from [cell for cell in order if self.state[cell] != "done"]

    def worker(self, index: int) -> Iterator[tuple[str, float]]:
        """What a worker does: ("calls", number) or ("train", seconds), as in `next_cell`."""
        cells, calls = len(self.length), self.calls
        held = 0
        for cell in chain(range(index, cells, self.workers), self.rest(index)):
            if cell is None:
                yield "calls", calls["list results"]
            elif self.state[cell] == "open":
                self.state[cell] = "held"
                yield "calls", calls["take"] + held * calls["look"]
                yield "train", self.length[cell]
                yield "calls", calls["commit"]
                self.state[cell], held = "done", 0
            else:
                held += self.state[cell] == "held"
        self.asked[int(self.now / BIN_S)] += 1
        yield "calls", held * calls["look"] + min(CHECKED, held) * calls["ask"]


def simulate(cells: int, workers: int, minutes: float, calls: dict[str, int]) -> dict[str, float]:
    """One row: how long the sweep takes, how much later than without waiting, and the load."""
    site = Site(cells, workers, minutes, calls)
    seconds = site.run(max(1.0, SERVER_CALLS_S - site.steady), ROUND_TRIP_S)
    ideal = Site(cells, workers, minutes, calls).run(float("inf"), 0.0)
    return {
        "cells": cells,
        "workers": workers,
        "minutes": minutes,
        "hours": seconds / 3600,
        "later": seconds / ideal - 1,
        "steady": site.steady,
        "peak": max(site.bins.values()) / BIN_S + site.steady,
        "calls": (site.bins.total() + site.steady * seconds) / cells,
        "wait": site.waited / cells,
        "squeue": max(site.asked.values()) / BIN_S,
    }


def main(cells: int, workers: int, say: Callable[[str], None] = print) -> None:
    """Print the counts and the table."""
    calls = measure_calls()
    say(f"calls: {calls}")
    say(f"{cells} cells, {workers} workers, server {SERVER_CALLS_S} calls/s, {ROUND_TRIP_S} s each")
    say("minutes   hours  later  steady/s  peak/s  calls/cell  wait s/cell  squeue/s")
    for minutes in SITES[0][2]:
        row = simulate(cells, workers, minutes, calls)
        say(
            f"{minutes:7.2f} {row['hours']:7.2f} {row['later']:6.1%} {row['steady']:9.0f} "
            f"{row['peak']:7.0f} {row['calls']:11.0f} {row['wait']:12.2f} {row['squeue']:9.1f}"
        )


def record() -> dict[str, Any]:
    """The counts and the rows of both sites."""
    calls = measure_calls()
    rows = [simulate(c, w, minutes, calls) for c, w, lengths in SITES for minutes in lengths]
    assumed = {"server_calls_s": SERVER_CALLS_S, "round_trip_s": ROUND_TRIP_S, "spread": SPREAD}
    return {"calls": calls, "assumed": assumed, "rows": rows}


if __name__ == "__main__":
    if sys.argv[1:] == ["--json"]:
        FIGURES.write_text(json.dumps(record(), indent=1) + "\n", encoding="utf-8")
        sys.exit()
    if sys.argv[1:] == ["--first"]:
        counted, (cells, workers, lengths) = measure_calls(), SITES[0]
        first = simulate(cells, workers, lengths[0], counted)
        sys.stdout.write(json.dumps({"calls": counted, "row": first}) + "\n")
        sys.exit()
    given = [int(word) for word in sys.argv[1:]]
    main(*given, *[10_000, 1_000][len(given) :])
