"""The job script, run by bash with a stand-in for srun: paths, setup lines, flags of sbatch."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from cluster import sweep_status
from cluster.launchers import job_script
from cluster.record.profile import load_profile
from cluster.record.submission import create_submission, read_events
from janus.config.cell import BackboneConfig, BenchConfig, Cell, MethodConfig, TrainConfig
from janus.store.store import Store

ODD = 'my st\'ore $x; # (ä) [b] & "c" *'

SRUN = """#!/bin/bash
printf '%s\\n' "$PYTHONPATH" "$SLURM_EXPORT_ENV" "${@: -1}" > "$SAID"
"""

CELL = Cell(
    bench=BenchConfig(name="glyphs", source="glyphs", classes=4, tasks=2),
    backbone=BackboneConfig(name="toy", model="toy"),
    method=MethodConfig(name="ncm"),
    train=TrainConfig(),
)


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """An empty queue, and a srun that writes down what it was given."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in {"srun": SRUN, "squeue": "#!/bin/sh\n"}.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    monkeypatch.setenv("SAID", str(tmp_path / "said"))
    monkeypatch.delenv("SLURM_CONF", raising=False)
    return tmp_path / "said"


def submission(root, **profile):
    more = {"code": "0123456789abcdef", "cluster": "slurm", "command": "submit", "mode": "array"}
    return create_submission(
        Store(root), "tiny", [CELL], {}, load_profile("default", profile), more
    )


def lines(root, mode="array", **profile):
    """{flag: value} of the script's #SBATCH lines; each flag must stand there once."""
    found = {}
    for line in job_script.script_text(submission(root, **profile), 3, mode).splitlines():
        if line.startswith("#SBATCH"):
            key, _, value = shlex.split(line, comments=False)[1].partition("=")
            assert key not in found, f"{key} is asked for twice"
            found[key.removeprefix("--")] = value
    return found


