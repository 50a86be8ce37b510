"""KEY=VALUE words: a path is taken as it is typed, whatever letters it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from janus.config.overrides import PATH_KEYS, parse_overrides, path_override
from janus.errors import ConfigError
from sweeps.spec.sweep_file import load_sweep

ODD = ["für", "数据集", "Cars (196)", "run#1", "lr=0.1", "a b", "a,b", "x&y;z", "[1]", "it's", "~x"]


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("key", PATH_KEYS)
def test_a_path_is_what_was_typed(key, name):
    path = f"/data/{name}"
    assert parse_overrides([f"{key}={path}"]) == {key: path}


@pytest.mark.parametrize("name", ODD)
def test_a_sweep_takes_the_same_paths(name, tmp_path):
    assert load_sweep("smoke", [f"store={tmp_path}/{name}"]).store == (tmp_path / name).resolve()


def test_a_tilde_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert path_override("bench.root=~/data") == ("bench.root", "/home/me/data")


def test_quotes_around_a_whole_path_are_left_out():
    assert path_override("bench.root='/data/für'") == ("bench.root", "/data/für")
    assert path_override("bench.root=it's") == ("bench.root", "it's")


def test_null_is_no_path_and_other_keys_are_none_of_it():
    assert path_override("bench.cache=null") == ("bench.cache", None)
    assert path_override("method.rank=4") is None
    assert path_override("bench.root") is None


@pytest.mark.parametrize("word", ["store=", "bench.root=", "bench.root=''"])
def test_an_empty_path_is_refused(word):
    with pytest.raises(ConfigError, match="names no path"):
        path_override(word)


def test_one_key_with_two_values_is_refused():
    with pytest.raises(ConfigError, match="given twice"):
        parse_overrides(["method.rank=4", "method.rank=8"])
    assert parse_overrides(["store=a", "store=a"]) == {"store": str(Path("a"))}
