"""What a sweep costs beside training, and what a kill in the middle loses: three ways, one grid.

    python -m tests.perf.sweep_overhead                 24 small cells by each of the three
    python -m tests.perf.sweep_overhead --cells 4 --only janus
    python -m tests.perf.sweep_overhead --share         cells of about a minute: share of training

The same cells, on the same machine, one after the other: `python -m sweeps run`, plain Ray Tune
(`Tuner`, after the kill `Tuner.restore`) and Hydra's multirun. Rivals call the same `run_cell`,
each cell with a store of its own, so that nothing of ours helps them. Figures of one run are
comparable with each other only.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from janus.config.cell import Cell
from janus.store.store import Store
from sweeps.execution import cleanup
from sweeps.spec.plan import plan
from sweeps.spec.sweep_file import load_sweep
from tests.helpers.turn_log import Log, log_of_store

SMALL = ["backbone=toy", "bench.tasks=3", "bench.train_per_class=10", "train.epochs=2"]
WORKERS = 2


@dataclass
class Ended:
    """One way through the grid."""

    whole_s: float
    """Undisturbed, from the command to its end."""
    first_step_s: float
    """From the command to the first step of the first cell."""
    start_s: float
    """Median from the start of a cell's turn to its first step."""
    done_at_kill: int
    trained_again: int
    """Cells that had ended before the kill and were trained again."""
    killed_s: float
    """Both commands of the killed sweep together."""


def words(cells: int, store: Path) -> list[str]:
    """Words of our command, from which all three take their cells."""
    orders = f"orders={cells // 2}"
    return ["methods=[seqlora,janus]", orders, f"workers={WORKERS}", *SMALL, f"store={store}"]


def cells_of(number: int) -> list[Cell]:
    """The grid."""
    return plan(load_sweep("smoke", words(number, Path("unused"))).sweep).cells


class FirstStep:
    """Observer that notes when training begins."""

    def __init__(self, log: Log, cell: Cell) -> None:
        self.log, self.cell, self.seen = log, cell, False

    def notify(self, event: str, facts: object) -> None:
        """The first task has begun."""
        if event == "begin" and not self.seen:
            self.seen = True
            self.log.add("step", self.cell.id)


def train(cell: Cell, log: Log, began: float) -> None:
    """One cell in a store of its own: what a rival's task does."""
    from janus.training.loop import run_cell

    log.add("turn", cell.id, began)
    with tempfile.TemporaryDirectory(prefix="so-", dir="/tmp") as folder:
        run_cell(cell, Store(folder), FirstStep(log, cell), threads=1)
    log.add("end", cell.id)


def process_start() -> float:
    """When this process was started, in seconds since the epoch."""
    ticks = float(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - uptime + ticks / os.sysconf("SC_CLK_TCK")


def run_tune(folder: Path, number: int) -> None:
    """Plain Ray Tune: a grid of cells, one function, defaults; restored where it can be."""
    import ray
    from ray import tune

    log, cells = Log(folder / "log"), {cell.id: cell for cell in cells_of(number)}

    def one(config: dict[str, str]) -> None:
        began = process_start()
        train(cells[config["cell"]], log, began)
        tune.report({"done": 1})

    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False)
    path = str(folder / "tune" / "grid")
    if tune.Tuner.can_restore(path):
        tuner = tune.Tuner.restore(path, trainable=one, restart_errored=True)
    else:
        tuner = tune.Tuner(
            one,
            param_space={"cell": tune.grid_search(list(cells))},
            run_config=tune.RunConfig(name="grid", storage_path=str(folder / "tune"), verbose=0),
        )
    tuner.fit()


def run_hydra(folder: Path, number: int) -> None:
    """Hydra's multirun over the same cells: one process, one after the other."""
    import hydra

    log, cells = Log(folder / "log"), cells_of(number)
    (folder / "conf").mkdir(exist_ok=True)
    (folder / "conf" / "grid.yaml").write_text("cell: 0\n")

    def one(config: dict[str, int]) -> None:
        train(cells[config["cell"]], log, time.time())

    listed = ",".join(map(str, range(len(cells))))
    sys.argv = [sys.argv[0], "-m", f"cell={listed}", f"hydra.sweep.dir={folder}/multirun"]
    hydra.main(str(folder / "conf"), "grid", version_base="1.3")(one)()


def ours(folder: Path, number: int) -> list[str]:
    """Our command."""
    return [sys.executable, "-m", "sweeps", "run", "smoke", *words(number, folder / "store")]


def rival(name: str) -> Callable[[Path, int], list[str]]:
    """The command of a rival: this file, in a process of its own."""
    return lambda folder, number: [
        *(sys.executable, "-m", "tests.perf.sweep_overhead", "--inside", name),
        *("--folder", str(folder), "--cells", str(number)),
    ]


