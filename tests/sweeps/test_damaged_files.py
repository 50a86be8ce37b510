"""Damaged files in a store: each command says what is wrong, none ends in a traceback."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis import compare
from janus import atomic
from janus.run import run_cell
from janus.store import Store
from sweeps import __main__ as sweeps
from sweeps.load import load
from sweeps.plan import plan_rows, split_open, write_list
from tests.conftest import toy_cell

WORDS = ["methods=[ncm]", "orders=2", "bench.train_per_class=4", "backbone=toy", "workers=1"]


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


def _written(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


DAMAGE: dict[str, Callable[[Path], None]] = {
    "empty": _written(b""),
    "half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "zeros": lambda path: _written(b"\0" * path.stat().st_size)(path),
    "not UTF-8": _written(b'{"id": "\xff\xfe"}'),
    "list": _written(b"[1]"),
    "text": _written(b'"x"'),
    "null": _written(b"null"),
    "number": _written(b"3"),
    "other mapping": _written(
        b'{"attempt": "x", "owner": [1], "cells": 3, "forecast": [], "seconds": "x", "task": [], '
        b'"cause": 3, "claimed_at": {}, "numerics": 3}'
    ),
    "deep": _written(b"[" * 100_000),
    "huge number": _written(b'{"id": ' + b"1" * 5000 + b"}"),
    "folder": _folder,
    "pipe": _pipe,
    "link loop": _loop,
    "dangling link": _dangling,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_no_record(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"a": 1}')
    DAMAGE[damage](path)
    found = atomic.read_record(path)
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
    split = split_open([cell.id], store)
    assert not split.done and not split.open and str(path) in split.damaged[cell.id]


OF_SIDE_FILES = ("half", "list", "other mapping", "deep", "folder", "pipe", "link loop")
"""Damage that the commands see of other files than results; reading them is one function."""

STATUS = {"run": 3, "plan": 0, "status": 3, "compare": 3, "merge": 3, "gc": 0}
"""How each command ends where a result is damaged; `plan` and `gc` do not count results."""


# ---- the whole table -----------------------------------------------------------------------------
@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A finished sweep of two cells, one of them with checkpoints, a failure and heartbeats."""
    store = Store(tmp_path_factory.mktemp("sound") / "store")
    request = load("smoke", [*WORDS, f"store={store.root}"])
    planned = plan_rows(request.sweep)
    for entry in planned:
        run_cell(entry.cell, store, threads=1, keep_final=True)
    write_list(store, "smoke", "python -m sweeps run smoke", planned)
    cell_id = planned[0].cell.id
    attempt = store.run_dir(cell_id) / "attempts" / "000001"
    atomic.replace(attempt / "failure.json", atomic.json_writer({"cause": "nan", "message": "m"}))
    forecast = store.root / "sweeps" / "forecasts" / "smoke.json"
    atomic.replace(forecast, atomic.json_writer({"took": {}}))
    return store


def _files(store: Store, cell_id: str) -> dict[str, Path]:
    run = store.run_dir(cell_id)
    attempt = run / "attempts" / "000001"
    return {
        "result": store.result_path(cell_id),
        "committed": run / "committed.json",
        "cell": run / "cell.json",
        "claim": run / "claims" / "000001.json",
        "provenance": attempt / "provenance.json",
        "beat": attempt / "beat.json",
        "failure": attempt / "failure.json",
        "list": store.root / "sweeps" / "smoke.json",
        "forecast": store.root / "sweeps" / "forecasts" / "smoke.json",
    }


@pytest.mark.slow
def test_no_damaged_file_ends_a_command_in_a_traceback(
    sound: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (first, *_) = plan_rows(load("smoke", WORDS).sweep)
    cell_id, began = first.cell.id, time.monotonic()
    tracebacks: list[str] = []
    counts: Counter[tuple[str, str, object]] = Counter()
    number = 0
    for name in _files(sound, cell_id):
        for damage, act in DAMAGE.items():
            if name != "result" and damage not in OF_SIDE_FILES:
                continue
            store = Store(tmp_path / f"{number}")
            number += 1
            shutil.copytree(sound.root, store.root)
            path = _files(store, cell_id)[name]
            act(path)
            for command, call in _commands(store).items():
                capsys.readouterr()
                try:
                    code: object = call()
                except SystemExit as error:
                    code = error.code
                except Exception as error:  # what a user would see as a traceback
                    tracebacks.append(f"{name} {damage} {command}: {error!r}")
                    code = "traceback"
                told = "".join(capsys.readouterr())
                counts[name, command, code] += 1
                if name == "result":
                    assert code == STATUS[command], f"{damage} {command}: {code}\n{told}"
                    named = str(path) in told or command == "gc"
                    assert named, f"{damage} {command} does not name it:\n{told}"
                elif name not in ("list", "forecast") and command in ("run", "plan", "compare"):
                    assert code == 0, f"{name} {damage} {command}: {code}\n{told}"
            shutil.rmtree(store.root)
    with capsys.disabled():
        sys.stdout.write(f"\n{sum(counts.values())} commands, {time.monotonic() - began:.0f} s\n")
        for (name, command, code), count in sorted(counts.items(), key=str):
            sys.stdout.write(f"  {name:<10} {command:<8} exit {code}: {count}\n")
    assert not tracebacks, "\n".join(tracebacks)


def _commands(store: Store) -> dict[str, Callable[[], int]]:
    words = [*WORDS, f"store={store.root}"]
    at = f"store={store.root}"
    fresh = f"store={store.root}-merged"

    def merge() -> int:
        try:
            return sweeps.run_command(["merge", str(store.root), fresh])
        finally:
            shutil.rmtree(f"{store.root}-merged", ignore_errors=True)

    return {
        "plan": lambda: sweeps.run_command(["plan", "smoke", *words]),
        "status": lambda: sweeps.run_command(["status", "smoke", at]),
        "compare": lambda: compare.main(["--store", str(store.root), "--sweep", "smoke"]),
        "merge": merge,
        "gc": lambda: sweeps.run_command(["gc", at, "dry=true"]),
        "run": lambda: sweeps.run_command(["run", "smoke", *words]),  # last: it writes lists anew
    }