def run(made, mode="array"):
    """The script as SLURM would run it, from a file of its own; its `stderr` is the task's log."""
    path = made.folder / "slurm_script"
    path.write_text(job_script.script_text(made, 1, mode))
    job = {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "node1", "SLURM_EXPORT_ENV": "NONE"}
    done = subprocess.run(
        ["bash", path], env={**os.environ, **job}, cwd=made.jobs, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("", "")
    done.stderr = (made.jobs / "7_0_log.out").read_text()
    return done


@pytest.mark.parametrize("mode", ["array", "ray"])
def test_a_store_of_any_name_is_the_one_that_the_job_reads(tmp_path, queue, mode):
    made = submission(tmp_path / ODD)
    done = run(made, mode)
    assert (done.returncode, done.stderr) == (0, "")
    assert queue.read_text().splitlines() == [str(made.code), "ALL", str(made.jobs)]
    told = lines(tmp_path / ODD, mode)
    assert told["chdir"].startswith(str(tmp_path / ODD) + "/")
    assert told["output"] == "/dev/null", "the script opens the log itself"


@pytest.mark.parametrize(
    "setup, named",
    [
        (["module load cuda/99"], "module load cuda/99"),
        (["true", 'echo "a\\b" && false', "true"], 'echo "a\\b" && false'),
        (["if true; then", "  false", "fi"], "  false"),
        (["activate() { local a=1; return 5; }", "activate  x"], "activate  x"),
        (["source bad.sh"], "source bad.sh"),
        (["cd /nowhere/at/all"], "cd /nowhere/at/all"),
        (["false || exit 3"], "one that ends the script"),
        (["set -e", "x=$(false)"], "x=$(false)"),
        (["set -u", "echo $NOT_SET_AT_ALL"], "one that ends the script"),
    ],
)
def test_a_line_of_the_setup_that_fails_ends_the_task_and_is_named(tmp_path, queue, setup, named):
    made = submission(tmp_path / "store", setup=setup)
    (made.jobs / "bad.sh").write_text("false\n")
    done = run(made)
    assert done.returncode != 0 and not queue.exists()
    assert named in done.stderr.splitlines()[-1]
    checks = [e for e in read_events(made.events.glob("*")) if e["event"] == "check"]
    assert len(checks) == 1 and named in checks[0]["lines"][0]
    told = sweep_status.status_of([made]).text
    assert named in told and "profile.setup" in told and "node1" in told


@pytest.mark.parametrize(
    "setup",
    [
        ["[ -d /nowhere ] && echo x", "false || true", "! true"],
        ["if false; then", "  false", "fi"],
        ["source good.sh"],
        ["set -euo pipefail"],
        ["trap 'true' EXIT"],
    ],
)
def test_a_setup_that_works_is_left_alone(tmp_path, queue, setup):
    made = submission(tmp_path / "store", setup=setup)
    (made.jobs / "good.sh").write_text("false\nf() { false; true; }\nf\ntrue\n")
    done = run(made)
    assert done.returncode == 0 and queue.exists(), done.stderr
    assert not list(made.events.iterdir())


@pytest.mark.parametrize(
    "flags, key, value",
    [
        ({"cpus-per-task": 3}, "cpus-per-task", "3"),
        ({"cpus_per_task": "3"}, "cpus-per-task", "3"),
        ({"--time": "2-00:00:00"}, "time", "2880"),
        ({"partition": "other"}, "partition", "other"),
        ({"mem": "16G"}, "mem", "16384M"),
        ({"mem-per-cpu": "4G"}, "mem-per-cpu", "4G"),
        ({"gpus-per-node": "a100:1"}, "gpus-per-node", "a100:1"),
        ({"gpus_per_task": "2"}, "gpus-per-task", "2"),
        ({"gres": "gpu:a100:1,tmpfs:100G"}, "gres", "gpu:a100:1,tmpfs:100G"),
        ({"gres": "lustre:1"}, "gres", "lustre:1"),
        ({"exclude": ["node1", "node2"]}, "exclude", "node1,node2"),
        ({"exclusive": True}, "exclusive", ""),
        ({"requeue": False}, "no-requeue", ""),
        ({"requeue": "no"}, "no-requeue", ""),
        ({"no-requeue": True}, "no-requeue", ""),
        ({"wckey": "mine"}, "wckey", "mine"),
        ({"nodes": 1}, "nodes", "1"),
    ],
)
def test_a_flag_stands_for_the_field_that_says_the_same(tmp_path, flags, key, value):
    fields = {"gpus": 4, "cpus": 8, "mem_gb": 2, "partition": "gpu"}
    told = lines(tmp_path, flags=flags, **fields)
    assert told[key] == value
    asked = [k for k in told if k.startswith("gpus")] + [k for k in told if "gpu:" in told[k]]
    assert len(asked) == 1
    assert len([k for k in told if k.startswith("mem")]) == 1
    assert ("wckey" in told) == ("wckey" in flags)
    assert ("requeue" in told) == (key != "no-requeue")


@pytest.mark.parametrize("spelled", [{"gpus": "a100:2"}, {"gpus_per_node": "a100:2"}])
def test_typed_gpus_are_asked_for_once_and_read_back(tmp_path, spelled):
    assert lines(tmp_path, **spelled)["gpus-per-node"] == "a100:2"
    kept = submission(tmp_path, **spelled, gpus_by="gres").profile
    assert (kept.gpus, kept.gpu_type, kept.gpus_by) == (2, "a100", "gres")


def test_the_script_of_a_profile_that_says_nothing_asks_for_no_gpu_and_no_wckey(tmp_path):
    told = lines(tmp_path)
    assert not re.search("gpu|gres|wckey|mem|partition", " ".join(told))
    assert Path(told["chdir"]).name == "jobs" and told["time"] == "60"


@pytest.mark.parametrize("setup", [[], ["set -euo pipefail"], ["trap 'echo mine' EXIT"]])
def test_the_exit_status_of_the_task_goes_to_what_looks_after_bad_nodes(tmp_path, queue, setup):
    made = submission(tmp_path / ODD, setup=setup)
    (tmp_path / "bin" / "srun").write_text("#!/bin/sh\nexit 3\n")
    path = made.code / "cluster" / "launchers" / "leave_node.sh"
    path.parent.mkdir(parents=True)
    path.write_text('echo "looks after $2 of $1"\nexit "$2"\n')
    done = run(made)
    assert done.returncode == 3
    assert done.stderr.splitlines()[0] == f"looks after 3 of {made.folder}"
    assert ("mine" in done.stderr) == (setup[:1] == ["trap 'echo mine' EXIT"])


def test_a_setup_line_that_fails_here_may_be_fine_on_another_node(tmp_path, queue):
    made = submission(tmp_path / "store", setup=["false"])
    path = made.code / "cluster" / "launchers" / "leave_node.sh"
    path.parent.mkdir(parents=True)
    path.write_text('echo "looks after $2"\n')
    assert "looks after 4" in run(made).stderr
