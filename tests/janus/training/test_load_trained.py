"""A run with keep=final leaves its trained method, which classifies as it did when measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from janus.config.cell import Cell
from janus.data import load_bench as benches
from janus.data.images.pixels import to_input
from janus.data.stream import cut
from janus.errors import DataError, RunError
from janus.store.store import Store
from janus.training.load_trained import load_trained
from janus.training.loop import run_cell
from tests.conftest import toy_cell
from tests.janus.methods.zoo import METHODS

CPU = torch.device("cpu")


def correct_again(cell: Cell, store: Store) -> list[int]:
    """Right answers on each task's test images, by the method from the store alone."""
    method = load_trained(store.root, cell.id)
    stream = cut(benches.load_images(cell.bench), cell, CPU)
    found = []
    with torch.inference_mode(), method.context.autocast():
        for images in stream.tests:
            logits, _ = method.predict(to_input(images.pixels, cell.backbone, CPU))
            found.append(int((logits.argmax(1) == images.labels).sum()))
    return found


def test_a_kept_method_predicts_what_the_result_says(tmp_path: Path) -> None:
    cell, store = toy_cell("janus", bench__tasks=2, train__epochs=1), Store(tmp_path)
    result = run_cell(cell, store, threads=1, keep="final")
    assert result is not None
    assert correct_again(cell, store) == result["correct"][-1]
    assert len(store.checkpoints(cell.id)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_can_be_kept(method: str, tmp_path: Path) -> None:
    cell, store = toy_cell(method, bench__tasks=3, train__epochs=1), Store(tmp_path)
    result = run_cell(cell, store, threads=1, keep="final")
    assert result is not None
    assert correct_again(cell, store) == result["correct"][-1]


def test_a_method_kept_before_a_setting_existed_is_still_loaded(tmp_path: Path) -> None:
    cell, store = toy_cell("inflora", bench__tasks=2, train__epochs=1), Store(tmp_path)
    result = run_cell(cell, store, threads=1, keep="final")
    assert result is not None
    path = store.run_dir(cell.id) / "cell.json"
    record = json.loads(path.read_text())
    for name in ("final_norm", "cosine_over", "milestones"):
        del record["method"]["values"][name], record["method"]["neutral"][name]
    path.write_text(json.dumps(record))
    assert correct_again(cell, store) == result["correct"][-1]
    assert load_trained(store.root, cell.id).context.cell.id == cell.id


def test_keeping_changes_no_result_and_a_run_killed_before_its_commit_trains_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = toy_cell("seqlora", bench__tasks=2, train__epochs=1)
    plain, kept = Store(tmp_path / "plain"), Store(tmp_path / "kept")
    run_cell(cell, plain, threads=1)
    assert plain.checkpoints(cell.id) == []
    with monkeypatch.context() as patched:
        patched.setattr(
            "janus.store.claims.Claim.commit", lambda *_: (_ for _ in ()).throw(OSError(28))
        )
        with pytest.raises(OSError):
            run_cell(cell, kept, threads=1, keep="final")
    with monkeypatch.context() as patched:
        patched.setattr("janus.training.loop.train_task", None)
        run_cell(cell, kept, threads=1, keep="final")
    assert kept.result_path(cell.id).read_bytes() == plain.result_path(cell.id).read_bytes()


def test_what_was_not_kept_is_told_with_what_to_do(tmp_path: Path) -> None:
    cell, store = toy_cell("ncm", bench__tasks=2), Store(tmp_path / "a")
    with pytest.raises(RunError, match=f"has no cell {cell.id}"):
        load_trained(store.root, cell.id)
    run_cell(cell, store, threads=1)
    with pytest.raises(RunError, match=r"did not keep the method of .* keep=final"):
        load_trained(store.root, cell.id)


def test_a_checkpoint_from_the_middle_is_not_taken_for_the_end(tmp_path: Path) -> None:
    cell, store = toy_cell("ncm", bench__tasks=2), Store(tmp_path / "a")
    run_cell(cell, store, threads=1, until_task=1)
    middle = store.checkpoints(cell.id)[0]
    shutil.copy(middle, tmp_path / "middle")
    run_cell(cell, store, threads=1)
    middle.parent.mkdir(parents=True)
    shutil.copy(tmp_path / "middle", middle)
    with pytest.raises(DataError, match="from the middle of training"):
        load_trained(store.root, cell.id)
