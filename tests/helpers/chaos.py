"""A sweep whose drivers and workers are killed at random, against the same sweep left alone.

Drivers die by SIGKILL, for a while two of them share the store, and one worker dies too. At the
end every cell must have exactly one committed result, byte for byte that of the undisturbed sweep;
nothing that was committed may be gone or written again; and work done twice is counted.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from janus import atomic_files
from janus.store.store import Store
from sweeps.show.lost_work import LostWork, lost_work
from sweeps.spec.plan import plan
from sweeps.spec.sweep_file import load_sweep

TINY = ["backbone=toy", "bench.tasks=2", "bench.train_per_class=2", "bench.test_per_class=1"]
PATIENCE_S = 7200.0
"""For a busy machine: nothing here is a matter of time."""
SECOND_DRIVER_AT = 1
"""The kill before which a second driver works on the store as well."""
WORKER_KILL_AT = 2
"""The kill before which a worker dies."""


@dataclass
class Chaos:
    """What was done to a sweep and what came out."""

    cells: int
    drivers_killed: int = 0
    worker_killed: bool = False
    together_s: float = 0.0
    """How long two drivers worked side by side."""
    done_at_kill: list[int] = field(default_factory=list)
    lost: int = 0
    """Committed results that were gone or rewritten later."""
    missing: int = 0
    different: int = 0
    """Results that differ from those of the undisturbed sweep."""
    wall_s: float = 0.0
    calm_s: float = 0.0
    """The undisturbed sweep."""
    repeated: LostWork = field(default_factory=LostWork)

    def __str__(self) -> str:
        return "\n".join(
            [
                f"{self.cells} cells in {self.wall_s:.0f} s; undisturbed: {self.calm_s:.0f} s",
                f"drivers killed: {self.drivers_killed}, with {self.done_at_kill} cells done; "
                f"worker killed: {self.worker_killed}; two drivers for {self.together_s:.0f} s",
                f"committed results lost or rewritten: {self.lost}; cells without a result: "
                f"{self.missing}; results that differ: {self.different}",
                f"work: {self.repeated}",
            ]
        )


class Driver:
    """A `python -m sweeps run` of its own, with a log of its own."""

    def __init__(self, words: list[str], tmp: str) -> None:
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed with the driver)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sweeps", "run", "smoke", *words],
            env={**os.environ, "TMPDIR": tmp},
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def runs(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    def kill(self) -> None:
        """End it without a chance to tidy up."""
        self.process.kill()
        self.process.wait()

    def finish(self, patience_s: float) -> str:
        """Wait for its end; returns what it printed."""
        try:
            self.process.wait(patience_s)
        finally:
            if self.runs():
                self.kill()
        self.log.seek(0)
        return self.log.read()


def words_of(cells: int, store: Path, workers: int = 2) -> list[str]:
    """The command's words for so many cells: two methods x orders x seeds."""
    orders, seeds = divmod_near(cells // 2)
    return [
        *("methods=[seqlora,janus]", f"orders={orders}", f"seeds={seeds}", f"workers={workers}"),
        *(*TINY, "train.epochs=1", f"store={store}"),
    ]


def divmod_near(number: int) -> tuple[int, int]:
    """Two factors of `number`, as equal as possible."""
    small = max(n for n in range(1, int(number**0.5) + 1) if number % n == 0)
    return number // small, small


def undisturbed(words: list[str], store: Store, tmp: str) -> str:
    """The sweep left alone; returns what it printed."""
    return Driver(words, tmp).finish(PATIENCE_S)


def run(cells: int, kills: int, seed: int = 0, calmly: Callable[..., str] = undisturbed) -> Chaos:
    """Run both sweeps, one after the other, and compare them; `calmly` runs the undisturbed one."""
    chaos, draw = Chaos(cells), random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="chaos-", dir="/tmp") as folder:
        calm, wild = Store(Path(folder) / "calm"), Store(Path(folder) / "wild")
        (tmp := Path(folder) / "t").mkdir()
        start = time.monotonic()
        said = calmly(words_of(cells, calm.root), calm, str(tmp))
        if len(calm.done()) != cells:
            raise SystemExit(f"the undisturbed sweep did not finish:\n{said}")
        chaos.calm_s = time.monotonic() - start
        start = time.monotonic()
        disturb(chaos, wild, words_of(cells, wild.root), str(tmp), kills, draw)
        chaos.wall_s = time.monotonic() - start
        compare(chaos, calm, wild)
        shutil.rmtree(tmp, ignore_errors=True)
    return chaos


