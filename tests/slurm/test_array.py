"""A sweep as a job array: every cell once, with the bytes of an inline run."""

from __future__ import annotations

import subprocess

from cluster.node.job_store import TRIES
from tests.slurm.help import differing, inline, wait


def test_twenty_four_cells_end_with_the_bytes_of_an_inline_run(login, tmp_path):
    user = login()
    submission = user.submit("profile.tasks=4", "profile.cells_at_once=2", "profile.device=cpu")
    user.finish(submission, 1200)
    assert len(user.store.done()) == 24
    assert differing(submission, user.store, inline(submission, tmp_path / "inline")) == []
    attempts = [user.store.attempts(cell.id) for cell in submission.work[0]]
    assert attempts == [1] * 24, "nothing was interrupted, so nothing is trained twice"
    done = user.run("status")
    assert done.returncode == 0 and "24 done" in done.stdout
    assert "nothing to submit" in user.run("submit").stdout


def test_a_cancelled_submission_keeps_its_checkpoints_and_goes_on(login):
    user = login(orders=1, epochs=20)
    submission = user.submit("profile.tasks=1", "profile.lose_at_most_s=2")
    wait(lambda: user.events(submission, "first-step"), 600, "training")
    assert user.run("cancel").returncode == 0
    wait(lambda: user.events(submission, "stopped"), 120, "the checkpoint")
    cell = user.events(submission, "stopped")[0]["cell"]
    assert user.store.status(cell) == "open"
    again = user.submit("profile.tasks=3")
    user.finish(again, 1200)
    log = user.run("logs", cell[:8]).stdout
    assert "first-step" in log and "log: " in log


def test_a_cell_that_kills_its_worker_is_failed_and_the_others_are_trained(login):
    """SIGKILL at its first step, as often as it may fail; the sweep goes on without it.

    With 20 epochs its first task is far from a checkpoint when the kill arrives.
    """
    user = login(orders=1, epochs=20)
    submission = user.submit("profile.tasks=1")
    bad = next(c.id for c in submission.work[0] if c.method.name == "seqlora")
    killed: set[int] = set()

    def kill() -> bool:
        attempt = user.store.last_claim(bad)
        owner = user.store.owner(bad)
        if attempt not in killed and user.store.beat(bad) and user.store.status(bad) != "failed":
            killed.add(attempt)
            user.site.kill_inside(owner["host"], owner["pid"])
        return user.store.status(bad) == "failed"

    wait(kill, 1200, "the failure")
    assert user.store.failure(bad)["cause"] == "no-progress" and len(killed) == TRIES
    wanted = {c.id for c in submission.work[0]} - {bad}
    wait(lambda: wanted <= user.store.done(), 600, "the other cells")
    done = user.run("status")
    assert done.returncode == 3 and "no-progress" in done.stdout
    assert "failed cells stay" in user.run("submit").stdout
    again = user.run("resubmit", "--failed", "profile.tasks=1")
    assert again.returncode == 0, again.stderr
    wait(lambda: bad in user.store.done(), 600, "the cell that had failed")


def test_a_task_that_is_warned_saves_and_is_requeued(login):
    user = login(orders=1, epochs=20)
    submission = user.submit("profile.tasks=1", "profile.lose_at_most_s=1000")
    wait(lambda: user.events(submission, "first-step"), 600, "training")
    job = user.events(submission, "task")[0]["job"].partition(".")[0]
    subprocess.run(["scancel", "--signal=USR2", job], env=user.env, check=True)
    wait(lambda: user.events(submission, "requeue"), 300, "the requeue")
    stopped = user.events(submission, "stopped")[0]["cell"]
    user.finish(submission, 1200)
    restarts = {e["job"] for e in user.events(submission, "task")}
    assert restarts == {f"{job}.r0", f"{job}.r1"}
    assert user.store.attempts(stopped) == 2
