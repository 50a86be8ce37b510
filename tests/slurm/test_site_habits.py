"""What sites and people do differently: odd store names, export=NONE, setup lines, typed GPUs."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from cluster.record.code_snapshot import ROOMS
from cluster.scheduler import slurm_commands
from janus.store.store import Store
from tests.slurm.help import ROOT, wait

ODD = 'my st\'ore $x; # (ä) [b] & "c"'


def over(user, submission):
    """Wait until no task waits or runs; {state} of all of them."""
    going = slurm_commands.ALIVE | slurm_commands.COMING
    wait(
        lambda: not any(r.state in going for r in slurm_commands.queue(submission.id)),
        120,
        "the tasks",
    )
    return {row.state for row in slurm_commands.queue(submission.id)}


@pytest.mark.parametrize("mode", ["array", "ray"])
def test_a_store_of_any_name_runs_the_code_as_it_was_submitted(login, tmp_path, mode):
    """The tree is edited between submit and start; every fact tells which code wrote it."""
    user = login(orders=1)
    user.store = Store(user.folder / ODD)
    tree = tmp_path / "tree"
    for room in ROOMS:
        shutil.copytree(ROOT / room, tree / room, ignore=shutil.ignore_patterns("__pycache__"))
    marked = tree / "cluster" / "record" / "submission.py"
    plain = marked.read_text()
    assert '"event": event,' in plain
    marked.write_text(plain.replace('"event": event,', '"event": event, "mark": "submitted",'))
    user.env |= {"PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}
    words = [f"mode={mode}", "profile.tasks=1", "profile.flags={begin: now+5}"]
    submission = user.submit(*words)
    marked.write_text(plain.replace('"event": event,', '"event": event, "mark": "edited",'))
    user.finish(submission, 600)
    assert {event.get("mark") for event in user.events(submission)} == {"submitted"}
    done = user.run("status")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("way", ["profile", "environment"])
def test_a_site_that_exports_nothing_needs_no_line_from_the_user(login, way):
    user = login(orders=1)
    words = ["profile.flags.export=NONE"] if way == "profile" else []
    user.env |= {"SBATCH_EXPORT": "NONE"} if way == "environment" else {}
    submission = user.submit("profile.tasks=1", *words)
    user.finish(submission, 600)
    assert over(user, submission) == {"COMPLETED"}


def test_a_setup_line_that_fails_ends_the_task_and_status_names_it(login):
    user = login(orders=1)
    submission = user.submit("profile.tasks=2", "profile.setup=[module load cuda/99]")
    assert over(user, submission) == {"FAILED"}
    done = user.run("status")
    assert done.returncode == 3 and not user.store.done()
    assert "module load cuda/99" in done.stdout and "status 127" in done.stdout
    assert "before they could write a word" not in done.stdout


def test_a_task_that_lost_its_path_trains_nothing_and_fails(login):
    user = login(orders=1)
    other = f"profile.python=env PYTHONPATH={ROOT} {sys.executable}"
    submission = user.submit("profile.tasks=1", other)
    assert over(user, submission) == {"FAILED"}
    done = user.run("status")
    assert "not from the code that was submitted" in done.stdout and not user.store.done()


@pytest.mark.parametrize(
    "word",
    ["profile.gpus=fake:1", "profile.flags.gpus-per-node=fake:1", "profile.flags.gres=gpu:fake"],
)
def test_typed_gpus_are_asked_for_once(login, word):
    user = login(orders=1)
    submission = user.submit("profile.tasks=1", word, "profile.flags.begin=now+300")
    job = slurm_commands.queue(submission.id)[0].id
    words = ["scontrol", "--oneliner", "show", "job", job]
    told = subprocess.run(words, env=user.env, capture_output=True, text=True).stdout
    assert told.count("gpu:fake") == 1 and "gpu:1" not in told.replace("gpu:fake:1", "")
    user.run("cancel")
