"""Merging, exporting and tidying stores: nothing that was committed is lost or replaced."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from janus import atomic_files
from janus.config.cell import Cell
from janus.errors import ConfigError
from janus.store import correct_images
from janus.store.store import Store
from sweeps.__main__ import main
from sweeps.spec.cell_list import read_list, write_list
from sweeps.spec.plan import PlannedCell, plan
from sweeps.spec.sweep_file import load_sweep


@pytest.fixture
def planned() -> Sequence[PlannedCell]:
    return plan(load_sweep("smoke", ["methods=[seqlora,janus]", "orders=2"]).sweep).entries


@pytest.fixture
def other(tmp_path: Path) -> Store:
    return Store(tmp_path / "other")


def finish(store: Store, cell: Cell, acc: float = 0.5) -> None:
    claim = store.claim(cell)
    assert claim is not None
    claim.commit({"id": cell.id, "metrics": {"acc": acc}}, {"seconds": 9.0, "host": "there"})
    claim.release()


def contents(folder: Path) -> dict[str, Any]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_merged_results_are_the_same_bytes_with_their_provenance(
    store: Store, other: Store, planned: Sequence[PlannedCell]
) -> None:
    finish(store, planned[0].cell)
    finish(other, planned[1].cell)
    write_list(other, "smoke", "command", planned[1:])
    write_list(store, "smoke", "command", planned[:1])
    assert main(["merge", str(other.root), f"store={store.root}"]) == 0
    assert store.done() == {planned[0].cell.id, planned[1].cell.id}
    ours, theirs = (s.result_path(planned[1].cell.id).read_bytes() for s in (store, other))
    assert ours == theirs
    provenance = store.provenance(planned[1].cell.id) or {}
    assert (provenance["host"], provenance["merged_from"]) == ("there", "other")
    listed = [cell["id"] for cell in read_list(store, "smoke", "how")["cells"]]
    assert listed == [p.cell.id for p in planned]


def test_merging_again_changes_nothing(
    store: Store, other: Store, planned: Sequence[PlannedCell]
) -> None:
    finish(other, planned[0].cell)
    words = ["merge", str(other.root), f"store={store.root}"]
    assert main(words) == 0
    before = contents(store.root)
    assert main(words) == 0
    assert contents(store.root) == before


def test_a_different_result_never_replaces_the_one_that_is_there(
    store: Store, other: Store, planned: Sequence[PlannedCell], capsys: pytest.CaptureFixture[str]
) -> None:
    finish(store, planned[0].cell, 0.5)
    finish(other, planned[0].cell, 0.6)
    assert main(["merge", str(other.root), f"store={store.root}"]) == 3
    assert f"{planned[0].cell.id} has another result" in capsys.readouterr().err
    assert (store.result(planned[0].cell.id) or {})["metrics"]["acc"] == 0.5


def test_a_cell_in_training_is_left_to_its_trainer(
    store: Store, other: Store, planned: Sequence[PlannedCell], capsys: pytest.CaptureFixture[str]
) -> None:
    finish(other, planned[0].cell)
    claim = Store(store.root).claim(planned[0].cell)
    assert claim is not None
    words = ["merge", str(other.root), f"store={store.root}"]
    assert main(words) == 3
    assert "is being trained" in capsys.readouterr().err
    claim.release()
    assert main(words) == 0


def test_an_export_holds_results_and_no_checkpoints_and_can_be_merged(
    store: Store, other: Store, planned: Sequence[PlannedCell], tmp_path: Path
) -> None:
    finish(store, planned[0].cell)
    finish(store, planned[1].cell)
    write_list(store, "smoke", "command", planned[:1])
    claim = store.claim(planned[2].cell)
    assert claim is not None
    atomic_files.replace(claim.checkpoint_dir / "00001.safetensors", atomic_files.json_writer({}))
    folder = tmp_path / "given"
    words = ["export", str(folder), f"store={store.root}", "sweep=smoke"]
    assert main([*words, "--results-only"]) == 0
    assert Store(folder).done() == {planned[0].cell.id}
    assert not list(folder.rglob("*.safetensors"))
    assert main(["merge", str(folder), f"store={other.root}"]) == 0
    assert other.done() == {planned[0].cell.id}
    with pytest.raises(ConfigError, match="not empty"):
        main([*words, "--results-only"])
    with pytest.raises(ConfigError, match="--results-only"):
        main(words)


def test_gc_deletes_what_nobody_needs_and_nothing_else(
    store: Store, planned: Sequence[PlannedCell], capsys: pytest.CaptureFixture[str]
) -> None:
    finish(store, planned[0].cell)
    for entry in planned[:2]:  # one finished, one in the middle
        for name in ("00001", "00002"):
            path = store.run_dir(entry.cell.id) / "ckpt" / "000001" / f"{name}.safetensors"
            atomic_files.replace(path, atomic_files.json_writer({}))
    old, young = store.root / "results" / ".a.tmp", store.root / "results" / ".b.tmp"
    for path in (old, young):
        path.write_text("half")
    os.utime(old, (time.time() - 1e6,) * 2)
    features = store.root / "features" / "ab" / "abc.safetensors"
    atomic_files.replace(features, atomic_files.json_writer({}))
    before = contents(store.root)

    assert main(["gc", f"store={store.root}", "dry=true"]) == 0
    assert "would delete 2 checkpoints of finished cells, 1 half-written" in (
        capsys.readouterr().out
    )
    assert contents(store.root) == before

    assert main(["gc", f"store={store.root}", "keep=final"]) == 0
    gone = set(before) - set(contents(store.root))
    ckpt = (store.run_dir(planned[0].cell.id) / "ckpt" / "000001").relative_to(store.root)
    assert gone == {str(ckpt / "00001.safetensors"), "results/.a.tmp"}
    assert main(["gc", f"store={store.root}"]) == 0
    gone.add(str(ckpt / "00002.safetensors"))
    assert set(before) - set(contents(store.root)) == gone
    assert main(["gc", f"store={store.root}", "features=drop"]) == 0
    assert set(before) - set(contents(store.root)) == gone | {"features/ab/abc.safetensors"}


def finish_with_images(store: Store, cell: Cell, content: bytes, name: bool = True) -> Path:
    """Commit a result that names the file of single images with this content."""
    claim = store.claim(cell)
    assert claim is not None
    record = {"id": cell.id, "metrics": {"acc": 0.5}}
    named = record | {"correct_images": correct_images.content_name(content)} if name else record
    claim.commit(named, {}, content if name else None)
    claim.release()
    return correct_images.path_of(store.root, correct_images.content_name(content))


def test_merged_and_exported_results_bring_their_single_images(
    store: Store, other: Store, planned: Sequence[PlannedCell], tmp_path: Path
) -> None:
    cell = planned[0].cell
    there = finish_with_images(other, cell, b"bits")
    correct_images.keep_file(other.root, b"of no result")
    assert main(["merge", str(other.root), f"store={store.root}"]) == 0
    here = correct_images.path_of(store.root, there.stem)
    assert here.read_bytes() == b"bits"
    assert store.result_path(cell.id).read_bytes() == other.result_path(cell.id).read_bytes()
    folder = tmp_path / "given"
    assert main(["export", str(folder), f"store={store.root}", "--results-only"]) == 0
    assert correct_images.read_file(folder, there.stem) == b"bits"
    for root in (store.root, folder):
        assert len(list(root.glob("correct_images/*/*"))) == 1
    here.unlink()
    assert main(["merge", str(other.root), f"store={store.root}"]) == 0
    assert here.read_bytes() == b"bits"  # what its result names and had lost


def test_a_result_whose_single_images_are_lost_is_merged_and_it_is_said(
    store: Store, other: Store, planned: Sequence[PlannedCell], capsys: pytest.CaptureFixture[str]
) -> None:
    lost = finish_with_images(other, planned[0].cell, b"lost")
    lost.unlink()
    damaged = finish_with_images(other, planned[1].cell, b"damaged")
    damaged.write_bytes(b"dam")
    assert main(["merge", str(other.root), f"store={store.root}"]) == 0
    said = capsys.readouterr().err
    assert f"without single test images: {lost} cannot be read" in said
    assert f"without single test images: {damaged} is damaged" in said
    assert store.done() == other.done() and not (store.root / "correct_images").exists()


def test_an_older_result_without_single_images_stays_and_the_way_to_use_both_is_said(
    store: Store, other: Store, planned: Sequence[PlannedCell], capsys: pytest.CaptureFixture[str]
) -> None:
    cell = planned[0].cell
    finish_with_images(store, cell, b"bits", name=False)
    finish_with_images(other, cell, b"bits")
    before = store.result_path(cell.id).read_bytes()
    assert main(["merge", str(other.root), f"store={store.root}"]) == 0
    said = capsys.readouterr().err
    assert "0 new results, 1 known already" in said
    assert "1 of the known results keep no single test images" in said
    assert f"--store {other.root}" in said
    assert store.result_path(cell.id).read_bytes() == before
    assert not (store.root / "correct_images").exists()


def test_a_damaged_result_stays_where_it_is_and_the_others_are_merged(
    store: Store, other: Store, planned: Sequence[PlannedCell], capsys: pytest.CaptureFixture[str]
) -> None:
    for entry in planned[:2]:
        finish(other, entry.cell)
    path = other.result_path(planned[0].cell.id)
    counts = {"correct": [[3]], "total": [4]}
    record = {"id": planned[0].cell.id, "metrics": {"acc": 0.5}} | counts
    path.write_text(json.dumps(record))
    assert main(["merge", str(other.root), f"store={store.root}"]) == 3
    assert store.done() == {planned[1].cell.id}
    said = capsys.readouterr().err
    assert f"not merged: {path} is damaged: acc is 0.5, but its counts give 0.75" in said
    words = ["export", str(store.root / "given"), f"store={other.root}", "--results-only"]
    assert main(words) == 3
    assert Store(store.root / "given").done() == {planned[1].cell.id}


def test_gc_deletes_old_single_images_that_no_result_names(
    store: Store, planned: Sequence[PlannedCell], capsys: pytest.CaptureFixture[str]
) -> None:
    named = finish_with_images(store, planned[0].cell, b"named")
    for content in (b"old", b"young"):
        correct_images.keep_file(store.root, content)
    old, young = (
        correct_images.path_of(store.root, correct_images.content_name(c))
        for c in (b"old", b"young")
    )
    for path in (named, old):
        os.utime(path, (time.time() - 1e6,) * 2)
    assert main(["gc", f"store={store.root}", "dry=true"]) == 0 and old.exists()
    assert main(["gc", f"store={store.root}"]) == 0
    assert "1 unnamed files of single images" in capsys.readouterr().out
    assert not old.exists() and young.exists() and named.exists()


def test_gc_keeps_all_single_images_while_a_result_cannot_be_read(
    store: Store, planned: Sequence[PlannedCell]
) -> None:
    named = finish_with_images(store, planned[0].cell, b"named")
    os.utime(named, (time.time() - 1e6,) * 2)
    store.result_path(planned[0].cell.id).write_text("{")
    assert main(["gc", f"store={store.root}"]) == 0
    assert named.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["merge"], "give the stores"),
        (["merge", "nowhere"], "no store in"),
        (["merge", "a", "stor=b"], "'store'"),
        (["export", "--results-only"], "give one folder"),
        (["gc", "keep=all"], "none or final"),
        (["gc", "features=all"], "keep or drop"),
        (["gc", "runs"], "store=DIR"),
        (["gc", "store=nowhere"], "no store in"),
    ],
)
def test_a_mistake_is_answered_with_what_is_valid(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        main(words)
