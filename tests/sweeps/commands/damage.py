"""What every command makes of every damaged file of a store, as a table.

    python -m tests.sweeps.commands.damage

One line for each file and damage, one column for each command: its exit status. `train` trains the
cell anew from what is left in the store, and is `same` where the result has the same bytes.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from analysis import compare
from janus import atomic_files
from janus.store.store import Store
from janus.training.loop import run_cell
from sweeps import __main__ as sweeps
from sweeps.spec.cell_list import write_list
from sweeps.spec.plan import plan
from sweeps.spec.sweep_file import load_sweep

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

OF_SIDE_FILES = ("half", "list", "other mapping", "deep", "folder", "pipe", "link loop")
"""Damage that the commands see of other files than results; reading them is one function."""

OF_TENSORS = ("empty", "half", "zeros", "list", "folder", "pipe", "link loop", "dangling link")
"""Damage of checkpoints and cached features."""

TENSORS = ("checkpoint", "features")


def make_sound(root: Path) -> Store:
    """A finished sweep of two cells: checkpoints, cached features, a failure and heartbeats."""
    store = Store(root)
    planned = plan(load_sweep("smoke", [*WORDS, f"store={store.root}"]).sweep).entries
    for entry in planned:
        run_cell(entry.cell, store, threads=1, keep="final")
    write_list(store, "smoke", "python -m sweeps run smoke", planned)
    attempt = store.run_dir(planned[0].cell.id) / "attempts" / "000001"
    atomic_files.replace(
        attempt / "failure.json", atomic_files.json_writer({"cause": "nan", "message": "m"})
    )
    forecast = store.root / "sweeps" / "forecasts" / "smoke.json"
    atomic_files.replace(forecast, atomic_files.json_writer({"took": {}}))
    return store


def files(store: Store, cell_id: str) -> dict[str, Path]:
    """Every kind of file of a store, by what it is called in the table."""
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
        "checkpoint": next(iter(store.checkpoints(cell_id)), run / "none"),
        "features": next(iter(sorted(store.features.glob("*/*.safetensors"))), run / "none"),
    }


@dataclass(frozen=True)
class Outcome:
    """How one command ended over one damaged file."""

    file: str
    damage: str
    command: str
    code: object
    told: str
    path: Path


def outcomes(sound: Store, room: Path) -> Iterator[Outcome]:
    """Damage one file of a copy of `sound` at a time, below `room`, and call every command."""
    cell = plan(load_sweep("smoke", WORDS).sweep).entries[0].cell
    result = sound.result_path(cell.id).read_bytes()
    for name, known in files(sound, cell.id).items():
        assert known.exists(), f"the sound store has no {name}"
        for damage, act in DAMAGE.items():
            if name in TENSORS and damage not in OF_TENSORS:
                continue
            if name not in (*TENSORS, "result") and damage not in OF_SIDE_FILES:
                continue
            store = Store(room / "store")
            shutil.copytree(sound.root, store.root)
            path = files(store, cell.id)[name]
            act(path)
            calls = commands(store)
            if name in TENSORS:
                calls["train"] = lambda store=store: train(store, cell, result)
            for command, call in calls.items():
                said = io.StringIO()
                with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                    code = ended(call)
                yield Outcome(name, damage, command, code, said.getvalue(), path)
            shutil.rmtree(store.root)


def ended(call: Callable[[], object]) -> object:
    """The exit status of a command, or the exception that a user would see as a traceback."""
    try:
        return call()
    except SystemExit as error:
        return error.code
    except Exception as error:
        return f"traceback: {error!r}"


def train(store: Store, cell: object, result: bytes) -> str:
    """Train the cell again, from its checkpoint and cached features; says whether that is equal."""
    cell_id = cell.id  # type: ignore[attr-defined]
    store.result_path(cell_id).unlink()
    (store.run_dir(cell_id) / "committed.json").unlink()
    run_cell(cell, store, threads=1, keep="final")  # type: ignore[arg-type]
    return "same" if store.result_path(cell_id).read_bytes() == result else "other"


def commands(store: Store) -> dict[str, Callable[[], object]]:
    """Every command that looks at the store; `run` finds nothing open, so it starts no worker."""
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


def table(found: list[Outcome]) -> str:
    """The outcomes as text: a line for each file and damage, a column for each command."""
    columns = list(dict.fromkeys(o.command for o in found))
    lines = [f"{'file':<11}{'damage':<15}" + "".join(f"{c:>9}" for c in columns)]
    for name, damage in dict.fromkeys((o.file, o.damage) for o in found):
        codes = {o.command: o.code for o in found if (o.file, o.damage) == (name, damage)}
        cells = "".join(f"{str(codes.get(c, '-'))[:8]:>9}" for c in columns)
        lines.append(f"{name:<11}{damage:<15}{cells}")
    broken = sum(str(o.code).startswith("traceback") for o in found)
    return "\n".join([*lines, f"{len(found)} commands, {broken} tracebacks"])


def main() -> int:
    """Print the table; 1 where a command ended in a traceback."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as room:
        found = list(outcomes(make_sound(Path(room) / "sound"), Path(room)))
    sys.stdout.write(f"{table(found)}, {time.monotonic() - began:.0f} s\n")
    return int(any(str(o.code).startswith("traceback") for o in found))


if __name__ == "__main__":
    sys.exit(main())
