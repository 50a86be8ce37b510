"""The cache of reduced records: equal to the files, never trusted over them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from analysis.runs import cache, load
from janus import metrics


@pytest.fixture(autouse=True)
def small_stores_too(monkeypatch):
    monkeypatch.setattr(cache, "WORTHWHILE", 1)


def the_file() -> Path:
    (path,) = (Path(os.environ["XDG_CACHE_HOME"]) / "janus").glob("*")
    return path


def forbid_reading(monkeypatch) -> None:
    def fail(path, root):
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr(load, "read_run", fail)


def facts(loaded: load.Loaded) -> list:
    return [
        (run.id, run.metrics, run.correct_images, run.cell, load.provenance(run))
        for run in loaded.runs
    ]


def test_a_second_load_reads_no_result_and_says_the_same(fake, monkeypatch):
    for order in range(3):
        fake.add(order=order, provenance={"seconds": order})
    first = facts(load.load_runs([fake.root]))
    forbid_reading(monkeypatch)
    assert facts(load.load_runs([fake.root])) == first


def test_records_of_all_shapes_come_back_whole(fake):
    """Parts that some records lack, empty ones, and names with dots in them."""
    fake.add(order=0, provenance={"packages": {"a.b": "1"}, "x.y": [1], "seconds": None})
    fake.add(order=1, provenance={"seconds": 2.5, "git": {}})
    cell = fake.add("seqlora", order=0)
    more = {"kept_bytes": None, "metrics_ncm": {"acc": None}, "correct_images": "a" * 64}
    fake.edit(cell, lambda r: r.update(more))
    first = load.load_runs([fake.root])
    assert facts(load.load_runs([fake.root])) == facts(first)
    assert [run.identity for run in load.load_runs([fake.root]).runs] == [
        run.identity for run in first.runs
    ]


def test_a_changed_file_is_read_again(fake):
    cell = fake.add(order=0)
    fake.add(order=1)
    load.load_runs([fake.root])
    path = fake.edit(cell, lambda r: r.update(kept_bytes=125))
    os.utime(path, ns=(1, 1))
    found = {run.order: run.kept_bytes for run in load.load_runs([fake.root]).runs}
    assert found["0"] == 125


def test_a_removed_run_is_gone_and_a_new_one_is_there(fake):
    cell = fake.add(order=0)
    fake.add(order=1)
    load.load_runs([fake.root])
    fake.path(cell).unlink()
    fake.add(order=2)
    assert sorted(run.order for run in load.load_runs([fake.root]).runs) == ["1", "2"]


def test_damaged_files_stay_damaged(fake):
    fake.path(fake.add(order=0)).write_text("{")
    fake.add(order=1)
    for _ in range(2):
        loaded = load.load_runs([fake.root])
        assert (len(loaded.runs), len(loaded.skipped)) == (1, 1)


@pytest.mark.parametrize("damage", [b"", b"PAR1 not parquet", None])
def test_a_damaged_cache_is_ignored_and_mended(fake, monkeypatch, damage):
    fake.add()
    before = facts(load.load_runs([fake.root]))
    path = the_file()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if damage is None else damage)
    assert facts(load.load_runs([fake.root])) == before
    forbid_reading(monkeypatch)
    assert facts(load.load_runs([fake.root])) == before


def test_a_changed_definition_of_a_metric_is_another_version(fake, monkeypatch, tmp_path):
    before = cache._version()
    changed = tmp_path / "metrics.py"
    changed.write_text(Path(metrics.__file__).read_text() + "\n# another definition\n")
    monkeypatch.setattr(metrics, "__file__", str(changed))
    assert cache._version() != before


def test_a_cache_of_another_version_is_ignored(fake, monkeypatch):
    fake.add()
    load.load_runs([fake.root])
    monkeypatch.setattr(cache, "_version", lambda: "other")
    forbid_reading(monkeypatch)
    with pytest.raises(AssertionError, match="read again"):
        load.load_runs([fake.root])


def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(fake, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    fake.add()
    assert len(load.load_runs([fake.root]).runs) == 1


def test_small_stores_and_refusal_make_no_cache(fake, monkeypatch):
    fake.add()
    monkeypatch.setenv(cache.OFF, "1")
    load.load_runs([fake.root])
    monkeypatch.delenv(cache.OFF)
    monkeypatch.setattr(cache, "WORTHWHILE", 2)
    load.load_runs([fake.root])
    assert not list(Path(os.environ["XDG_CACHE_HOME"]).iterdir())


def test_nothing_of_the_cache_lies_in_the_store(fake):
    fake.add()
    before = sorted(fake.root.rglob("*"))
    load.load_runs([fake.root])
    assert sorted(fake.root.rglob("*")) == before
