"""`python -m tests.slurm.incidents [FOLDER]`: a sweep of 24 cells, and everything that clusters do.

In two waves, three tasks at a time: a preemption by a higher partition, a time limit and a requeue
from outside; then a node that SLURM no longer hears of, a power cut and a cancelled task. The
process that watched is killed before all that. Prints what each cost: seconds of training lost, and
seconds until the cell that was hit trained again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cluster.record.submission import Submission
from cluster.scheduler import slurm_commands
from janus import atomic_files
from janus.config.compose import compose
from janus.store.store import Store
from janus.training.loop import run_cell
from sweeps.show.lost_work import read_attempt, stopped_in_order
from tests.slurm.help import FIXED, Login, differing, inline, wait
from tests.slurm.site import Site

LOSE_AT_MOST_S = 2.0
"""Between checkpoints, in these cells of a few seconds each."""

PATIENCE_S = 600.0
"""A busy machine may take this long for what takes a minute on a quiet one."""

CELL_S = 20.0
"""Seconds that one cell trains, alone on a core."""

WORDS = (
    *("profile.partition=low", "profile.tasks=3", "profile.cpus=4", "profile.minutes=10"),
    *("profile.warn_s=60", f"profile.lose_at_most_s={LOSE_AT_MOST_S}"),
)
"""One task fills a node."""


@dataclass
class Incident:
    """What one incident did to the cell that a task was training."""

    name: str
    lost_s: float
    """Seconds of training done again: from the checkpoint that the next attempt started from to
    the incident; 0 when that checkpoint holds all that was trained."""
    back_s: float
    """Seconds from the incident to the first noted step of the next attempt."""


@dataclass
class Hit:
    """A task in the middle of a cell, at the moment when something happened to it."""

    row: slurm_commands.Queued
    cell: str
    """'' while a time limit is near and SLURM has not warned yet: it hits what is trained then."""
    attempt: int
    saved: dict[str, float] = field(default_factory=dict)
    """{checkpoint: when it was written}, of all that were seen."""
    at: float = 0.0


class Scenario:
    """The sweep, and the incidents that befall it.

    A cell takes `CELL_S` on any machine: SLURM holds a requeued task back for two minutes however
    fast the machine is, and enough must be left to train when all three are back.
    """

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.login = Login(site, folder, epochs=epochs_of(CELL_S))
        self.store = self.login.store
        self.found: list[Incident] = []
        self.committed: dict[str, tuple[int, int]] = {}
        """{cell: inode and time of its result}, as they were first seen."""

    def submit(self) -> Submission:
        """Submit, and watch in a process that is killed when training has begun."""
        self.submission = self.login.submit(*WORDS)
        watching = subprocess.Popen(
            self.login.command("watch"), env=self.login.env, stdout=subprocess.DEVNULL
        )
        self._training(1)
        watching.kill()
        watching.wait()
        return self.submission

    def run(self) -> list[Incident]:
        """Everything, and then the rest of the sweep."""
        self.submit()
        self.wave(
            {
                "preemption": self._preempt,
                "time limit": self._shorten,
                "requeue from outside": lambda hit: self._say("scontrol", "requeue", hit.row.name),
            }
        )
        self.wave(
            {
                "node cut off": lambda hit: self.site.cut_off(hit.row.node),
                "power cut": lambda hit: self.site.power_off(hit.row.node),
                "task cancelled": lambda hit: self._say("scancel", hit.row.name),
            },
            afterwards=self._nodes_come_back,
        )
        self.login.finish(self.submission, 2 * PATIENCE_S)
        return self.found

    def wave(
        self,
        strikes: dict[str, Callable[[Hit], object]],
        afterwards: Callable[[dict[str, Hit]], object] = lambda hits: None,
    ) -> None:
        """Let incidents befall as many tasks, all in the middle of a cell; see what becomes."""
        hits = dict(zip(strikes, self._training(len(strikes)), strict=False))
        for name, hit in hits.items():
            hit.at = time.time()
            strikes[name](hit)
        afterwards(hits)
        while hits:
            for name, hit in list(hits.items()):
                self._look(hit)
                if hit.cell and (resumed := self._resumed(hit)):
                    del hits[name]
                    lost = hit.at - hit.saved[self._began_at(hit)]
                    tries = (hit.attempt, hit.attempt + 1)
                    if stopped_in_order(*(read_attempt(self.store, hit.cell, n) for n in tries)):
                        lost = 0.0  # between two tasks all is in a checkpoint from before
                    back = resumed - hit.at
                    self.found.append(Incident(name, round(max(0.0, lost), 1), round(back, 1)))
                    print(json.dumps(asdict(self.found[-1])), flush=True)
                elif time.time() - hit.at > PATIENCE_S:
                    raise TimeoutError(f"cell {hit.cell} did not go on after: {name}")
            time.sleep(0.1)

    # ---- what happens --------------------------------------------------------------------------
    def _preempt(self, hit: Hit) -> None:
        """A job of the higher partition that needs the whole node."""
        words = ("-p", "high", "-w", hit.row.node, "-c", "4", "-t", "1", "-o", "/dev/null")
        self._say("sbatch", *words, "--wrap", "sleep 2")

    def _shorten(self, hit: Hit) -> None:
        """Let the time limit come near: SLURM warns about a minute before it."""
        name, hit.cell = hit.row.name, ""
        spent = slurm_commands.minutes(self.site.ask("squeue", "-h", "-j", name, "-o", "%M"))
        self._say("scontrol", "update", f"JobId={name}", f"TimeLimit={int(spent) + 2}")

    def _nodes_come_back(self, hits: dict[str, Hit]) -> None:
        """When SLURM has given up both nodes, one can be reached again and one is switched on."""

        def lost() -> bool:
            for hit in hits.values():
                self._look(hit)
            return self.site.up() == 1

        wait(lost, 120, "the loss of two nodes")
        self.site.reconnect(hits["node cut off"].row.node)
        for node in self.site.nodes:
            self.site.boot(node)

    def _say(self, *words: str) -> None:
        subprocess.run(words, env=self.site.env, check=True, capture_output=True)

    # ---- what is seen --------------------------------------------------------------------------
    def _training(self, count: int) -> list[Hit]:
        """Tasks in the middle of a cell that has a checkpoint; waits for `count` of them."""

        def look() -> list[Hit]:
            if len(self.store.done()) == len(self.submission.work[0]):
                raise RuntimeError("the sweep ended before all that was to befall it")
            rows = {row.name: row for row in slurm_commands.queue(self.submission.id)}
            found = {}
            for event in self.login.events(self.submission, "first-step"):
                name, _, restart = event["job"].rpartition(".r")
                row, cell = rows.get(name), event["cell"]
                alive = row and row.state == "RUNNING" and row.restarts == int(restart)
                if row and alive and self.store.status(cell) == "running":
                    hit = Hit(row, cell, self.store.last_claim(cell))
                    self._look(hit)
                    if max(hit.saved, default="")[:5] in ("00001", "00002"):  # of four tasks
                        found[name] = hit
            return list(found.values()) if len(found) >= count else []

        return list(wait(look, PATIENCE_S, "training"))

    def _look(self, hit: Hit) -> None:
        """Note the cell's checkpoints, which do not stay, and what is committed, which must."""
        if not hit.cell:
            job = f"{hit.row.name}.r{hit.row.restarts}"
            events = [e for e in self.login.events(self.submission) if e["job"] == job]
            if at := [e["at"] for e in events if e["event"] == "signal"]:
                hit.at = at[0]
            for event in (e for e in events if e["event"] == "stopped"):
                hit.cell, hit.attempt = event["cell"], self.store.last_claim(event["cell"])
                self._say("scontrol", "update", f"JobId={hit.row.name}", "TimeLimit=10")
        for path in (self.store.run_dir(hit.cell) / "ckpt").glob("*/*.safetensors"):
            if path.exists():
                hit.saved.setdefault(path.stem, path.stat().st_mtime)
        for cell in self.store.done():
            stat = self.store.result_path(cell).stat()
            self.committed.setdefault(cell, (stat.st_ino, stat.st_mtime_ns))

    def _resumed(self, hit: Hit) -> float:
        """When a later attempt at the cell made its first step; 0 until then."""
        if self.store.last_claim(hit.cell) <= hit.attempt:
            return 0.0
        events = [e for e in self.login.events(self.submission) if e.get("cell") == hit.cell]
        began = [e["at"] for e in events if e["event"] == "cell" and e["at"] > hit.at]
        steps = [e["at"] for e in events if e["event"] in ("first-step", "done")]
        return next((at for at in steps if began and at > began[0]), 0.0)

    def _began_at(self, hit: Hit) -> str:
        """The checkpoint that the attempt after the incident started from."""
        folder = self.store.run_dir(hit.cell) / "attempts" / f"{hit.attempt + 1:06d}"
        return str(atomic_files.read_json(folder / "job.json")["from"])

    def rewritten(self) -> list[str]:
        """Cells whose committed result was lost or replaced, or that were committed twice."""
        bad = []
        for cell in (cell.id for cell in self.submission.work[0]):
            path = self.store.result_path(cell)
            now = (path.stat().st_ino, path.stat().st_mtime_ns) if path.exists() else None
            runs = (self.store.run_dir(cell) / "attempts").glob("*/provenance.json")
            if now != self.committed.get(cell, now) or now is None or len(list(runs)) != 1:
                bad.append(cell)
        return bad


