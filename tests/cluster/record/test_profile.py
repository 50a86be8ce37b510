"""Site profiles: typed values, near names, limits that contradict each other."""

from __future__ import annotations

import pytest

from cluster.record.code_snapshot import ROOT
from cluster.record.profile import Profile, load_profile, profile_names
from janus.errors import ConfigError


def test_every_profile_that_ships_is_valid():
    for name in profile_names():
        assert isinstance(load_profile(name), Profile)


def test_the_profile_that_the_documentation_shows_is_valid(tmp_path):
    page = (ROOT / "docs" / "cluster.md").read_text()
    path = tmp_path / "mine.yaml"
    path.write_text(page.partition("```yaml\n")[2].partition("```")[0])
    profile = load_profile(str(path))
    assert (profile.gpus, profile.gpu_type, profile.minutes) == (1, "a100", 240)
    assert len(profile.setup) == 5 and profile.flags["exclude"] == "node[01-03]"


def test_a_file_of_yours_is_read_and_a_word_changes_one_value(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("partition: a100\nminutes: 30\nflags: {reservation: x}\nsetup: [module load a]")
    profile = load_profile(str(path), {"minutes": 90})
    assert (profile.partition, profile.minutes) == ("a100", 90)
    assert profile.setup == ("module load a",) and profile.flags == {"reservation": "x"}


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"minute": 5}, "minutes"),
        ({"minutes": "ten"}, "whole number"),
        ({"minutes": True}, "whole number"),
        ({"tasks": 0}, "at least 1"),
        ({"warn_s": 60, "minutes": 1}, "leaves nothing"),
        ({"device": "tpu"}, "auto, cpu or cuda"),
        ({"device": "cuda"}, "profile.gpus"),
        ({"setup": "module load"}, "a list"),
        ({"lose_at_most_s": 0}, "> 0"),
        ({"lose_at_most_s": "nan"}, "a number"),
        ({"minutes": "2-"}, "04:00:00"),
        ({"time": "infinite"}, "04:00:00"),
        ({"minutes": 0}, "at least 1"),
        ({"mem_gb": "lots"}, "16G"),
        ({"mem": 16}, "needs a unit"),
        ({"gpus": "a100:x"}, "a100:2"),
        ({"gpus": "a100:1,h100:1"}, "a100:2"),
        ({"gpus_by": "gpus"}, "gres"),
        ({"minutes": 5, "time": "1h"}, "profile.time says again"),
        ({"setup": [{"echo a": "b"}]}, "quotes around"),
        ({"partition": "a\nb"}, "one line"),
        ({"flags": {"p": "gpu"}}, "write partition"),
        ({"flags": {"array": "0-3"}}, "profile.tasks"),
        ({"flags": {"ntasks": 2}}, "one process"),
        ({"flags": {"output": "log"}}, "STORE/cluster"),
        ({"flags": {"gres": "gpu:a:1,gpu:b:1"}}, "more than once"),
        ({"flags": {"x\necho": "1"}}, "no flag of sbatch"),
        ({"flags": {"exclusive": None}}, "write true"),
        ({"flags": {"comment": "a\nb"}}, "must be a text"),
        ({"flags": "reservation"}, "a mapping"),
    ],
)
def test_a_wrong_value_is_named(changes, said):
    with pytest.raises(ConfigError, match=said):
        load_profile("default", changes)


def test_an_unknown_profile_names_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="gpu_packed"):
        load_profile("gpu_paked")
    with pytest.raises(ConfigError, match=r"no file .*none\.yaml to read"):
        load_profile(str(tmp_path / "none.yaml"))
    (tmp_path / "site.yaml").write_text("minutes: 5")
    with pytest.raises(ConfigError, match=r"Did you mean 'site\.yaml'"):
        load_profile(str(tmp_path / "sit.yaml"))


def test_a_profile_that_cannot_be_read_is_one_line(tmp_path):
    path = tmp_path / "mine.yaml"
    for content in (
        b"\xff\xfe\x00",
        b"- 1\n",
        b"a: [",
        b"x: " + b"[" * 2000,
        b"tasks: 1\ntasks: 2",
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"mine\.yaml") as error:
            load_profile(str(path))
        assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_profile(f"{tmp_path}/")


@pytest.mark.parametrize(
    "text, minutes",
    [
        *(("240", 240), ("4h", 240), ("4:00:00", 240), ("04:00:00", 240), ("10:00:00", 600)),
        *(("2-00:00:00", 2880), ("2-00:00", 2880), ("1-12", 2160), ("30:30", 31), ("90 min", 90)),
        *(("1d 12h", 2160), ("1.5h", 90), ("2 hours", 120), ("90s", 2)),
    ],
)
def test_a_time_may_be_written_as_for_slurm(tmp_path, text, minutes):
    path = tmp_path / "mine.yaml"
    path.write_text(f"minutes: {text}\nwarn_s: 1\n")
    assert load_profile(str(path)).minutes == minutes
    path.write_text(f"flags: {{time: {text}}}\nminutes: 7\nwarn_s: 1\n")
    assert load_profile(str(path)).minutes == minutes
    assert load_profile("default", {"time": text, "warn_s": 1}).minutes == minutes


@pytest.mark.parametrize(
    "changes, gigabytes",
    [
        ({"mem_gb": 16}, 16),
        ({"mem_gb": "16G"}, 16),
        ({"mem_gb": "16"}, 16),
        ({"mem_gb": "1536M"}, 1.5),
        ({"mem": "16GB"}, 16),
        ({"mem": "1T"}, 1024),
        ({"mem": 0}, 0),
        ({"mem_gb": "null"}, None),
        ({"flags": {"mem": "8GiB"}}, 8),
    ],
)
def test_memory_may_carry_its_unit(changes, gigabytes):
    assert load_profile("default", changes).mem_gb == gigabytes


def test_names_that_yaml_would_change_stay_as_they_are(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("account: 0123\nqos: on\nflags: {begin: 16:00, comment: 1e3}\n")
    profile = load_profile(str(path))
    assert (profile.account, profile.qos) == ("0123", "on")
    assert profile.flags == {"begin": "16:00", "comment": "1e3"}


def test_the_command_line_stands_above_the_flags_of_the_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("gpus: 1\nflags: {gres: 'gpu:a100:2,tmpfs:1G', time: 1h, reservation: x}\n")
    changes = {"gpus": "h100:4", "minutes": 5, "flags.reservation": "y", "flags.exclude": "node1"}
    profile = load_profile(str(path), changes)
    assert (profile.gpus, profile.gpu_type, profile.gpus_by) == (4, "h100", "gres")
    assert profile.minutes == 5
    assert profile.flags == {"gres": "tmpfs:1G", "reservation": "y", "exclude": "node1"}
