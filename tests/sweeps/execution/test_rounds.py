"""The driver against a pretended pool: what is tried again, what is waited for, when it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from janus.config.cell import Cell
from janus.errors import ConfigError, DataError, RunError, cause_of
from janus.store.store import Store
from sweeps.execution.attempt import Outcome, attempt
from sweeps.execution.retry_policy import CRASH, LOST_NODE, POLICIES
from sweeps.execution.rounds import OnOutcome, Tally, drive
from sweeps.spec.plan import plan
from sweeps.spec.sweep_file import load_sweep

Put = Callable[[str], None]


@pytest.fixture
def cells() -> list[Cell]:
    return plan(load_sweep("smoke", ["methods=[seqlora,janus]", "orders=2"]).sweep).cells


class FakePool:
    """Ends each attempt as the script of its cell says, then as `done`."""

    def __init__(self, store: Store, put: Put, scripts: dict[str, list[str]] | None = None) -> None:
        self.store, self.put = store, put
        self.scripts = scripts or {}
        self.rounds: list[list[str]] = []

    def run(self, cells: Sequence[Cell], note: OnOutcome) -> None:
        self.rounds.append([cell.id for cell in cells])
        for cell in cells:
            script = self.scripts.get(cell.id, [])
            status = script.pop(0) if script else "done"
            if status == "done":
                self.put(cell.id)
            if status == "failed":
                claim = self.store.claim(cell)
                assert claim is not None
                claim.fail({"cause": "nan", "message": "diverged"})
                claim.release()
            cause = {"failed": "nan", "crashed": CRASH, LOST_NODE: LOST_NODE}.get(status, status)
            status = "crashed" if status == LOST_NODE else status
            note(Outcome(cell.id, status, seconds=1.0, cause=cause))

    def drive(self, cells: Sequence[Cell], heard: list[Outcome] | None = None) -> Tally:
        note = heard.append if heard is not None else lambda _: None
        return drive(cells, self.store, self.run, note, sleep=lambda _: self.others_work())

    def others_work(self) -> None:
        """What other drivers do while this one waits."""


def test_open_cells_are_attempted_once_in_the_plans_order(
    store: Store, put_result: Put, cells: list[Cell]
) -> None:
    pool = FakePool(store, put_result)
    put_result(cells[1].id)
    tally = pool.drive(cells)
    assert pool.rounds == [[cells[0].id, cells[2].id, cells[3].id]]
    assert tally.trained == 3


def test_a_finished_sweep_starts_no_round(store: Store, put_result: Put, cells: list[Cell]) -> None:
    for cell in cells:
        put_result(cell.id)
    pool = FakePool(store, put_result)
    assert pool.drive(cells).trained == 0
    assert pool.rounds == []


def test_a_diverged_cell_is_not_tried_again_and_the_others_finish(
    store: Store, put_result: Put, cells: list[Cell]
) -> None:
    pool = FakePool(store, put_result, {cells[0].id: ["failed"] * 9})
    tally = pool.drive(cells)
    assert len(pool.rounds) == 1
    assert tally.trained == 3
    assert tally.last[cells[0].id].cause == "nan"


def test_a_new_command_tries_failed_cells_once_more(
    store: Store, put_result: Put, cells: list[Cell]
) -> None:
    pool = FakePool(store, put_result, {cells[0].id: ["failed"]})
    pool.drive(cells)
    assert pool.drive(cells).trained == 1


def test_a_crashed_cell_is_tried_again_but_not_for_ever(
    store: Store, put_result: Put, cells: list[Cell]
) -> None:
    scripts = {cells[0].id: ["crashed"] * 9, cells[1].id: ["crashed", "done"]}
    pool = FakePool(store, put_result, scripts)
    tally = pool.drive(cells)
    assert tally.attempts[cells[0].id] == 1 + POLICIES[CRASH].retries
    assert tally.last[cells[1].id].status == "done"
    assert pool.rounds[1] == [cells[0].id, cells[1].id]


def test_a_lost_node_does_not_count_against_the_cell(
    store: Store, put_result: Put, cells: list[Cell]
) -> None:
    script = [LOST_NODE, "crashed", LOST_NODE, LOST_NODE, "crashed", LOST_NODE]
    tally = FakePool(store, put_result, {cells[0].id: script}).drive(cells)
    assert tally.last[cells[0].id].status == "done"
    assert tally.retried() == {LOST_NODE: (4, 1), CRASH: (2, 1)}


def test_cells_of_another_driver_are_waited_for_and_reported(
    store: Store, put_result: Put, cells: list[Cell]
) -> None:
    claim = Store(store.root).claim(cells[0])
    assert claim is not None
    pool = FakePool(store, put_result)
    pool.others_work = lambda: put_result(cells[0].id)  # type: ignore[method-assign]
    heard: list[Outcome] = []
    tally = pool.drive(cells, heard)
    assert cells[0].id not in tally.attempts
    assert [o.metrics["acc"] for o in heard if o.cell_id == cells[0].id] == [0.5]


def test_a_cell_that_another_driver_gives_up_is_taken_over(
    store: Store, put_result: Put, cells: list[Cell]
) -> None:
    claim = Store(store.root).claim(cells[0])
    assert claim is not None
    pool = FakePool(store, put_result)
    pool.others_work = claim.release  # type: ignore[method-assign]
    assert pool.drive(cells).attempts[cells[0].id] == 1


def test_losing_a_race_for_a_cell_is_no_failure(
    store: Store, put_result: Put, cells: list[Cell]
) -> None:
    pool = FakePool(store, put_result, {cells[0].id: ["busy"] * 5})
    tally = pool.drive(cells)
    assert tally.last[cells[0].id].status == "done"
    assert tally.attempts[cells[0].id] == 1


@pytest.mark.parametrize(
    ("error", "status", "cause"),
    [
        (RunError("no", "claimed"), "busy", "claimed"),
        (RunError("no", "claim-lost"), "busy", "claim-lost"),
        (RunError("no", "nan"), "failed", "nan"),
        (DataError("no"), "failed", "DataError"),
        (ConfigError("no"), "failed", "ConfigError"),
        (ZeroDivisionError("no"), "failed", "ZeroDivisionError"),
        (MemoryError("no"), "failed", "out-of-memory"),
        (torch.OutOfMemoryError("no"), "failed", "out-of-memory"),
    ],
)
def test_whatever_a_run_raises_becomes_an_outcome(
    store: Store, cells: list[Cell], error: Exception, status: str, cause: str
) -> None:
    def run() -> dict[str, object]:
        raise error

    outcome = attempt(cells[0], store, run)
    assert (outcome.status, outcome.cause, outcome.message) == (status, cause, "no")


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("CUDA out of memory. Tried to allocate 2 GiB", "out-of-memory"),
        (
            "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory",
            "out-of-memory",
        ),
        ("shapes cannot be multiplied", "RuntimeError"),
    ],
)
def test_lack_of_memory_is_told_from_other_runtime_errors(said: str, cause: str) -> None:
    assert cause_of(RuntimeError(said)) == cause


def test_ctrl_c_is_not_swallowed(store: Store, cells: list[Cell]) -> None:
    def run() -> dict[str, object]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt(cells[0], store, run)


def test_a_cell_that_somebody_finished_meanwhile_does_not_count_as_trained_here(
    store: Store, put_result: Put, cells: list[Cell]
) -> None:
    put_result(cells[0].id)
    outcome = attempt(cells[0], store, lambda: pytest.fail("trained again"))
    tally = Tally()
    tally.add(outcome)
    assert (outcome.status, outcome.metrics["acc"], tally.trained) == ("done", 0.5, 0)


def test_a_finished_run_is_told_with_its_metrics(store: Store, cells: list[Cell]) -> None:
    outcome = attempt(cells[0], store, lambda: {"metrics": {"acc": 0.5}})
    assert (outcome.status, outcome.metrics, outcome.shared) == ("done", {"acc": 0.5}, 1)
