"""Staged data: copied once, whole or not at all, made again after a purge."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cluster.node.stage_data import stage, staged
from cluster.record.profile import load_profile
from janus.errors import DataError
from tests.conftest import toy_cell


@pytest.fixture
def cell(tmp_path):
    """A cell whose prepared arrays lie on the 'shared' disk."""
    return prepared(root=str(tmp_path / "shared"))


def prepared(**where):
    cell = toy_cell()
    cell = replace(cell, bench=replace(cell.bench, **where))
    folder = cell.bench.prepared_folder
    folder.mkdir(parents=True)
    for name in ("train", "test"):
        (folder / f"{name}.u8").write_bytes(name.encode() * 10)
    (folder / "index.safetensors").write_bytes(where["root"].encode())
    sizes = {"train": 50, "test": 40}
    (folder / "manifest.json").write_text(json.dumps({"bytes": sizes}))
    return cell


@pytest.fixture
def profile(tmp_path):
    return load_profile("default", {"stage": True, "scratch": str(tmp_path / "node")})


def test_the_cell_reads_the_copy_and_keeps_its_id(cell, profile):
    assert len(stage([cell], profile)) == 1
    local = staged(cell, profile)
    assert local.id == cell.id and profile.scratch in local.bench.cache
    assert (local.bench.prepared_folder / "train.u8").read_bytes() == b"train" * 10
    assert stage([cell], profile) == []


def test_two_roots_that_share_a_cache_are_both_staged(tmp_path, profile):
    cells = [prepared(root=f"/data/{name}", cache=str(tmp_path / "cache")) for name in "ab"]
    assert len(stage(cells, profile)) == 2
    for cell, root in zip(cells, (b"/data/a", b"/data/b"), strict=True):
        local = staged(cell, profile).bench.prepared_folder
        assert local.is_relative_to(profile.scratch)
        assert (local / "index.safetensors").read_bytes() == root


def test_a_purged_copy_is_made_again(cell, profile):
    stage([cell], profile)
    (staged(cell, profile).bench.prepared_folder / "test.u8").unlink()
    assert len(stage([cell], profile)) == 1
    assert (staged(cell, profile).bench.prepared_folder / "test.u8").exists()


def test_a_copy_of_older_data_is_not_used(cell, profile):
    before = staged(cell, profile).bench.cache
    stage([cell], profile)
    (cell.bench.prepared_folder / "manifest.json").write_text(json.dumps({"bytes": {"train": 50}}))
    assert staged(cell, profile).bench.cache != before


def test_data_that_is_not_prepared_or_gone_is_one_clear_error(cell, profile):
    (cell.bench.prepared_folder / "manifest.json").unlink()
    with pytest.raises(DataError, match=r"janus\.data prepare"):
        stage([cell], profile)
    with pytest.raises(DataError, match="gone"):
        staged(cell, profile)


def test_nothing_is_copied_or_asked_for_unless_the_profile_says_so(cell, profile):
    (cell.bench.prepared_folder / "manifest.json").unlink()
    plain = replace(profile, stage=False)
    assert stage([cell], plain) == [] and staged(cell, plain) == cell


def test_what_comes_with_the_package_is_not_staged(profile):
    cell = toy_cell()
    assert stage([cell], profile) == [] and staged(cell, profile) == cell