COMMANDS: dict[str, Callable[[Path, int], list[str]]] = {
    "janus": ours,
    "tune": rival("tune"),
    "hydra": rival("hydra"),
}


def measure(name: str, number: int) -> Ended:
    """The grid once undisturbed, and once with its driver killed after half of the cells."""
    read = log_of_store if name == "janus" else lambda folder: Log(folder / "log")
    command = COMMANDS[name]
    with tempfile.TemporaryDirectory(prefix="so-", dir="/tmp") as text:
        folder = Path(text)
        began = time.time()
        start(command(folder, number), folder).wait()
        whole = time.time() - began
        log = read(folder)
        steps, turns = log.times("step"), dict(log.times("turn"))
        first = min(at for _, at in steps) - began
        gaps = [at - turns[cell_id] for cell_id, at in steps]
    with tempfile.TemporaryDirectory(prefix="so-", dir="/tmp") as text:
        folder = Path(text)
        began = time.time()
        process = start(command(folder, number), folder)
        while process.poll() is None and len(read(folder).times("end")) < number // 2:
            time.sleep(0.2)
        process.kill()
        process.wait()
        cleanup.end_processes(folder)  # what the driver left: a rival must not wait for them
        before = [cell_id for cell_id, _ in read(folder).times("end")]
        start(command(folder, number), folder).wait()
        ends = [cell_id for cell_id, _ in read(folder).times("end")]
        again = len(ends) - len(set(ends))
        killed = time.time() - began
    return Ended(whole, first, statistics.median(gaps), len(before), again, killed)


def start(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """A command with a temporary folder of its own, silent."""
    (folder / "t").mkdir(exist_ok=True)
    environment = {**os.environ, "TMPDIR": str(folder / "t"), "RAY_TMPDIR": str(folder / "t")}
    environment.setdefault("RAY_AUTH_MODE", "disabled")  # no token in the home of whoever measures
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def share(seconds: float) -> None:
    """Eight cells of about so many seconds each: what part of the wall clock was training.

    Wall clock: the command's whole life. Training: seconds inside tasks, from each cell's
    provenance; imports, data, and waiting for the last cell are none. All over the workers.
    """
    with tempfile.TemporaryDirectory(prefix="so-", dir="/tmp") as folder:
        epochs = epochs_of(seconds)
        store, cells = Store(Path(folder) / "store"), words(8, Path(folder) / "store")
        began = time.time()
        command = [sys.executable, "-m", "sweeps", "run", "smoke", *cells, f"train.epochs={epochs}"]
        subprocess.run(command, check=True)
        wall = time.time() - began
        log = log_of_store(Path(folder))
        first = min(at for _, at in log.times("step")) - began
        spent = sorted((store.provenance(cell_id) or {})["seconds"] for cell_id in store.done())
        sys.stdout.write(
            f"{len(spent)} cells of {spent[0]:.0f} to {spent[-1]:.0f} s on {WORKERS} workers; "
            f"{first:.1f} s to the first step; {wall:.1f} s in all, of which "
            f"{100 * sum(spent) / (WORKERS * wall):.1f} % were training\n"
        )


def epochs_of(seconds: float) -> int:
    """How many epochs make a cell of so many seconds, from two short ones trained here."""
    from janus.training.loop import run_cell

    spent = []
    with tempfile.TemporaryDirectory(prefix="so-", dir="/tmp") as folder:
        store = Store(folder)
        for epochs in (1, 3, 9):  # the first one only warms up
            given = [w for w in words(2, store.root) if not w.startswith("train.epochs=")]
            cell = plan(load_sweep("smoke", [*given, f"train.epochs={epochs}"]).sweep).cells[1]
            run_cell(cell, store, threads=1)
            spent.append((store.provenance(cell.id) or {})["seconds"])
    return max(1, round(3 + (seconds - spent[1]) / ((spent[2] - spent[1]) / 6)))


HEAD = "         whole   to first step   start of a cell   killed: done / again   killed, whole"


def line(name: str, e: Ended) -> str:
    """One row of the table."""
    return (
        f"{name:<6} {e.whole_s:6.1f} s {e.first_step_s:13.1f} s {e.start_s:15.2f} s "
        f"{e.done_at_kill:13} / {e.trained_again:<5} {e.killed_s:13.1f} s"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=24, help="an even number")
    parser.add_argument("--only", choices=list(COMMANDS), action="append")
    parser.add_argument("--share", nargs="?", type=float, const=60.0, metavar="SECONDS")
    parser.add_argument("--inside", choices=["tune", "hydra"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        {"tune": run_tune, "hydra": run_hydra}[given.inside](given.folder, given.cells)
    elif given.share:
        share(given.share)
    else:
        sys.stdout.write(HEAD + "\n")
        for way in given.only or COMMANDS:
            sys.stdout.write(line(way, measure(way, given.cells)) + "\n")
            sys.stdout.flush()
