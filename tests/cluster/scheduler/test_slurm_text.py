"""What SLURM prints, read; and what it refuses, explained."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.launchers import LAUNCHERS
from cluster.launchers.launcher import task_count
from cluster.launchers.slurm import check_profile, chunks
from cluster.record.profile import load_profile
from cluster.scheduler import slurm_commands
from cluster.scheduler.slurm_commands import Queued
from janus.errors import ClusterError


@pytest.mark.parametrize(
    "text, minutes",
    [
        ("30", 30),
        ("30:30", 30.5),
        ("10:00:00", 600),
        ("1-00:00:00", 1440),
        ("7-12", 7 * 1440 + 720),
        ("infinite", float("inf")),
        ("n/a", float("inf")),
    ],
)
def test_time_limits(text, minutes):
    assert slurm_commands.minutes(text) == minutes


@pytest.mark.parametrize(
    "gres, gpus",
    [("(null)", 0), ("gpu:4", 4), ("gpu:a100:8(S:0-1)", 8), ("gpu:a:1,lustre:2,gpu:b:2", 3)],
)
def test_gpus_of_a_node(gres, gpus):
    assert slurm_commands.count_gpus(gres) == gpus


def test_gpus_of_one_type():
    gres = "gpu:a:1,lustre:2,gpu:b:2(S:0-1)"
    assert slurm_commands.count_gpus(gres, "b") == 2 and slurm_commands.gpu_types(gres) == {
        "a",
        "b",
    }


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A site whose partition of GPUs is hidden."""
    command = tmp_path / "sinfo"
    command.write_text(
        "#!/bin/sh\necho 'main*|(null)|4|8000|1:00:00'\n"
        "[ $1 != --all ] || echo 'hid|gpu:a100:2,gpu:h100:4|4|8000|1:00:00'\n"
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("SLURM_CONF", raising=False)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"gpus": "a100:2"}, ""),
        ({"gpus": 6}, ""),
        ({"gpus": "a100:3"}, "at most 2 GPUs on a node of type a100"),
        ({"gpus": "v100:1"}, "no GPU of type 'v100'"),
        ({"partition": "main", "gpus": "a100:1"}, "at most 0 GPUs"),
        ({"partition": "hide"}, "Did you mean 'hid'"),
    ],
)
def test_a_hidden_partition_and_typed_gpus_are_known(site, changes, said):
    profile = load_profile("default", {"partition": "hid", **changes})
    if not said:
        check_profile(profile, slurm_commands.partitions())
        return
    with pytest.raises(ClusterError, match=said):
        check_profile(profile, slurm_commands.partitions())


def test_a_site_without_partitions_is_told():
    with pytest.raises(ClusterError, match="no partition"):
        check_profile(load_profile("default"), [])


@pytest.mark.parametrize("path", ["/a/100%j", "/a/100%", "/a/b\\c", "/a/b\nc"])
def test_a_store_that_slurm_would_read_otherwise_is_refused(path):
    with pytest.raises(ClusterError, match="Name another folder"):
        LAUNCHERS["slurm"].check(Path(path), load_profile("default"), dry=True)
    if "%j" not in path:
        LAUNCHERS["local"].check(Path(path), load_profile("default"), dry=True)


@pytest.mark.parametrize(
    "said, key",
    [
        ("Invalid wckey specification", "profile.flags.wckey"),
        ("Invalid generic resource (gres) specification", "profile.gpu_type"),
        ("Invalid GRES specification (with and without type identification)", "profile.gpu_type"),
        ("jobs here must use --export=NONE", "profile.flags.export"),
    ],
)
def test_refusals_of_site_habits_name_the_key(said, key):
    assert key in slurm_commands.explain_refusal(
        f"sbatch: error: Batch job submission failed: {said}"
    )


def test_a_refusal_names_the_key_to_change():
    text = (
        "sbatch: error: invalid partition specified: nope\n"
        "sbatch: error: Batch job submission failed: Invalid partition name specified"
    )
    assert "profile.partition" in slurm_commands.explain_refusal(text)
    assert "nope" in slurm_commands.explain_refusal(text)
    assert slurm_commands.explain_refusal("sbatch: error: Something new").endswith("Something new.")


def test_only_waiting_jobs_can_be_hopeless():
    reason = "Job's account not known, so it can't use this partition (closed allows staff)"
    assert "account" in slurm_commands.hopeless([Queued("1", "1", "PENDING", 0, "", reason)])
    assert not slurm_commands.hopeless([Queued("1", "1", "PENDING", 0, "", "Priority")])
    assert not slurm_commands.hopeless([Queued("1", "1", "FAILED", 0, "", "BadConstraints")])


def test_arrays_are_cut_to_what_profile_and_site_take():
    profile = load_profile("default", {"chunk": 100, "tasks": 250})
    assert [len(c) for c in chunks(250, profile, 1001)] == [100, 100, 50]
    assert [len(c) for c in chunks(25, profile, 10)] == [10, 10, 5]


def test_there_are_no_more_tasks_than_may_run_nor_than_cells():
    profile = load_profile("default", {"tasks": 16, "cells_at_once": 4})
    assert task_count(1000, profile) == 16
    assert task_count(9, profile) == 3


@pytest.mark.parametrize(
    "said, told",
    [
        ("sinfo: error: x\nsinfo: fatal: Could not establish a configuration source", "slurm.conf"),
        ("slurm_load_jobs error: Unable to contact slurm controller", "does not answer"),
        ("slurm_load_jobs error: Something new", "squeue: slurm_load_jobs error: Something new"),
    ],
)
def test_a_command_that_reaches_nobody_is_explained_in_one_line(said, told, tmp_path, monkeypatch):
    command = tmp_path / "squeue"
    command.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("SLURM_CONF", raising=False)
    with pytest.raises(ClusterError) as error:
        slurm_commands.queue()
    assert told in str(error.value) and "\n" not in str(error.value)


def test_a_slurm_conf_that_is_not_there_is_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    with pytest.raises(ClusterError, match="SLURM_CONF names"):
        slurm_commands.ask("true")


def test_a_machine_without_slurm_is_told_what_to_do_instead(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match=r"no squeue on this machine.*cluster=local"):
        slurm_commands.queue()
