"""A Ray cluster inside one allocation: the same cells, the same bytes, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from tests.slurm.help import differing, inline, wait

WORDS = ("mode=ray", "profile.nodes=2", "profile.cpus=2", "profile.minutes=60")


def test_twenty_four_cells_end_with_the_bytes_of_an_inline_run(login, site, tmp_path):
    user = login()
    submission = user.submit(*WORDS)
    user.finish(submission, 600)
    wait(lambda: len(user.events(submission, "end")) == 2, 120, "the end")
    assert differing(submission, user.store, inline(submission, tmp_path / "inline")) == []
    hosts = {user.store.owner(cell.id)["host"] for cell in submission.work[0]}
    assert len(hosts) == 2, "both nodes worked"
    folders = [Path(e["folder"]) for e in user.events(submission, "head")]
    assert folders
    wait(lambda: not [f for f in folders if f.exists()], 60, "the folders to go")
    assert not [pid for node in site.nodes for pid in site.pids(node, "ray")]
    assert user.run("status").returncode == 0


def test_driver_ray_job_and_node_may_die_during_one_sweep(login, site, tmp_path):
    user = login(orders=4, epochs=20)
    submission = user.submit(*WORDS, "profile.lose_at_most_s=2")

    def training_on(node: str) -> bool:
        """Whether a cell is trained there."""
        running = [c.id for c in submission.work[0] if user.store.status(c.id) == "running"]
        ours = [c for c in running if user.store.owner(c).get("host") == node]
        return any(user.store.beat(c) for c in ours)

    first, second = "node1", "node2"
    wait(lambda: training_on(first) and training_on(second), 300, "training on both nodes")
    for pid in site.pids(second, "raylet"):
        os.kill(pid, signal.SIGKILL)
    wait(lambda: not training_on(second) or site.pids(second, "raylet"), 60, "a new raylet")
    driver = user.events(submission, "driver")[0]["pid"]
    site.kill_inside(first, driver)
    wait(lambda: len(user.events(submission, "ready")) == 2, 120, "a second driver")
    done = len(user.store.done())
    wait(lambda: len(user.store.done()) > done, 120, "a cell of the second driver")
    job = user.events(submission, "task")[0]["job"].partition(".")[0]
    subprocess.run(["scancel", "--signal=USR2", job], env=user.env, check=True)
    wait(lambda: user.events(submission, "requeue"), 120, "the requeue")
    wait(lambda: len(user.events(submission, "ready")) == 3, 300, "the second start")
    wait(lambda: training_on(second), 120, "training on the second node")
    site.power_off(second)
    user.finish(submission, 600)
    hit = [cell for cell in submission.work[0] if user.store.attempts(cell.id) > 1]
    other = inline(submission, tmp_path / "inline", hit)
    assert hit and differing(submission, user.store, other, hit) == []
    wait(lambda: user.events(submission, "end")[-1]["why"] == "the driver ended", 60, "the end")
    site.boot(second)
    site.wait(lambda: site.idle() == len(site.nodes), 60, "the nodes")
