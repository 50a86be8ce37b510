"""Stores filled with made-up results, written through the project's own composer and store."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from analysis import compare as compare_command
from janus import atomic_files, metrics
from janus.config.cell import SCHEMA, Cell
from janus.config.compose import compose
from janus.store import correct_images
from janus.store.image_bits import ImageBits, encode
from janus.store.store import Store

REPO = Path(__file__).resolve().parents[2]
IMAGES = 1000
"""Test images of each made-up task."""


class FakeStore:
    """A run store whose results are invented, but schema, identity and paths are real."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store(root)

    def cell(self, method: str = "janus", order: object = 0, seed: int = 0, **fields: Any) -> Cell:
        """A three-task cell; further fields by dotted name with __ for the dot."""
        dotted = {name.replace("__", "."): value for name, value in fields.items()}
        given = {"bench": "glyphs", "bench.tasks": 3, "method": method} | dotted
        return compose(given | {"order": str(order), "seed": seed})

    def add(
        self,
        method: str = "janus",
        acc: float | Sequence[Sequence[float]] = 0.6,
        *,
        weights: str = "1" * 64,
        provenance: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Cell:
        """Commit a result with this matrix of accuracies (a number: every task ends there)."""
        cell = self.cell(method, **fields)
        matrix = acc if not isinstance(acc, float | int) else [[0.9], [0.8, 0.9], [acc] * 3]
        correct = [[round(value * IMAGES) for value in row] for row in matrix]
        claim = self.store.claim(cell)
        assert claim is not None
        claim.commit(result(cell, correct, weights), dict(provenance or PROVENANCE))
        claim.release()
        return cell

    def add_images(
        self,
        method: str,
        right: NDArray[np.bool_],
        first: int = 0,
        test_set: str = "f" * 64,
        **fields: Any,
    ) -> Cell:
        """Commit a result that keeps its single images.

        right (N,): whether each is right after the last task of three; image i belongs to task
        (i + first) % 3, and was right after every earlier task that knew it.
        """
        cell = self.cell(method, **fields)
        task = (np.arange(len(right)) + first) % 3
        rows = np.packbits(np.array([task <= 0, task <= 1, right]), axis=1)
        bits = ImageBits(test_set, len(right), 3, task, (0, 1, 2), rows)
        content, total = encode(bits), np.bincount(task).tolist()
        claim = self.store.claim(cell)
        assert claim is not None
        record = result(cell, bits.counts(), "1" * 64, total)  # type: ignore[arg-type]
        record["correct_images"] = correct_images.content_name(content)
        claim.commit(record, dict(PROVENANCE), content)
        claim.release()
        return cell

    def path(self, cell: Cell) -> Path:
        """The result file of a cell."""
        return self.store.result_path(cell.id)

    def edit(self, cell: Cell, change: Callable[[dict[str, Any]], None]) -> Path:
        """Tamper with a result."""
        path = self.path(cell)
        record = json.loads(path.read_text())
        change(record)
        path.write_text(json.dumps(record))
        return path

    def score_at_the_end_only(self, cell: Cell) -> None:
        """Make of a result one that was measured after its last task alone, as joint training."""

        def blank(record: dict[str, Any]) -> None:
            for kind in ("", "_in_task"):
                rows = [*[None] * (len(record["total"]) - 1), record[f"correct{kind}"][-1]]
                record[f"correct{kind}"] = rows
                record[f"metrics{kind}"] = metrics.summarise(rows, record["total"])

        self.edit(cell, blank)

    def plan(self, name: str, cells: Sequence[Cell]) -> Path:
        """Write a sweep's plan as the sweep does."""
        path = self.root / "sweeps" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        listed = [{"id": c.id, "title": c.title} for c in cells]
        record = {"name": name, "command": f"python -m sweeps {name}", "cells": listed}
        path.write_text(json.dumps(record))
        return path


PROVENANCE = {"seconds": 12.5, "peak_memory_bytes": 2**30, "git": {"sha": "abc", "dirty": False}}


def result(
    cell: Cell, correct: list[list[int]], weights: str, total: list[int] | None = None
) -> dict[str, Any]:
    """A result record of schema 1."""
    total = total or [IMAGES] * len(correct)
    return {
        "schema": SCHEMA,
        "id": cell.id,
        "cell": asdict(cell)  # as a run leaves it: without paths
        | {
            "bench": asdict(cell.bench) | {"root": None, "cache": None},
            "backbone": asdict(cell.backbone) | {"weights": cell.identity()["backbone"]["weights"]},
        },
        "identity": cell.identity(),
        "weights_sha256": weights,
        "split_sha256": "2" * 64,
        "class_order": [2, 0, 1],
        "tasks": [{"classes": ["a"], "train_images": 60, "test_images": n} for n in total],
        "correct": correct,
        "correct_in_task": correct,
        "total": total,
        "metrics": metrics.summarise(correct, total),
        "metrics_in_task": metrics.summarise(correct, total),
        "diagnostics": [{"task": task} for task in range(len(correct))],
        "kept_bytes": 3 * 2**20,
        "trained_parameters": 1000,
        "passes": 5.0,
    }


def add_methods(
    fake: FakeStore, orders: int = 3, methods: Sequence[str] = ("janus", "seqlora")
) -> list[Cell]:
    """Orders of each method, the later method ten points above the earlier one."""
    return [
        fake.add(method, 0.6 + i / 10 + order / 100, order=order)
        for order in range(orders)
        for i, method in enumerate(methods)
    ]


@pytest.fixture(autouse=True)
def no_disk_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of made-up results need not survive a power cut."""
    monkeypatch.setattr(atomic_files, "_sync", lambda path: None)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the cache of the person who runs it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def fake(tmp_path: Path) -> FakeStore:
    """An empty store."""
    root = tmp_path / "runs"
    root.mkdir()
    return FakeStore(root)


@pytest.fixture
def compare(fake: FakeStore) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line on the store; returns exit code, stdout and stderr."""

    def call(*arguments: str, store: bool = True) -> subprocess.CompletedProcess[str]:
        where = ["--store", str(fake.root)] if store else []
        command = [sys.executable, str(REPO / "analysis" / "compare.py"), *where, *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=fake.root.parent)

    return call


@pytest.fixture
def call(fake, capsys):
    """Run the command in this process; returns exit code, stdout and stderr."""

    def run(*arguments: str, store: bool = True) -> tuple[int, str, str]:
        try:
            where = ["--store", str(fake.root)] if store else []
            code = compare_command.main([*where, *arguments])
        except SystemExit as stop:  # argparse
            code = int(stop.code or 0)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run
