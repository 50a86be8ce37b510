"""Damaged files in a store: each command says what is wrong, none ends in a traceback."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from janus import atomic_files
from janus.store.store import Store
from sweeps.spec.by_status import by_status
from tests.conftest import toy_cell
from tests.sweeps.commands.damage import DAMAGE, TENSORS, make_sound, outcomes, table


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_no_record(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"a": 1}')
    DAMAGE[damage](path)
    found = atomic_files.read_record(path)
    assert found == {} or damage == "other mapping"


def test_claims_are_told_by_digits_that_everyone_writes(tmp_path: Path) -> None:
    store, cell = Store(tmp_path), toy_cell("ncm")
    claims = store.run_dir(cell.id) / "claims"
    claims.mkdir(parents=True)
    for name in ("000001.json", "999999.json", "999999.released", "²²²²²².json", "000002.txt"):
        (claims / name).write_text("{}")
    claim = store.claim(cell)
    assert claim is not None and claim.number == 1_000_000
    claim.check()
    assert store.last_claim(cell.id) == 1_000_000


def test_a_result_that_is_named_damaged_is_not_trained_over(tmp_path: Path) -> None:
    store, cell = Store(tmp_path), toy_cell("ncm")
    path = store.result_path(cell.id)
    path.parent.mkdir(parents=True)
    path.symlink_to("nowhere")
    split = by_status([cell.id], store)
    assert not split.done and not split.open and str(path) in split.damaged[cell.id]


STATUS = {"run": 3, "plan": 0, "status": 3, "compare": 3, "merge": 3, "gc": 0}
"""How each command ends where a result is damaged; `plan` and `gc` do not count results."""


@pytest.mark.slow
def test_no_damaged_file_ends_a_command_in_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = list(outcomes(make_sound(tmp_path / "sound"), tmp_path))
    with capsys.disabled():
        sys.stdout.write(f"\n{table(found)}\n")
    for o in found:
        where = f"{o.file} {o.damage} {o.command}: {o.code}\n{o.told}"
        assert not str(o.code).startswith("traceback"), where
        if o.file == "result":
            assert o.code == STATUS[o.command], where
            assert str(o.path) in o.told or o.command == "gc", f"it is not named: {where}"
        elif o.command == "train":
            assert o.code == "same", where
        elif o.file in TENSORS or (
            o.file not in ("list", "forecast") and o.command in ("run", "plan", "compare")
        ):
            assert o.code == 0, where
