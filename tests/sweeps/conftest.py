"""Tiny sweeps: seconds for all cells together, with accuracies that mean nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from janus import atomic_files
from janus.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def tiny() -> list[str]:
    """Overrides that make a cell train in about a second."""
    return ["backbone=toy", "bench.train_per_class=5", "bench.tasks=2", "train.epochs=1"]


@pytest.fixture
def put_result(store: Store) -> Callable[[str], None]:
    """Commits a result without training anything."""

    def put(cell_id: str) -> None:
        record = {"id": cell_id, "metrics": {"acc": 0.5, "maa": 0.5, "bwt": -0.1}}
        atomic_files.create_once(store.result_path(cell_id), atomic_files.json_writer(record))

    return put
