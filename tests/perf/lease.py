"""Holders of cells on other machines that fall silent while a sweep runs beside them.

    python -m tests.perf.lease                       a lease of 12 s; two minutes or more
    python -m tests.perf.lease --lease 30

Four processes that say they are other machines hold a cell each when the driver starts: one is
killed, one is stopped and wakes up when its cell has a result, one trains on but its heartbeats
never arrive, and one is well. The driver must leave the last one alone, take over the others when
the lease has passed and not before (it looks between rounds of cells, so it may be later), and end
with the bytes of undisturbed cells. Work done twice is counted, and must stay within the lease for
each holder that fell silent: its checkpoints, which are closer together, are taken over.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from janus import atomic_files
from janus.config.cell import Cell
from janus.store.claims import Claim
from janus.store.store import Store
from sweeps.show.lost_work import LostWork, lost_work
from sweeps.spec.plan import plan
from sweeps.spec.sweep_file import load_sweep
from tests.helpers.chaos import Chaos, compare

WAYS = ("killed", "stopped", "mute", "well")
CHECKPOINT_S = 2.0
"""Between checkpoints of the far holders."""
STEP_S = 1.0
"""What a step takes them: slow machines, so that none is done before the driver looks."""
HEARD_S = 4.0
"""How long the heartbeats of the mute one arrive."""
DRIVER = """
import sys, janus.store.store
janus.store.store.Store.__init__.__defaults__ = (float(sys.argv[1]),)
from sweeps.__main__ import main
sys.exit(main(["run", "smoke", *sys.argv[2:]]))
"""
"""`python -m sweeps run smoke` with a lease that does not take ten minutes."""


@dataclass
class Ended:
    """What became of the cells."""

    lease_s: float
    silent_s: dict[str, float] = field(default_factory=dict)
    """From a holder's last heartbeat to the claim of whoever took its cell over."""
    attempts: dict[str, int] = field(default_factory=dict)
    woken: str = ""
    """Cause of failure that the holder left which was stopped and woke up."""
    results: Chaos = field(default_factory=lambda: Chaos(0))
    repeated: LostWork = field(default_factory=LostWork)
    wall_s: float = 0.0

    @property
    def bound_s(self) -> float:
        """What may be done twice: a lease for each holder that fell silent."""
        return (len(WAYS) - 1) * self.lease_s

    def held(self) -> bool:
        """Whether everything that the lease promises was kept."""
        return (
            not (self.results.missing or self.results.different)
            and set(self.silent_s) == {"killed", "stopped", "mute"}
            and min(self.silent_s.values()) > self.lease_s
            and self.woken == "claim-lost"
            and self.repeated.seconds <= self.bound_s
        )

    def __str__(self) -> str:
        told = ", ".join(f"{way} {seconds:.1f} s" for way, seconds in self.silent_s.items())
        return "\n".join(
            [
                f"{self.results.cells} cells in {self.wall_s:.0f} s, lease {self.lease_s:.0f} s",
                f"silence before a take-over: {told}",
                f"attempts: {self.attempts}; the one that woke up ended with: {self.woken or '--'}",
                f"cells without a result: {self.results.missing}; results that differ: "
                f"{self.results.different}",
                f"work: {self.repeated} (bound: {self.bound_s:.0f} s)",
            ]
        )


def words(store: Path) -> list[str]:
    """Six cells, one worker: four are held by others."""
    tiny = ["backbone=toy", "bench.tasks=4", "bench.train_per_class=10", "train.epochs=4"]
    return [*tiny, "methods=[seqlora]", "orders=6", "workers=1", f"store={store}"]


def cells_of(store: Store) -> list[Cell]:
    """The cells, those of the far holders first."""
    return plan(load_sweep("smoke", words(store.root)).sweep).cells


