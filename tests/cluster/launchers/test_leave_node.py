"""A node that cannot train is left out by the job's script; SLURM's commands are stand-ins."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from cluster.launchers import leave_node
from cluster.record.submission import Submission, read_events

SCRIPT = Path(__file__).resolve().parents[3] / "cluster" / "launchers" / "leave_node.sh"

SCONTROL = """\
#!/bin/bash
echo "$@" >>"$SAID"
case "$1 $2" in
    "--oneliner show") echo "JobId=5 JobState=$STATE ExcNodeList=$GIVEN Name=x" ;;
    "show hostnames") echo "$3" | tr , '\\n' ;;
    requeue*) [ -z "$REFUSAL" ] || { echo "$REFUSAL"; exit 1; } ;;
esac
"""


class Node:
    """Runs the script as task 5_0 on node1 of a partition of three nodes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, folder / "said"
        for name in ("jobs", "events", "bin"):
            (folder / name).mkdir()
        commands = {"scontrol": SCONTROL, "sinfo": "printf '%s\\n' $NODES\n", "sleep": ""}
        for name, text in commands.items():
            path = folder / "bin" / name
            path.write_text(text if text.startswith("#!") else f"#!/bin/bash\n{text}")
            path.chmod(0o755)
        self.env = {
            "PATH": f"{folder}/bin:{os.environ['PATH']}",
            "SAID": str(self.said),
            "STATE": "RUNNING",
            "GIVEN": "(null)",
            "NODES": "node1 node2 node3",
            "REFUSAL": "",
            "SLURM_JOB_ID": "6",
            "SLURM_ARRAY_JOB_ID": "5",
            "SLURM_ARRAY_TASK_ID": "0",
            "SLURM_JOB_PARTITION": "main",
            "SLURMD_NODENAME": "node1",
        }

    def end(self, status: int, **env: str) -> int:
        """A task ends with `status`; the exit status of the script."""
        self.said.write_text("")
        words = ["bash", str(SCRIPT), str(self.folder), str(status)]
        done = subprocess.run(words, env=self.env | env, capture_output=True, text=True)
        assert not done.stderr, done.stderr
        return done.returncode

    def commands(self) -> list[str]:
        """What was asked of `scontrol`, without the questions."""
        return [s for s in self.said.read_text().splitlines() if "show" not in s]

    def unfit(self) -> list[dict[str, str]]:
        """What was noted."""
        return read_events(sorted((self.folder / "events").glob("*-unfit.jsonl")))


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


def spoke(node, label="5_0.r0", name="node1", **more):
    event = {"at": 1, "event": "task", "node": name, **more}
    with open(node.folder / "events" / f"{label}.jsonl", "a") as stream:
        stream.write(json.dumps(event) + "\n")


def test_a_node_where_python_does_not_start_is_left_out_and_its_words_are_kept(node):
    log = node.folder / "jobs" / "5_0_0_log.out"
    said = 'execve(): "/venv/bin/python": No such file\n'
    log.write_text(f"{said}srun: error: node1: task 0: Exited with exit code 2\n\n")
    assert node.end(2) == 2
    assert node.commands() == [
        "requeue 5_0",
        "update JobId=5_0 ExcNodeList=node1",
        "update JobId=5 ExcNodeList=node1",
    ]
    (found,) = node.unfit()
    assert found["node"] == "node1" and found["then"] == "requeued without node1"
    assert found["why"].endswith("(exit status 2): execve(): /venv/bin/python: No such file")


def test_a_node_that_fails_its_check_is_left_out_beside_those_known_before(node):
    spoke(node, ok=False)
    (node.folder / "events" / "5_9.r0-unfit.jsonl").write_text('{"at": 1, "node": "node3"}\n')
    assert node.end(4, GIVEN="node7") == 4
    assert "update JobId=5_0 ExcNodeList=node1,node3,node7" in node.commands()


@pytest.mark.parametrize("status", [0, 1, 137])
def test_every_other_end_is_passed_on(node, status):
    spoke(node)
    assert node.end(status) == status
    assert not node.commands() and not node.unfit()


@pytest.mark.parametrize("status", [137, 140, 143])
def test_a_task_that_was_killed_before_its_first_word_says_nothing_about_the_node(node, status):
    assert node.end(status) == status and not node.unfit()


def test_a_cancelled_task_is_not_requeued(node):
    assert node.end(4, STATE="CANCELLED") == 4
    assert not node.commands() and not node.unfit()


def test_python_that_ends_well_without_a_word_is_no_success(node):
    assert node.end(0) == 4 and "update JobId=5_0 ExcNodeList=node1" in node.commands()


