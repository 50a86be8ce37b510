"""Whole sweeps through Ray on the toy backbone: each cell once, and nothing left."""

from __future__ import annotations

import os
import pty
import signal
import stat
import time
from contextlib import suppress
from pathlib import Path

import pytest

from janus.errors import RunError
from janus.store.store import Store
from janus.training.load_trained import load_trained
from sweeps.__main__ import main
from sweeps.spec.by_status import by_status
from sweeps.spec.plan import plan
from sweeps.spec.sweep_file import load_sweep
from tests.sweeps.sweep_processes import (
    PAIRS,
    processes,
    run,
    short_tmp,
    start,
    wait_for_worker,
)

__all__ = ["short_tmp"]
pytestmark = pytest.mark.slow


def result_times(store: Store) -> dict[str, int]:
    return {cell_id: store.result_path(cell_id).stat().st_mtime_ns for cell_id in store.done()}


def test_a_sweep_trains_each_cell_once_and_leaves_nothing_behind(
    store: Store, tiny: list[str], short_tmp: str
) -> None:
    words = [*PAIRS, *tiny, f"store={store.root}", "keep=final"]
    status, out = run(words, short_tmp)
    assert status == 0, out
    assert store.done() == {cell.id for cell in plan(load_sweep("smoke", words).sweep).cells}
    assert "[4/4]" in out and "Traceback" not in out
    first = result_times(store)

    status, out = run(words, short_tmp)
    assert status == 0
    assert "trained" not in out and "all 4 cells of smoke are done" in out
    assert result_times(store) == first

    words_but_orders = [word for word in words if not word.startswith("orders=")]
    larger = [
        cell.id for cell in plan(load_sweep("smoke", ["orders=3", *words_but_orders]).sweep).cells
    ]
    split = by_status(larger, store)
    assert (len(split.done), len(split.open)) == (4, 2)

    kept = {cell_id: load_trained(store.root, cell_id) for cell_id in split.done}
    assert main(["gc", f"store={store.root}", "keep=final"]) == 0
    assert all(load_trained(store.root, cell_id) for cell_id in kept)
    assert main(["gc", f"store={store.root}"]) == 0
    with pytest.raises(RunError, match="did not keep"):
        load_trained(store.root, split.done[0])


def test_nobody_else_can_enter_what_a_sweep_writes_while_it_runs(
    store: Store, tiny: list[str], short_tmp: str
) -> None:
    process = start([*PAIRS, *tiny, f"store={store.root}"], short_tmp)
    seen: list[tuple[int, bool]] = []
    while process.poll() is None:
        for folder in Path(short_tmp).glob("janus-*"):
            with suppress(FileNotFoundError):
                seen.append((stat.S_IMODE(folder.stat().st_mode), (folder / "r").exists()))
        time.sleep(0.05)
    process.communicate()
    assert any(ray for _, ray in seen), "Ray's folder was seen"
    assert {mode for mode, _ in seen} == {0o700}


def test_a_sweep_watched_on_a_terminal_can_be_scheduled() -> None:
    from sweeps.execution.ray_trial import InOrder  # sets what Ray reads while it is imported

    # isort: split
    from ray import cloudpickle

    _, terminal = pty.openpty()
    with open(terminal, "w") as screen:
        assert cloudpickle.dumps(InOrder(lambda outcome: screen.write(outcome.message) and None))


def test_a_diverging_cell_is_reported_and_the_others_finish(
    store: Store, tiny: list[str], short_tmp: str
) -> None:
    words = ["methods=[seqlora]", "orders=2", "method.lr=1e-3,1e30", *tiny, "workers=2"]
    status, out = run([*words, f"store={store.root}"], short_tmp)
    assert status == 3, out
    assert len(store.done()) == 2
    assert "nan: 2 cells" in out
    assert "the same command trains what is missing: python -m sweeps run smoke" in out
    assert "Traceback" not in out


def test_a_killed_worker_is_replaced_and_the_sweep_completes(store: Store, short_tmp: str) -> None:
    tiny = ["backbone=toy", "bench.train_per_class=20", "bench.tasks=5", "train.epochs=4"]
    words = [*PAIRS, *tiny, "bench.test_per_class=2", f"store={store.root}"]
    cells = plan(load_sweep("smoke", words).sweep).cells
    process = start(words, short_tmp)
    victim = wait_for_worker(store, [cell.id for cell in cells])
    os.kill(victim, signal.SIGKILL)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    assert "[crashed]" in out
    assert store.done() == {cell.id for cell in cells}
    assert max(store.attempts(cell.id) for cell in cells) == 2
    assert processes(short_tmp) == {}


def test_a_crashed_cell_is_attempted_again_before_those_that_wait(
    store: Store, short_tmp: str
) -> None:
    tiny = ["backbone=toy", "bench.train_per_class=20", "bench.tasks=5", "bench.test_per_class=2"]
    words = ["methods=[seqlora]", "orders=3", "workers=1", *tiny, f"store={store.root}"]
    first, _, third = (cell.id for cell in plan(load_sweep("smoke", words).sweep).cells)
    process = start(words, short_tmp)
    os.kill(wait_for_worker(store, [first]), signal.SIGKILL)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    assert store.attempts(first) == 2
    finished = result_times(store)
    assert finished[first] < finished[third], "the crashed cell waited for the others"
    assert "crash: 1 attempts ended so, 1 of their cells have a result now" in out


@pytest.mark.parametrize("wish", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_cleanly_and_names_the_command_that_resumes(
    store: Store, short_tmp: str, wish: signal.Signals
) -> None:
    tiny = ["backbone=toy", "bench.train_per_class=20", "bench.tasks=5", "train.epochs=20"]
    words = [*PAIRS, *tiny, f"store={store.root}"]
    process = start(words, short_tmp)
    wait_for_worker(store, [cell.id for cell in plan(load_sweep("smoke", words).sweep).cells])
    running = processes(short_tmp).values()
    workers = [name for name in running if name.startswith("ray::") and "Agent" not in name]
    assert len(workers) == 2, "those that Ray started beforehand, and no others"
    assert not any(unused in name for name in running for unused in ("monitor.py", "dashboard.py"))
    process.send_signal(wish)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    assert "Go on with: python -m sweeps run smoke" in out
    assert "Traceback" not in out
    assert processes(short_tmp) == {}
    assert os.listdir(short_tmp) == []
