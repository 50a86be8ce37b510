"""What is shown while a sweep runs and when it has ended."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Sequence

import pytest
from rich.console import Console

from janus.config.cell import Cell
from janus.store.store import Store
from sweeps.__main__ import main
from sweeps.execution.attempt import Outcome
from sweeps.show.live_table import LiveWatch, PlainWatch, pace
from sweeps.spec.cell_list import write_list
from sweeps.spec.plan import PlannedCell, plan
from sweeps.spec.sweep_file import load_sweep

Put = Callable[[str], None]


@pytest.fixture
def planned() -> Sequence[PlannedCell]:
    return plan(load_sweep("smoke", ["methods=[seqlora,janus]", "orders=2"]).sweep).entries


def titles(planned: Sequence[PlannedCell]) -> dict[str, str]:
    return {p.cell.id: p.title for p in planned}


def fail(store: Store, cell: Cell, cause: str) -> None:
    claim = store.claim(cell)
    assert claim is not None
    claim.fail({"cause": cause, "message": f"{cause} in task 1\nand more"})
    claim.release()


def test_a_plain_line_tells_how_a_cell_ended(planned: Sequence[PlannedCell]) -> None:
    out = io.StringIO()
    watch = PlainWatch(titles(planned), 2, out)
    metrics = {"acc": 0.634, "bwt": -0.165}
    watch.on_cell_end(Outcome(planned[0].cell.id, "done", seconds=71.2, metrics=metrics))
    watch.on_cell_end(Outcome(planned[1].cell.id, "failed", "nan", "diverged\nat step 3"))
    assert out.getvalue().splitlines() == [
        "[3/4] renditions seqlora order=0 seed=0  ACC 63.40  BWT -16.50  71 s",
        "[failed] renditions janus order=0 seed=0  nan: diverged",
    ]


def test_a_missing_metric_is_dashes(planned: Sequence[PlannedCell]) -> None:
    out = io.StringIO()
    PlainWatch(titles(planned), 0, out).on_cell_end(
        Outcome(planned[0].cell.id, "done", metrics={"bwt": None})
    )
    assert "ACC --  BWT --" in out.getvalue()


def test_the_live_table_shows_running_cells_from_their_heartbeats(
    store: Store, planned: Sequence[PlannedCell]
) -> None:
    claim = store.claim(planned[1].cell)
    assert claim is not None
    watch = LiveWatch(titles(planned), 0, store)
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(watch._read_store())
    claim.beat(
        {"task": 2, "tasks": 10, "epoch": 1, "loss": None, "accuracy": 0.5, "seconds_left": 65.0}
    )
    console.print(watch._read_store())
    text = console.export_text()
    assert "0 done, 1 running, 0 failed, 3 open" in text
    assert "renditions janus order=0 seed=0" in text
    assert "3/10" in text and "50.00" in text and "1:05" in text


def test_the_pace_tells_how_long_the_rest_takes() -> None:
    assert pace(4, 1200.0, 6) == "12.0 cells an hour, time left 30:00"
    assert pace(0, 1200.0, 6) == "time left --"


def test_status_tells_task_accuracy_and_pace_of_running_cells_from_the_store_alone(
    store: Store,
    put_result: Put,
    planned: Sequence[PlannedCell],
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_list(store, "smoke", "command", planned)
    now = time.time()
    for entry, age in zip(planned[:2], (600, 300), strict=True):
        put_result(entry.cell.id)
        os.utime(store.result_path(entry.cell.id), (now - age,) * 2)
    claim = store.claim(planned[2].cell)
    assert claim is not None
    claim.beat({"task": 2, "tasks": 10, "accuracy": 0.5, "seconds_left": 65.0})
    assert main(["status", "smoke", f"store={store.root}"]) == 3
    out = capsys.readouterr().out
    assert "order=1 seed=0  task 3/10, accuracy so far 50.00, left 1:05" in out
    assert "6.0 cells an hour, time left 20:0" in out
    assert "1 attempts at 1 cells" in out


def test_status_groups_failures_by_cause_and_names_the_command(
    store: Store,
    put_result: Put,
    planned: Sequence[PlannedCell],
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_list(store, "smoke", "python -m sweeps run smoke", planned)
    put_result(planned[0].cell.id)
    fail(store, planned[1].cell, "nan")
    fail(store, planned[2].cell, "nan")
    fail(store, planned[3].cell, "disk-full")
    assert main(["status", "smoke", f"store={store.root}"]) == 3
    out = capsys.readouterr().out
    assert "4 cells: 1 done, 0 running, 3 failed, 0 open" in out
    assert "nan: 2 cells, e.g. renditions janus order=0 seed=0" in out
    assert "disk-full: 1 cells" in out
    assert "python -m sweeps run smoke" in out
    assert "and more" not in out
    assert "not tried again: it would diverge again" in out


def test_status_of_a_finished_sweep_is_zero(
    store: Store, put_result: Put, planned: Sequence[PlannedCell]
) -> None:
    write_list(store, "smoke", "command", planned)
    for entry in planned:
        put_result(entry.cell.id)
    assert main(["status", "smoke", f"store={store.root}"]) == 0


def test_plan_prints_rows_and_what_is_done(
    store: Store,
    put_result: Put,
    planned: Sequence[PlannedCell],
    capsys: pytest.CaptureFixture[str],
) -> None:
    put_result(planned[0].cell.id)
    words = ["methods=[seqlora,janus]", "orders=2", f"store={store.root}"]
    assert main(["plan", "smoke", *words]) == 0
    out = capsys.readouterr().out
    assert "4 cells: 1 done, 0 running, 0 failed, 3 open" in out
    assert "seqlora      2 cells      1 done" in out
    assert "orders:  0 1" in out


def test_a_finished_sweep_runs_without_starting_ray(
    store: Store,
    put_result: Put,
    planned: Sequence[PlannedCell],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for entry in planned:
        put_result(entry.cell.id)
    words = ["methods=[seqlora,janus]", "orders=2", f"store={store.root}"]
    assert main(["run", "smoke", *words]) == 0
    assert "all 4 cells of smoke are done" in capsys.readouterr().out
    assert (store.root / "sweeps" / "smoke.json").exists()