def test_a_task_gives_up_after_three_nodes(node):
    nodes = " ".join(f"node{k}" for k in range(1, 9))
    for restart in range(3):
        env = {"SLURM_RESTART_COUNT": str(restart), "SLURMD_NODENAME": f"node{restart + 1}"}
        assert node.end(4, NODES=nodes, **env) == 4
    assert not node.commands()
    assert (
        node.unfit()[-1]["then"] == "given up: 3 starts of this task met nodes that could not train"
    )


def test_a_task_gives_up_where_no_other_node_is_left(node):
    assert node.end(4, NODES="node1") == 4
    assert not node.commands() and "no other node is left" in node.unfit()[0]["then"]


def test_a_requeue_that_slurm_refuses_ends_the_task(node):
    assert node.end(4, REFUSAL='scontrol: error: "no" requeue here') == 4
    assert node.commands() == ["requeue 5_0"]
    assert "SLURM refuses the requeue" in node.unfit()[0]["then"]


def test_a_node_that_cannot_write_to_the_store_is_left_out_a_bounded_number_of_times(node):
    for name in ("events", "jobs"):
        (node.folder / name).rmdir()
    for restart, commands in ((0, 3), (2, 0)):
        words = ["bash", str(SCRIPT), str(node.folder), "4"]
        node.said.write_text("")
        env = node.env | {"SLURM_RESTART_COUNT": str(restart)}
        assert subprocess.run(words, env=env, capture_output=True).returncode == 4
        assert len(node.commands()) == commands


RAY = {"SLURM_ARRAY_JOB_ID": "", "SLURM_JOB_NODELIST": "node1,node2", "NODES": "a b node1 node2"}


def test_a_ray_job_leaves_out_the_nodes_that_failed_their_check_or_never_spoke(node):
    nodes = {"SLURM_JOB_NODELIST": "node1,node2,node3", "NODES": "a b c node1 node2 node3"}
    spoke(node, "6.r0-node0")
    spoke(node, "6.r0-node1", "node2", ok=False)
    assert node.end(4, **RAY | nodes) == 4
    assert node.commands() == ["requeue 6", "update JobId=6 ExcNodeList=node2,node3"]
    assert [(e["node"], e["why"][:6]) for e in node.unfit()] == [
        ("node2", "check"),
        ("node3", "Python"),
    ]


def test_a_ray_job_whose_driver_started_is_not_put_back_for_a_node_that_never_came(node):
    spoke(node, "6.r0-node0")
    spoke(node, "6.r0-node0", event="driver")
    assert node.end(2, **RAY) == 2 and not node.commands() and not node.unfit()


def test_a_ray_job_gives_up_where_too_few_nodes_are_left(node):
    spoke(node, "6.r0-node0")
    assert node.end(1, **RAY | {"NODES": "node1 node2 a"}) == 1
    assert node.commands()  # one of the two was bad: two are left
    node.env["SLURM_RESTART_COUNT"] = "1"
    spoke(node, "6.r1-node0")
    assert node.end(1, **RAY | {"NODES": "node1 node2"}) == 1
    assert not node.commands() and "no other node is left" in node.unfit()[-1]["then"]


def first_lines(node, folder):
    """Runs the first lines of a job's script; its exit status."""
    node.said.write_text("")
    made = Submission(folder)
    made.__dict__["record"] = {"code": "0123456789abcdef"}
    lines = leave_node.first_lines(made)
    script = "\n".join([*lines, "echo on we go"])
    return subprocess.run(["bash", "-c", script], env=node.env, capture_output=True).returncode


def test_the_script_writes_to_the_log_of_its_task(node):
    assert first_lines(node, node.folder) == 0
    assert (node.folder / "jobs" / "5_0_0_log.out").read_text() == "on we go\n"
    assert not node.commands()


def test_a_node_that_does_not_see_the_store_is_left_out_a_bounded_number_of_times(node, tmp_path):
    gone = tmp_path / "not mounted"
    node.env["GIVEN"] = "node7"
    assert first_lines(node, gone) == 4
    assert node.commands() == [
        f"update JobId=5_0 Comment=node1 does not see {gone}/jobs",
        "requeue 5_0",
        "update JobId=5_0 ExcNodeList=node1,node7",
    ]
    node.env |= {"SLURM_RESTART_COUNT": "2", "GIVEN": "(null)"}
    assert first_lines(node, gone) == 4
    assert node.commands() == [f"update JobId=5_0 Comment=node1 does not see {gone}/jobs"]
