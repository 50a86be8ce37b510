"""What a site refuses is said at submit, or by `status`; nothing hangs without a word."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.record.submission import newest, submissions
from cluster.scheduler import slurm_commands
from janus.store.store import Store
from tests.slurm.help import wait


@pytest.fixture
def user(login):
    return login(orders=1)


@pytest.mark.parametrize(
    "words, said",
    [
        (["profile.partition=mian"], "Did you mean 'main'"),
        (["profile.gpus=3"], "at most 2 GPUs on a node"),
        (["profile.gpus=a100:1"], "no GPU of type 'a100'"),
        (["profile.minutes=601"], "at most 600 minutes"),
        (["profile.time=11:00:00"], "at most 600 minutes"),
        (["profile.mem_gb=90"], "at most 8 GB on a node"),
        (["profile.constraint=a100"], "Look at profile.constraint"),
        (["profile.flags={reservation: gone}"], "SLURM refused the job"),
        (["profile=gpu_paked"], "Did you mean 'gpu_packed'"),
        (["mode=rya"], "Did you mean 'ray'"),
        (["profile.partition=closed", "profile.account=guest"], "does not serve this account"),
        (["mode=ray", "profile.nodes=4"], "the partition cannot give"),
    ],
)
def test_a_wrong_request_is_one_line_and_leaves_no_job(user, words, said):
    before = {r.id for r in slurm_commands.queue()}  # jobs of other tests may still be ending
    done = user.run("submit", *words)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert said in done.stderr.splitlines()[-1], done.stderr
    alive = [
        r for r in slurm_commands.queue() if r.state in slurm_commands.ALIVE | slurm_commands.COMING
    ]
    assert not [r for r in alive if r.id not in before]
    assert not user.store.done()


def test_a_store_that_the_nodes_do_not_see_is_told_by_status(user, site):
    user.store = Store(site.root / "private" / "store")
    submission = user.submit("profile.tasks=2")
    ended = slurm_commands.ALIVE | slurm_commands.COMING
    wait(
        lambda: not any(r.state in ended for r in slurm_commands.queue(submission.id)),
        60,
        "the tasks",
    )
    done = user.run("status")
    assert done.returncode == 3
    assert "before they could write a word" in done.stdout
    assert "file system that all nodes share" in done.stdout


def test_data_to_stage_that_is_not_there_is_told_at_submit(user, tmp_path):
    done = user.run("submit", "profile.stage=true", f"bench.cache={tmp_path}/gone")
    assert done.returncode == 2 and "janus.data prepare glyphs" in done.stderr.splitlines()[-1]
    assert not slurm_commands.queue("tiny") and not user.store.root.exists()


def test_staged_data_that_went_while_the_jobs_waited_is_told_by_status(user, tmp_path):
    cache = f"bench.cache={tmp_path}/cache"
    prepare = [sys.executable, "-m", "janus.data", "prepare", "glyphs", cache]
    subprocess.run(prepare, check=True, env=user.env, capture_output=True)
    words = [cache, "profile.stage=true", f"profile.scratch={tmp_path}/node", "profile.tasks=1"]
    submission = user.submit(*words, "profile.flags={begin: now+5}")
    shutil.rmtree(tmp_path / "cache")
    wait(lambda: user.events(submission, "end"), 120, "the task")
    done = user.run("status")
    assert "not fit to train" in done.stdout and "holds no prepared data set" in done.stdout
    assert done.returncode == 3 and not user.store.done()


def test_a_dry_run_prints_the_script_and_leaves_nothing(user):
    done = user.run("submit", "--dry", "profile.gpus=2", "profile.setup=[module load x]")
    assert done.returncode == 0, done.stderr
    for line in ("#SBATCH --gpus-per-node=2", "#SBATCH --array=0-2%3", "module load x"):
        assert line in done.stdout
    assert not user.store.root.exists() and not slurm_commands.queue("tiny-DRY")


def test_more_tasks_than_the_site_takes_in_one_array_become_several(login):
    user = login(orders=9)
    done = user.run("submit", "--dry", "profile.tasks=27")
    assert done.stdout.count("#SBATCH --array=0-19%20") == 1
    assert done.stdout.count("#SBATCH --array=0-6%7") == 1


def test_a_controller_that_does_not_answer_ends_submit_and_is_told_by_status(user, site, tmp_path):
    submission = user.submit("profile.tasks=1", "profile.flags={begin: now+60}")
    deaf = tmp_path / "slurm.conf"
    conf = Path(site.env["SLURM_CONF"]).read_text()
    deaf.write_text(conf.replace(f"SlurmctldPort={site.port}", "SlurmctldPort=1"))
    user.env["SLURM_CONF"] = str(deaf)
    done = user.run("submit")
    assert done.returncode == 2 and "does not answer" in done.stderr.splitlines()[-1]
    done = user.run("status")
    assert done.returncode == 3 and "queue cannot be asked" in done.stdout
    assert "no task is left" not in done.stdout and submission.id in done.stdout
    deaf.write_text("")
    done = user.run("submit")
    assert done.returncode == 2 and "SLURM" in done.stderr.splitlines()[-1]


def test_status_of_what_was_never_submitted_names_the_command(user):
    done = user.run("status")
    assert done.returncode == 2 and "cluster submit tiny" in done.stderr
    assert submissions(user.store) == []


def test_gpus_that_torch_does_not_see_are_told_by_status(user):
    """The fake GPUs are handed out by SLURM, and torch finds none: the check says so."""
    submission = user.submit("profile.gpus=1", "profile.tasks=1")
    wait(lambda: user.events(submission, "end"), 600, "the task")
    done = user.run("status")
    assert "not fit to train" in done.stdout and "sees none of the 1 GPUs" in done.stdout
    assert newest(user.store, "tiny").id == submission.id and not user.store.done()