def hold(store: Store, way: str) -> None:
    """What another machine does: train a cell, and fall silent in its way."""
    import janus.store.claims
    from janus.errors import RunError
    from janus.training.loop import run_cell

    here = janus.store.claims.process_identity()
    janus.store.claims.process_identity = lambda: here | {"host": f"far-{way}", "boot": way}
    if way == "mute":
        beat, first = Claim.beat, []

        def few(claim: Claim, progress: dict[str, Any], every_s: float = 5.0) -> None:
            first.append(time.monotonic())
            if first[-1] - first[0] < HEARD_S:
                beat(claim, progress, every_s)

        Claim.beat = few  # type: ignore[method-assign]

    def slow() -> bool:
        time.sleep(STEP_S)
        return False

    cell = cells_of(store)[WAYS.index(way)]
    try:
        run_cell(cell, store, threads=1, checkpoint_s=CHECKPOINT_S, stop=slow)
    except RunError as error:
        sys.exit(0 if error.cause == "claim-lost" else str(error))


def run(lease_s: float) -> Ended:
    """Four holders and a driver; then compare with the same cells left alone."""
    ended = Ended(lease_s)
    with tempfile.TemporaryDirectory(prefix="lease-", dir="/tmp") as folder:
        calm, wild = Store(Path(folder) / "calm"), Store(Path(folder) / "wild", lease_s)
        cells, started = cells_of(wild), time.monotonic()
        processes = {way: far(wild, way) for way in WAYS}
        try:
            for cell in cells[: len(WAYS)]:
                until(lambda cell=cell: wild.beat(cell.id) is not None)  # type: ignore[misc]
            processes["killed"].kill()
            processes["stopped"].send_signal(signal.SIGSTOP)
            command = [sys.executable, "-c", DRIVER, str(lease_s), *words(wild.root)]
            processes["driver"] = subprocess.Popen(command)
            asleep = wild.result_path(cells[WAYS.index("stopped")].id)
            until(lambda: asleep.exists() or processes["driver"].poll() is not None)
            processes["stopped"].send_signal(signal.SIGCONT)
            for process in processes.values():
                process.wait()
        finally:
            for process in processes.values():
                process.kill()
        ended.wall_s = time.monotonic() - started
        judge(ended, dict(zip(WAYS, cells, strict=False)), wild)
        ended.results = Chaos(len(cells), missing=len({cell.id for cell in cells} - wild.done()))
        train_undisturbed(calm)
        compare(ended.results, calm, wild)
        ended.repeated = lost_work([cell.id for cell in cells], wild)
    return ended


def far(store: Store, way: str) -> subprocess.Popen[bytes]:
    """A holder of a cell in a process of its own."""
    words = ["--far", way, "--store", str(store.root)]
    return subprocess.Popen([sys.executable, "-m", "tests.perf.lease", *words])


def train_undisturbed(store: Store) -> None:
    """The same cells, one after the other."""
    from janus.training.loop import run_cell

    for cell in cells_of(store):
        run_cell(cell, store, threads=1)


def until(holds: Callable[[], bool], patience_s: float = 600.0) -> None:
    """Wait for something that must happen."""
    deadline = time.monotonic() + patience_s
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit("nothing happened")
        time.sleep(0.05)


def judge(ended: Ended, held: dict[str, Cell], store: Store) -> None:
    """Who was taken over, after how long a silence, and what the sleeper left."""
    for way, cell in held.items():
        run_dir = store.run_dir(cell.id)
        ended.attempts[way] = store.attempts(cell.id)
        second = atomic_files.read_json(run_dir / "claims" / "000002.json")
        beat = run_dir / "attempts" / "000001" / "beat.json"
        if second:
            ended.silent_s[way] = second["claimed_at"] - beat.stat().st_mtime
    failure = store.run_dir(held["stopped"].id) / "attempts" / "000001" / "failure.json"
    ended.woken = (atomic_files.read_json(failure) or {}).get("cause", "")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lease", type=float, default=12.0, help="seconds")
    parser.add_argument("--far", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.far:
        hold(Store(given.store), given.far)
        sys.exit(0)
    outcome = run(given.lease)
    sys.stdout.write(f"{outcome}\n")
    sys.exit(not outcome.held())
