"""The command line up to the point where a cluster is needed, and `cluster=local` beyond it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time

import pytest

from cluster.__main__ import main, run_command
from cluster.launchers import local
from cluster.record.code_snapshot import ROOT
from cluster.record.submission import newest
from janus.errors import ClusterError, ConfigError
from janus.store.store import Store

TINY = ("scale=tiny", "methods=[ncm,seqlora]", "cluster=local")


def test_a_dry_run_tells_the_forecast_and_starts_nothing(tmp_path, capsys):
    assert main(["submit", "smoke", *TINY, f"store={tmp_path}", "--dry"]) == 0
    told = capsys.readouterr().out
    assert "no forecast for 4 cells" in told and "python -m sweeps probe smoke" in told
    assert "processes on this machine" in told
    assert not (tmp_path / "cluster").exists()


@pytest.mark.parametrize("mode", ["array", "ray"])
def test_a_dry_run_needs_no_slurm_and_says_what_it_could_not_check(
    tmp_path, capsys, monkeypatch, mode
):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SBATCH_QOS", "high")
    words = ["smoke", *TINY[:2], f"mode={mode}", "profile.gpus=a100:1", f"store={tmp_path}/my runs"]
    assert main(["submit", *words, "--dry"]) == 0
    out, err = capsys.readouterr()
    assert "#SBATCH --gpus-per-node=a100:1" in out and "\nsrun " in out
    assert "not checked: partition" in err and "SBATCH_QOS=high" in err
    measure = out.partition("measure: ")[2].splitlines()[0]
    assert measure.startswith("srun --gpus=a100:1 ") and f"'store={tmp_path}/my runs'" in measure
    assert not (tmp_path / "my runs").exists()
    with pytest.raises(ClusterError, match="no sinfo on this machine"):
        main(["submit", *words])


def test_printed_commands_can_be_typed_as_they_stand(tmp_path):
    with pytest.raises(ClusterError) as error:
        main(["status", "smoke", f"store={tmp_path}/my runs"])
    words = shlex.split(str(error.value).partition("with: ")[2])
    assert words == ["python", "-m", "cluster", "submit", "smoke", f"store={tmp_path}/my runs"]


PIPED = """
import subprocess, sys
from pathlib import Path
from cluster.launchers.local import _streams
with _streams(Path(sys.argv[1])):
    child = subprocess.Popen(["sh", "-c", "echo told; exec sleep 60"])
print(child.pid)
"""


def test_a_process_started_for_later_does_not_hold_the_pipe_of_the_command(tmp_path):
    words = [sys.executable, "-c", PIPED, str(tmp_path / "log")]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=50)
    os.kill(int(done.stdout), signal.SIGKILL)
    assert "told" in (tmp_path / "log").read_text() and not done.stderr


@pytest.mark.parametrize(
    "word", ["profile.setup=!!python/name:os.system", "profile.flags=[", "profile=/"]
)
def test_a_profile_word_that_cannot_be_read_is_one_line(tmp_path, capsys, word):
    assert run_command(["submit", "smoke", *TINY, word, f"store={tmp_path}", "--dry"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_search_is_not_submitted(tmp_path):
    with pytest.raises(ConfigError, match="python -m sweeps search smoke_search"):
        main(["submit", "smoke_search", *TINY[:1], f"store={tmp_path}"])


def test_a_tracker_is_refused_with_what_to_do_instead(tmp_path):
    with pytest.raises(ConfigError, match="python -m sweeps sync smoke"):
        main(["submit", "smoke", *TINY, "tracker=wandb", f"store={tmp_path}"])


@pytest.mark.slow
def test_without_slurm_the_same_tasks_finish_the_sweep(tmp_path, capsys):
    words = ["smoke", *TINY, "profile.tasks=2", f"store={tmp_path}"]
    assert main(["submit", *words]) == 0
    deadline = time.monotonic() + 180
    while main(["status", "smoke-tiny", f"store={tmp_path}"]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "4 done" in capsys.readouterr().out
    assert len(Store(tmp_path).done()) == 4


@pytest.mark.slow
def test_a_local_submission_into_a_pipe_returns_while_its_tasks_run(tmp_path):
    words = ["submit", "smoke", *TINY, "profile.tasks=1", "train.epochs=200", f"store={tmp_path}"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "cluster", *words]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=120)
    submission = newest(Store(tmp_path), "smoke-tiny")
    try:
        assert done.returncode == 0 and local.running(submission), done.stderr
        assert len(Store(tmp_path).done()) < 4
    finally:
        local.end(submission)
    deadline = time.monotonic() + 120
    while local.running(submission) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not local.running(submission)