def disturb(
    chaos: Chaos, store: Store, words: list[str], tmp: str, kills: int, draw: random.Random
) -> None:
    """Start drivers and kill them at random counts of finished cells; the last one finishes."""
    ids = [cell.id for cell in plan(load_sweep("smoke", words).sweep).cells]
    moments = sorted(draw.sample(range(1, max(kills + 1, int(0.9 * len(ids)))), kills))
    seen: dict[str, int] = {}
    for number, moment in enumerate(moments):
        driver = Driver(words, tmp)
        second = Driver(words, tmp) if number == SECOND_DRIVER_AT % kills else None
        if number == WORKER_KILL_AT % kills:
            chaos.worker_killed |= kill_worker(store, ids)
        together = time.monotonic()
        wait_for(store, moment, driver)
        time.sleep(draw.random())  # somewhere inside a cell
        driver.kill()
        chaos.drivers_killed += 1
        if second is not None:
            chaos.together_s = time.monotonic() - together
            second.process.send_signal(signal.SIGTERM)
            second.finish(PATIENCE_S)
        chaos.done_at_kill.append(len(store.done()))
        chaos.lost += note_results(store, seen)
    said = Driver(words, tmp).finish(PATIENCE_S)
    chaos.lost += note_results(store, seen)
    chaos.missing = len(set(ids) - store.done())
    if chaos.missing:
        sys.stderr.write(said)


def wait_for(store: Store, done: int, driver: Driver, patience_s: float = PATIENCE_S) -> None:
    """Until so many cells have a result, or the driver has ended."""
    deadline = time.monotonic() + patience_s
    while len(store.done()) < done and driver.runs() and time.monotonic() < deadline:
        time.sleep(0.05)


def kill_worker(store: Store, ids: list[str], patience_s: float = PATIENCE_S) -> bool:
    """End the process that holds some running cell; whether one was found."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        for cell_id in ids:
            if store.beat(cell_id) and store.status(cell_id) == "running":
                os.kill(int(store.owner(cell_id)["pid"]), signal.SIGKILL)
                return True
        time.sleep(0.02)
    return False


def note_results(store: Store, seen: dict[str, int]) -> int:
    """Remember the results there are; returns how many remembered ones are gone or rewritten."""
    times = {cell_id: store.result_path(cell_id).stat().st_mtime_ns for cell_id in store.done()}
    lost = sum(times.get(cell_id) != before for cell_id, before in seen.items())
    seen.update(times)
    return lost


def compare(chaos: Chaos, calm: Store, wild: Store) -> None:
    """Results byte by byte, one committed attempt each, and the work done twice."""
    for cell_id in calm.done():
        ours, theirs = wild.result_path(cell_id), calm.result_path(cell_id)
        same = ours.exists() and ours.read_bytes() == theirs.read_bytes()
        chaos.different += not (same and committed_once(wild, cell_id))
    chaos.repeated = lost_work(wild.done(), wild)


def committed_once(store: Store, cell_id: str) -> bool:
    """Whether the attempt that is said to have committed left its provenance."""
    winner = (atomic_files.read_json(store.run_dir(cell_id) / "committed.json") or {}).get(
        "attempt"
    )
    folder = store.run_dir(cell_id) / "attempts" / f"{winner or 0:06d}"
    return winner is None or (folder / "provenance.json").exists()