def epochs_of(seconds: float, few: int = 2, many: int = 42) -> int:
    """As many epochs of the tiny sweep as take so long here, from two runs."""
    took = []
    with tempfile.TemporaryDirectory() as folder:
        for epochs in (few, few, many):  # the first one pays for imports
            cell = compose({"bench": "glyphs", "method": "janus", **FIXED, "train.epochs": epochs})
            start = time.monotonic()
            run_cell(cell, Store(Path(folder) / str(len(took))), threads=1)
            took.append(time.monotonic() - start)
    return max(few, round(seconds * (many - few) / (took[2] - took[1])))


def main(folder: Path) -> None:
    """Run the scenario in `folder` and compare with an inline run."""
    with Site(folder / "site") as site:
        os.environ["SLURM_CONF"] = site.env["SLURM_CONF"]
        (folder / "home").mkdir()
        scenario = Scenario(site, folder / "home")
        scenario.run()
    cells = scenario.submission.work[0]
    other = inline(scenario.submission, folder / "inline")
    facts = {
        "cells": len(cells),
        "attempts": sum(scenario.store.attempts(cell.id) for cell in cells),
        "differing": differing(scenario.submission, scenario.store, other),
        "lost or committed twice": scenario.rewritten(),
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    given = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="incidents-")
    Path(given).mkdir(parents=True, exist_ok=True)
    main(Path(given).resolve())
