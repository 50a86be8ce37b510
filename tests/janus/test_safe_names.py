"""Names that become files stay below the folder they are meant for."""

from __future__ import annotations

import json

import pytest

from analysis.runs.sweep_lists import read_sweep_list
from janus.config.compose import compose
from janus.errors import ConfigError
from janus.safe_names import check_name
from janus.store.store import Store
from sweeps.__main__ import main
from sweeps.spec.cell_list import read_list
from sweeps.spec.sweep_file import load_sweep

ESCAPES = ["../x", "a/b", "/etc", ".", "..", ".hidden", "-rf", "", "a\nb", "a\x1b[31m", "x" * 101]


@pytest.mark.parametrize("name", ESCAPES)
def test_a_bench_or_sweep_cannot_be_called_like_a_path(name):
    with pytest.raises(ConfigError):
        check_name(name, "a name")
    with pytest.raises(ConfigError):
        compose({"bench": "glyphs", "bench.name": name})


def test_ordinary_names_are_taken():
    for name in ("glyphs", "imagenet_r", "my-sweep.v2", "2nd"):
        assert check_name(name, "a name") == name


@pytest.mark.parametrize("cell_id", ["../../etc/passwd", "a" * 15, "g" * 16, 7, None, ["a" * 16]])
def test_an_id_in_a_given_list_is_never_taken_for_a_path(cell_id, tmp_path):
    store = Store(tmp_path)
    path = tmp_path / "sweeps" / "mine.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"cells": [{"id": cell_id, "title": "glyphs janus order=0"}]}))
    with pytest.raises(ConfigError, match="damaged"):
        read_list(store, "mine", "python -m sweeps run mine")
    with pytest.raises(ConfigError, match="must hold a list"):
        read_sweep_list(path)


def test_status_finds_a_sweep_of_ones_own_by_its_name(tmp_path, capsys):
    path = tmp_path / "sweeps" / "mine.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"cells": [{"id": "a" * 16, "title": "glyphs janus order=0"}]}))
    assert main(["status", "mine", f"store={tmp_path}"]) == 3
    assert "1 cells: 0 done" in capsys.readouterr().out


def test_a_row_name_that_would_write_to_the_terminal_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text('methods: [janus]\nvariants: {janus: {"a\\e[31m": {rank: 4}}}\n')
    with pytest.raises(ConfigError, match="cannot be printed"):
        load_sweep(str(path), [])
