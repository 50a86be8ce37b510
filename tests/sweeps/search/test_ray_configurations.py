"""One configuration's cells, trained side by side by the trial that Ray runs, here without Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from janus.config.cell import Cell
from janus.config.compose import compose
from janus.config.execution import Execution
from janus.store.store import Store
from janus.training.loop import run_cell
from sweeps.search.learning_curve import read_curve
from tests.conftest import TOY

pytestmark = pytest.mark.slow
TASKS = 4


@pytest.fixture
def cells() -> list[Cell]:
    small = {**TOY, "bench.tasks": TASKS, "train.epochs": 1, "eval": "validation"}
    return [compose({**small, "method": "seqlora", "order": str(o), "seed": 100}) for o in (0, 1)]


def steps(cells: list[Cell], until: int, store: Store) -> list[dict[str, Any]]:
    """The trial's reports, one for each call of `train`."""
    from sweeps.search.ray_configurations import ConfigurationTrial, configuration_job

    job = configuration_job(cells, until, store, Execution(device="cpu"))
    trial = ConfigurationTrial({"job": job})
    reports = [trial.train()]
    while not reports[-1]["done"]:
        reports.append(trial.train())
    trial.stop()
    return reports


def test_cells_advance_together_and_report_once_per_task(
    cells: list[Cell], store: Store, tmp_path: Path
) -> None:
    assert [report["task"] for report in steps(cells, 2, store)] == [1, 2]
    assert [len(read_curve(store, cell.id)) for cell in cells] == [2, 2]
    assert store.done() == set()
    assert [report["task"] for report in steps(cells, TASKS, store)] == [3, 4]
    assert store.done() == {cell.id for cell in cells}
    whole = Store(tmp_path / "whole")
    for cell in cells:
        run_cell(cell, whole, threads=1)
        written, wanted = (s.result_path(cell.id).read_bytes() for s in (store, whole))
        assert written == wanted  # stopping at every task changed nothing


def test_the_curve_seen_on_the_way_is_that_of_the_result(cells: list[Cell], store: Store) -> None:
    steps(cells, 3, store)
    on_the_way = [read_curve(store, cell.id) for cell in cells]
    steps(cells, TASKS, store)
    assert [read_curve(store, cell.id)[:3] for cell in cells] == on_the_way


def test_a_configuration_that_diverges_ends_at_once(store: Store) -> None:
    small = {**TOY, "train.epochs": 1, "eval": "validation", "method.lr": 1e30}
    cells = [compose({**small, "method": "seqlora", "order": str(o)}) for o in (0, 1)]
    (report,) = steps(cells, TASKS, store)
    assert report["done"]
    assert '"cause": "nan"' in report["outcomes"]
    assert store.status(cells[1].id) == "open"
