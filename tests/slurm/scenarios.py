"""`python -m tests.slurm.scenarios [NAME...]`: what clusters do to jobs, a small sweep each.

Every scenario submits six cells to the virtual site, does one thing to them, and waits until all
have a result. Printed is a row of a Markdown table each: cells with a result, attempts, cells that
were trained twice, whether the result files are those of an undisturbed run, seconds of training
done again, seconds in all, and what `cluster status` says. Exit code 1 if a cell is missing, was
trained twice or has other bytes. All of them take about 45 minutes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cluster.record.submission import Submission, newest, submissions, words_of
from cluster.scheduler import slurm_commands
from janus.errors import suggest
from janus.store.store import Store
from sweeps.show.lost_work import lost_work
from tests.janus.weights.weight_sets import network, save
from tests.slurm.help import ROOT, Login, differing, inline, wait
from tests.slurm.site import Site, missing
from tests.slurm.test_bad_nodes import clear, put, python

EPOCHS = 12
"""A cell then trains for 5 to 10 seconds."""

PATIENCE_S = 900
"""A claim whose holder cannot be seen is free after ten minutes without a heartbeat."""

ARRAY = ("profile.tasks=2", "profile.cpus=1", "profile.lose_at_most_s=2")
RAY = ("mode=ray", "profile.nodes=2", "profile.cpus=2", "profile.lose_at_most_s=2")
ON_NODE3 = "profile.flags={nodelist: node3}"


@dataclass
class Case(Login):
    """The user of one scenario."""

    told: str = ""
    """What a command of the scenario printed."""
    endings: list[Callable[[], object]] = field(default_factory=list)
    """What sets the site right afterwards."""

    def start(self, *words: str, training: int = 2) -> Submission:
        """Submit, and wait until so many cells have a heartbeat."""
        submission = self.submit(*words)
        cells = [cell.id for cell in submission.work[0]]

        def beating() -> bool:
            running = [c for c in cells if self.store.status(c) == "running"]
            return sum(bool(self.store.beat(c)) for c in running) >= training

        wait(beating, 300, "training")
        return submission

    def do(self, *command: str) -> None:
        """Run a command of SLURM, whatever it answers."""
        subprocess.run(command, env=self.site.env, check=False, capture_output=True)

    def task(self, submission: Submission) -> slurm_commands.Queued:
        """A running task of the submission."""

        def running() -> list[slurm_commands.Queued]:
            return [r for r in slurm_commands.queue(submission.id) if r.state == "RUNNING"]

        row: slurm_commands.Queued = wait(running, 120, "a running task")[0]
        return row

    def job(self, submission: Submission) -> str:
        """The number of the submission's Ray job."""
        return str(self.events(submission, "task")[0]["job"]).partition(".")[0]

    def set_node(self, node: str, state: str) -> None:
        """Set the node's state, and RESUME it afterwards."""
        words = ("scontrol", "update", f"NodeName={node}")
        self.do(*words, f"State={state}", "Reason=scenario")
        self.endings.append(lambda: self.do(*words, "State=RESUME"))

    def mount_on_nodes(self, options: str) -> Path:
        """A small file system of its own on every node, at the path that is returned."""
        folder = self.folder / "mounted"
        folder.mkdir()
        for node in self.site.nodes:
            self.site.inside(node, "mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder))
            self.endings.append(partial(self.site.power_off, node))
        return folder

    def only_elsewhere(self, content: bytes, here: bool = False) -> Path:
        """A file that node2 and node3 have under one path and node1 has not."""
        path = self.site.root / "private" / "file"
        if here:
            path.write_bytes(content)  # the login node's own, for `submit`
        for node in ("node2", "node3"):
            put(self.site, path, node, content)
        self.endings.append(lambda: (clear(self.site, path), path.unlink(missing_ok=True)))
        return path

    def weights_elsewhere(self) -> str:
        """The setting for weights that node1 lacks; the reference run uses them, too."""
        content = Path(save(network(in_chans=1).state_dict(), self.folder / "toy.pth")).read_bytes()
        return f"backbone.weights={self.only_elsewhere(content, here=True)}"


Scenario = Callable[[Case], object]
SCENARIOS: dict[str, tuple[str, int, Scenario]] = {}


def scenario(title: str, epochs: int = EPOCHS) -> Callable[[Scenario], Scenario]:
    """Enter a function under its name, with the title of its row and the epochs of its cells."""

    def enter(function: Scenario) -> Scenario:
        SCENARIOS[function.__name__] = title, epochs, function
        return function

    return enter


@scenario("scancel one running task")
def scancel(case: Case) -> None:
    submission = case.start(*ARRAY)
    case.do("scancel", case.task(submission).name)


@scenario("scontrol requeue")
def requeue(case: Case) -> None:
    submission = case.start(*ARRAY)
    case.do("scontrol", "requeue", case.task(submission).name)


@scenario("preemption by a higher partition")
def preempt(case: Case) -> None:
    submission = case.start(*ARRAY, "profile.partition=low")
    node = case.task(submission).node
    words = ("sbatch", "-p", "high", "-w", node, "-c", "4", "-t", "1", "-o", "/dev/null")
    case.do(*words, "--wrap", "sleep 2")


@scenario("time limit of one minute, one task", epochs=5 * EPOCHS)
def time_limit(case: Case) -> None:
    case.submit("profile.tasks=1", *ARRAY[2:], "profile.minutes=1", "profile.warn_s=20")


@scenario("the same without a warning (warn_s=0)", epochs=5 * EPOCHS)
def time_limit_unwarned(case: Case) -> None:
    case.submit("profile.tasks=1", *ARRAY[2:], "profile.minutes=1", "profile.warn_s=0")


@scenario("node set DOWN")
def node_down(case: Case) -> None:
    case.set_node(case.task(case.start(*ARRAY)).node, "DOWN")


@scenario("node set DRAIN")
def node_drain(case: Case) -> None:
    case.set_node(case.task(case.start(*ARRAY)).node, "DRAIN")


@scenario("slurmd killed (-9), its processes live on", epochs=5 * EPOCHS)
def slurmd_killed(case: Case) -> None:
    node = case.task(case.start(*ARRAY)).node
    for pid in case.site.pids(node, "slurmd"):
        if b"slurmstepd" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    case.endings.append(lambda: case.site.power_off(node))


@scenario("power cut of the node with both tasks")
def power_cut(case: Case) -> None:
    case.site.power_off(case.task(case.start(*ARRAY)).node)


@scenario("slurmctld killed (-9), back after 13 s")
def controller_killed(case: Case) -> None:
    case.start(*ARRAY)
    case.site.restart_controller(after_s=13)


@scenario("two submissions at once")
def two_submissions(case: Case) -> None:
    case.submit(*ARRAY)
    case.told = case.run("submit", *ARRAY).stderr.strip().splitlines()[-1]


@scenario("submitted while a local `sweeps run` works")
def beside_local(case: Case) -> None:
    words = ("-m", "sweeps", "run", str(case.sweep), f"store={case.store.root}", "workers=1")
    local = subprocess.Popen(
        [sys.executable, *words],
        env=case.env,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    time.sleep(6)
    case.submit(*ARRAY)
    case.endings.append(lambda: local.communicate(timeout=120))


@scenario("kill -9 of a worker")
def worker_killed(case: Case) -> None:
    submission = case.start(*ARRAY)
    running = [c.id for c in submission.work[0] if case.store.status(c.id) == "running"]
    owner = case.store.owner(running[0])
    assert owner is not None
    case.site.kill_inside(owner["host"], owner["pid"])


@scenario("cancel, then resubmit --failed")
def cancel_resubmit(case: Case) -> None:
    submission = case.start(*ARRAY)
    case.run("cancel")

    def over() -> bool:
        return not any(
            row.state in slurm_commands.ALIVE for row in slurm_commands.queue(submission.id)
        )

    wait(over, 60, "the cancellation")
    done = case.run("resubmit", "--failed")
    assert done.returncode == 0, done.stderr


@scenario("scontrol suspend for 25 s, resume")
def suspend(case: Case) -> None:
    name = case.task(case.start(*ARRAY)).name
    case.do("scontrol", "suspend", name)
    time.sleep(25)
    case.do("scontrol", "resume", name)


@scenario("TMPDIR full on every node")
def full_tmpdir(case: Case) -> None:
    folder = case.mount_on_nodes("size=4k")
    for node in case.site.nodes:
        case.site.inside(node, "sh", "-c", f"cat /dev/zero > {folder}/full || true")
    case.submit(*ARRAY, f"profile.setup=[export TMPDIR={folder}]")


@scenario("HOME read-only")
def read_only_home(case: Case) -> None:
    case.submit(*ARRAY, f"profile.setup=[export HOME={case.mount_on_nodes('size=4k,ro')}]")


@scenario("disk of the store full for 20 s, then resubmit --failed")
def full_store(case: Case) -> None:
    submission = case.start(*ARRAY)
    ballast = case.store.root / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(65536))
    time.sleep(20)
    ballast.unlink()

    def over() -> bool:
        return not any(
            row.state in slurm_commands.ALIVE for row in slurm_commands.queue(submission.id)
        )

    wait(over, 120, "the end of the tasks")
    case.run("resubmit", "--failed")


@scenario("virtual environment missing on one node")
def bad_python(case: Case) -> None:
    case.submit(*ARRAY, f"profile.python={case.only_elsewhere(python())}")


@scenario("weights missing on one node")
def bad_weights(case: Case) -> None:
    case.submit(*ARRAY, case.weights_elsewhere())


@scenario("Ray: raylet of a node killed")
def ray_raylet(case: Case) -> None:
    case.start(*RAY)
    for pid in case.site.pids("node2", "raylet"):
        os.kill(pid, signal.SIGKILL)


@scenario("Ray: head (GCS) killed")
def ray_head(case: Case) -> None:
    case.start(*RAY)
    for pid in case.site.pids("node1", "gcs_server"):
        os.kill(pid, signal.SIGKILL)


@scenario("Ray: scancel, a new Ray job")
def ray_scancel_ray(case: Case) -> None:
    case.do("scancel", case.job(case.start(*RAY)))
    case.submit(*RAY)


@scenario("Ray: scontrol requeue")
def ray_requeue(case: Case) -> None:
    case.do("scontrol", "requeue", case.job(case.start(*RAY)))


@scenario("Ray: power cut of the worker's node")
def ray_power_worker(case: Case) -> None:
    case.start(*RAY)
    case.site.power_off("node2")


@scenario("Ray: power cut of both nodes and scancel, then an array on the third")
def ray_power_both(case: Case) -> None:
    submission = case.start(*RAY)
    case.site.power_off("node1")
    case.site.power_off("node2")
    case.do("scancel", case.job(submission))
    case.submit(*ARRAY, ON_NODE3)


@scenario("Ray: scancel, then an array on another node")
def ray_scancel_array(case: Case) -> None:
    case.do("scancel", case.job(case.start(*RAY)))
    case.submit(*ARRAY, ON_NODE3)


@scenario("Ray: weights missing on one node")
def ray_bad_weights(case: Case) -> None:
    case.submit(*RAY, case.weights_elsewhere())


@scenario("`sweeps run` on a node that loses power, then an array elsewhere")
def dead_local(case: Case) -> None:
    words = ("-m", "sweeps", "run", str(case.sweep), f"store={case.store.root}", "workers=2")
    local = subprocess.Popen(
        ["srun", "-w", "node1", "-c", "2", sys.executable, *words],
        env=case.env,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    runs = case.store.root / "runs"
    wait(lambda: [c for c in runs.glob("??/*") if case.store.beat(c.name)], 200, "training")
    case.site.power_off("node1")
    case.do("scancel", "-u", "root")
    case.submit(*ARRAY, ON_NODE3)
    case.endings.append(local.kill)


HEAD = """\
| what happens | cells | attempts | twice | bytes | redone s | wall s | what status says |
|:--|--:|--:|--:|:--|--:|--:|:--|"""


class Runner:
    """Runs scenarios on one site, and prints the table."""

    def __init__(self, site: Site, folder: Path, disk: Path) -> None:
        self.site, self.folder, self.disk = site, folder, disk
        self.undisturbed: Store | None = None
        self.failed: list[str] = []

    def run(self, name: str) -> None:
        """Run one scenario and print its row."""
        title, epochs, act = SCENARIOS[name]
        folder = (self.disk if name == "full_store" else self.folder) / name
        folder.mkdir()
        case = Case(self.site, folder, orders=2, epochs=epochs)
        began, why = time.monotonic(), ""
        try:
            act(case)
            wait(lambda: self._cells(case) <= case.store.done(), PATIENCE_S, "the sweep")
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            traceback.print_exc()
        wall = time.monotonic() - began
        time.sleep(1)
        status = _short(case.run("status").stdout)
        row = self._row(case, why)
        print(f"| {title} | {row} | {wall:.0f} | {case.told or status} |", flush=True)
        if why or not row.startswith("6/6") or "| 0 | same |" not in row:
            self.failed.append(name)
        self._set_right(case)

    def _cells(self, case: Case) -> set[str]:
        return {cell.id for found in submissions(case.store, "tiny") for cell in found.work[0]}

    def _row(self, case: Case, why: str) -> str:
        submission = newest(case.store, "tiny")
        cells = submissions(case.store, "tiny")[0].work[0]
        done = [cell for cell in cells if cell.id in case.store.done()]
        lost = lost_work([cell.id for cell in cells], case.store)
        changed = differing(submission, case.store, self._reference(case, submission), done)
        same = f"{len(changed)} differ" if changed else "same"
        counts = f"{len(done)}/{len(cells)} | {lost.attempts} | {lost.trained_twice}"
        return f"{counts} | {same if done and not why else why or 'none'} | {lost.seconds:.1f}"

    def _reference(self, case: Case, submission: Submission) -> Store:
        other = case.epochs != EPOCHS
        if other or any("backbone.weights" in word for word in words_of(submission)[1]):
            return inline(submission, case.folder / "undisturbed")
        if self.undisturbed is None:
            self.undisturbed = inline(submission, self.folder / "undisturbed")
        return self.undisturbed

    def _set_right(self, case: Case) -> None:
        for ending in case.endings:
            ending()
        case.do("scancel", "--user=root")
        for node in self.site.nodes:
            self.site.boot(node)
        self.site.wait(lambda: self.site.idle() == len(self.site.nodes), 120, "idle nodes")


def _short(status: str) -> str:
    """The lines of `status` that tell what befell the tasks, in one line of a table."""
    lines = [line.strip() for line in status.splitlines()[1:] if line.strip()]
    return "; ".join(lines)[:300].replace("|", "/")


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 24 MB, mounted before the nodes start, so that all of them see it."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def main(names: list[str]) -> int:
    """Run the scenarios with these names, or all; returns the exit code."""
    for name in names:
        if name not in SCENARIOS:
            print(f"no scenario {name!r}.{suggest(name, SCENARIOS)}", file=sys.stderr)
            return 2
    if why := missing():
        print(f"error: {why}", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="scenarios-")).resolve()
    with small_disk(folder / "disk") as disk, Site(folder / "site") as site:
        os.environ["SLURM_CONF"] = site.env["SLURM_CONF"]
        runner = Runner(site, folder, disk)
        print(HEAD, flush=True)
        for name in names or SCENARIOS:
            runner.run(name)
    if runner.failed:
        print(f"failed: {', '.join(runner.failed)}", file=sys.stderr)
    return 1 if runner.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
