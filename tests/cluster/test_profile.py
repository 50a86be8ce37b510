"""Site profiles: typed values, near names, limits that contradict each other."""

from __future__ import annotations

import pytest

from cluster.profile import Profile, load_profile, profile_names
from janus.errors import ConfigError


def test_every_profile_that_ships_is_valid():
    for name in profile_names():
        assert isinstance(load_profile(name), Profile)


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
    ],
)
def test_a_wrong_value_is_named(changes, said):
    with pytest.raises(ConfigError, match=said):
        load_profile("default", changes)


def test_an_unknown_profile_names_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="gpu_packed"):
        load_profile("gpu_paked")
    with pytest.raises(ConfigError, match="yaml"):
        load_profile(str(tmp_path / "none.yaml"))
