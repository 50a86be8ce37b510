"""The scripts of examples/ run as they stand, on cells that train in a second."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from tests.conftest import TOY
from tests.janus.data import sets

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SMALL = {**TOY, "bench.tasks": 2, "train.epochs": 1}


def script(name: str):
    """The `main` of a script."""
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]


@pytest.mark.slow
def test_a_cell_is_trained_once_and_its_store_is_compared(tmp_path, capsys):
    store, train = str(tmp_path / "runs"), script("one_cell")
    first = train(store, **SMALL)
    assert "after task 2: " in capsys.readouterr().out
    assert train(store, **SMALL) == first
    other = train(store, **SMALL | {"order": 1})
    assert other["id"] != first["id"]
    table = script("read_store")(store)
    accuracy = 50 * (first["metrics"]["acc"] + other["metrics"]["acc"])
    assert "janus" in table and f"{accuracy:.2f}" in table


@pytest.mark.slow
def test_images_of_ones_own_are_checked_and_trained(tmp_path, capsys):
    parts, classes = {"train": 3, "test": 2}, ("cat", "dog", "emu", "fox")
    folder = sets.class_folders(tmp_path / "mine", parts, classes)
    result = script("own_images")(str(folder), 2, str(tmp_path / "runs"), backbone="toy")
    assert result["total"] == [4, 4]
    assert "after 2 tasks" in capsys.readouterr().out


def test_every_script_is_tested_and_short():
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert [path.stem for path in scripts] == ["one_cell", "own_images", "read_store"]
    for path in scripts:
        assert len(path.read_text().splitlines()) <= 40, path.name
