"""`python -m tests.slurm.incidents [FOLDER]`: a sweep of 24 cells, and everything that clusters do.

Preemption by a higher partition, time limits, a requeue from outside, a cancelled task, a node
that SLURM no longer hears of, a power cut, and the death of the process that watched it. Prints
what each cost: seconds of training lost, and seconds until the task's place trained again.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cluster import slurm
from cluster.submission import Submission
from tests.slurm.help import Login, differing, inline, wait
from tests.slurm.site import Site

LOSE_AT_MOST_S = 5.0
"""Between checkpoints, in these cells of a few seconds each."""

PATIENCE_S = 900.0
"""A busy machine may take this long for what takes a minute on a quiet one."""

WORDS = (
    *("profile.partition=low", "profile.tasks=3", "profile.cpus=4", "profile.minutes=10"),
    *("profile.warn_s=60", f"profile.lose_at_most_s={LOSE_AT_MOST_S}"),
)
"""One task fills a node. On a busy machine tasks also meet their time limit."""


@dataclass
class Incident:
    """What one incident did."""

    name: str
    lost_s: float
    """Seconds of training whose steps had to be trained again (an upper bound: since the last
    checkpoint)."""
    back_s: float | None
    """Seconds from the incident to the next step of the cell that it hit; None: others did it."""


class Scenario:
    """The sweep, and the incidents that befall it."""

    def __init__(self, site: Site, folder: Path, epochs: int = 4) -> None:
        self.site = site
        self.login = Login(site, folder, epochs=epochs)
        self.found: list[Incident] = []

    def submit(self) -> Submission:
        """Submit, and watch in a process that is killed at once."""
        self.started = time.time()
        self.submission = self.login.submit(*WORDS)
        self.submitted = time.time()
        watching = subprocess.Popen(
            self.login.command("watch"), env=self.login.env, stdout=subprocess.DEVNULL
        )
        self._training(1)
        watching.kill()
        watching.wait()
        self.found.append(Incident("driver killed", 0.0, 0.0))
        return self.submission

    def run(self) -> list[Incident]:
        """Everything, one after the other."""
        self.submit()
        self.hit("preempted", self._preempt)
        self.hit("requeued from outside", lambda row: self._say("scontrol", "requeue", row.name))
        self.hit("node cut off", lambda row: self.site.cut_off(row.node), killed=True)
        self._reconnect()
        self.hit("power cut", lambda row: self.site.power_off(row.node), killed=True)
        for node in self.site.nodes:
            self.site.boot(node)
        self.site.wait(lambda: self.site.up() == 3, 60, "the nodes")
        self.hit("task cancelled", lambda row: self._say("scancel", row.name))
        self.login.finish(self.submission, 2 * PATIENCE_S)
        self._time_limits()
        return self.found

    def hit(
        self, name: str, strike: Callable[[slurm.Queued], object], killed: bool = False
    ) -> None:
        """Let an incident befall a task in the middle of a cell, and see what becomes of it."""
        row, cell = self._training(1)[0]
        step = self._position(cell)
        checkpoint = self._checkpoint_time(cell)
        self.struck = (row, cell)
        before = self.login.store.last_claim(cell)
        at = time.time()
        strike(row)
        resumed = wait(lambda: self._resumed(cell, before), PATIENCE_S, f"{cell} after {name}")
        lost = at - checkpoint if killed else self._lost_steps_s(cell, before, step)
        self.found.append(Incident(name, round(lost, 1), round(resumed - at, 1)))
        print(json.dumps(asdict(self.found[-1])), flush=True)

    # ---- what happens --------------------------------------------------------------------------
    def _preempt(self, row: slurm.Queued) -> None:
        """A job of the higher partition that needs the whole node."""
        words = ("-p", "high", "-w", row.node, "-c", "4", "-t", "1", "-o", "/dev/null")
        self._say("sbatch", *words, "--wrap", "sleep 2")

    def _reconnect(self) -> None:
        """The node is back; the process that went on alone must have written nothing."""
        row, _ = self.struck
        self.site.reconnect(row.node)
        wait(
            lambda: self.site.ask("sinfo", "-h", "-n", row.node, "-o", "%T") != "down*", 60, "node"
        )

    def _say(self, *words: str) -> None:
        subprocess.run(words, env=self.site.env, check=True, capture_output=True)

    # ---- what is seen --------------------------------------------------------------------------
    def _training(self, count: int) -> list[tuple[slurm.Queued, str]]:
        """Tasks that are in the middle of a cell, with its id; waits for `count` of them."""

        def look() -> list[tuple[slurm.Queued, str]]:
            with _conf(self.site):
                rows = {row.name: row for row in slurm.queue(self.submission.id)}
            found = []
            for event in self.login.events(self.submission, "first-step"):
                name, _, restart = event["job"].rpartition(".r")
                row, cell = rows.get(name), event["cell"]
                alive = row and row.state == "RUNNING" and row.restarts == int(restart)
                ended = self.login.store.status(cell) != "running"
                if alive and not ended and self._checkpoint_time(cell):
                    found.append((row, cell))
            return found if len(found) >= count else []

        return list(wait(look, PATIENCE_S, "training"))

    def _checkpoint_time(self, cell: str) -> float:
        """When the newest checkpoint of a cell was written; 0 when there is none."""
        files = (self.login.store.run_dir(cell) / "ckpt").glob("*/*.safetensors")
        return max((path.stat().st_mtime for path in files), default=0.0)

    def _position(self, cell: str) -> dict[str, Any]:
        return self.login.store.beat(cell) or {}

    def _resumed(self, cell: str, before: int) -> float:
        """When a later claim of the cell made its first step, or committed."""
        store = self.login.store
        if store.last_claim(cell) <= before:
            return 0.0
        names = ("first-step", "done")
        events = [e for e in self.login.events(self.submission) if e.get("cell") == cell]
        claims = [e["at"] for e in events if e["event"] == "cell"]
        later = [e["at"] for e in events if e["event"] in names and e["at"] > claims[-1]]
        return later[0] if later else 0.0

    def _lost_steps_s(self, cell: str, before: int, step: dict[str, Any]) -> float:
        """0 when the run noted its end, which it does after saving the step it stood at; else NaN.

        This trusts the run: the steps themselves are not compared.
        """
        folder = self.login.store.run_dir(cell) / "attempts"
        end = folder / f"{before:06d}" / "end.json"
        return 0.0 if end.exists() else float("nan")

    def _time_limits(self) -> None:
        """Each warning that was answered by a checkpoint and a requeue."""
        warned = [e for e in self.login.events(self.submission, "requeue") if e["signal"] == "USR2"]
        for event in warned:
            name, _, restart = event["job"].rpartition(".r")
            later = [
                e["at"]
                for e in self.login.events(self.submission, "first-step")
                if e["job"] == f"{name}.r{int(restart) + 1}"
            ]
            back = round(later[0] - event["at"], 1) if later else None
            self.found.append(Incident("time limit", 0.0, back))
            print(json.dumps(asdict(self.found[-1])), flush=True)

    def start_up(self) -> dict[str, float]:
        """From submit to the first training step: seconds, and what they are made of."""
        events = self.login.events(self.submission)
        first = next(e for e in events if e["event"] == "first-step")
        job = [e for e in events if e["job"] == first["job"] and e["at"] <= first["at"]]
        at = {e["event"]: e["at"] for e in reversed(job)}
        marks = [("submit", self.submitted), ("queue, start of Python", at["task"])]
        marks += [("check of the node", at["check"]), ("worker starts", at["worker"])]
        marks += [("import of torch", at["ready"]), ("claim of a cell", at["cell"])]
        marks += [("data, model, first step", first["at"])]
        parts, last = {}, self.started
        for name, moment in marks:
            parts[name], last = round(moment - last, 2), moment
        return {**parts, "in all": round(first["at"] - self.started, 2)}


@contextmanager
def _conf(site: Site) -> Iterator[None]:
    """SLURM's commands in this process talk to the virtual site."""
    import os

    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = site.env["SLURM_CONF"]
    try:
        yield
    finally:
        os.environ.pop("SLURM_CONF")
        os.environ.update({"SLURM_CONF": before} if before else {})


def main(folder: Path) -> None:
    """Run the scenario in `folder` and compare with an inline run."""
    with Site(folder / "site") as site:
        (folder / "home").mkdir()
        scenario = Scenario(site, folder / "home")
        scenario.run()
        print(json.dumps({"start": scenario.start_up()}), flush=True)
    other = inline(scenario.submission, folder / "inline")
    bad = differing(scenario.submission, scenario.login.store, other)
    print(json.dumps({"cells": len(scenario.submission.work[0]), "differing": bad}))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    given = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="incidents-")
    Path(given).mkdir(parents=True, exist_ok=True)
    main(Path(given).resolve())
