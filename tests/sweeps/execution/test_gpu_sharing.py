"""How many cells share a GPU: measured, bounded, halved; here with pretended GPUs through Ray."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from janus.config.cell import Cell
from janus.errors import OUT_OF_MEMORY
from janus.store.store import Store
from sweeps.estimate.memory_fit import CONTEXT_BYTES, cells_that_fit, shape
from sweeps.execution.attempt import Outcome
from sweeps.execution.gpu_sharing import Packing
from sweeps.execution.rounds import drive
from sweeps.spec.plan import plan
from sweeps.spec.sweep_file import load_sweep

Put = Callable[[str], None]
GIB = 1 << 30


def cells_of(words: list[str]) -> list[Cell]:
    return plan(load_sweep("smoke", words).sweep).cells


@pytest.fixture
def cells() -> list[Cell]:
    return cells_of(["methods=[seqlora,janus]", "orders=4"])


def put_measured(store: Store, cell: Cell, peak: int, device: int | None) -> None:
    """A finished cell with its peak in the provenance."""
    claim = store.claim(cell)
    assert claim is not None
    facts = {"seconds": 1.0, "peak_memory_bytes": peak, "device_memory_bytes": device}
    claim.commit({"id": cell.id, "metrics": {}}, facts)
    claim.release()


def shares(batch: list[tuple[Cell, int]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for cell, shared in batch:
        found.setdefault(cell.method.name, []).append(shared)
    return found


def test_what_fits_leaves_room_for_contexts_and_never_is_nothing() -> None:
    assert cells_that_fit(10 * GIB, 80 * GIB) == 6
    assert cells_that_fit(100 * GIB, 80 * GIB) == 1
    assert cells_that_fit(1, 4 * CONTEXT_BYTES) == 3


def test_orders_and_seeds_have_one_shape_and_settings_another() -> None:
    alike = cells_of(["methods=[janus]", "orders=2", "seeds=2"])
    ranks = cells_of(["methods=[janus]", "orders=1", "method.rank=2,4"])
    assert len({shape(cell) for cell in alike}) == 1
    assert len({shape(cell) for cell in ranks}) == 2


def test_an_unknown_shape_is_measured_alone_before_it_is_packed(
    store: Store, cells: list[Cell]
) -> None:
    batches = Packing(store, places=8, gpus=1).batches(cells)
    assert shares(next(batches)) == {"seqlora": [1], "janus": [1]}
    put_measured(store, cells[0], 10 * GIB, 80 * GIB)
    put_measured(store, cells[1], 30 * GIB, 80 * GIB)
    assert shares(next(batches)) == {"seqlora": [6] * 3, "janus": [2] * 3}
    assert next(batches, None) is None


def test_idle_gpus_take_unmeasured_cells_too(store: Store, cells: list[Cell]) -> None:
    batch = next(Packing(store, places=8, gpus=5).batches(cells))
    assert len(batch) == 5 and {shared for _, shared in batch} == {1}


def test_finished_cells_of_the_sweep_are_measurements(store: Store, cells: list[Cell]) -> None:
    put_measured(store, cells[0], 10 * GIB, 80 * GIB)
    packing = Packing(store, places=4, gpus=1, sweep=cells)
    wanted = [cell for cell in cells[1:] if cell.method.name == "seqlora"]
    assert shares(next(packing.batches(wanted))) == {"seqlora": [4] * 3}, "as cores allow"


def test_a_peak_measured_on_a_cpu_says_nothing_about_a_gpu(store: Store, cells: list[Cell]) -> None:
    put_measured(store, cells[0], GIB, None)
    packing = Packing(store, places=4, gpus=1, sweep=cells)
    assert shares(next(packing.batches(cells[2:])))["seqlora"] == [1]


def test_out_of_memory_halves_the_packing_of_that_shape_only(
    store: Store, cells: list[Cell]
) -> None:
    for cell in cells[:2]:
        put_measured(store, cell, 10 * GIB, 80 * GIB)
    packing = Packing(store, places=8, gpus=1, sweep=cells)
    next(packing.batches(cells[2:]))
    for shared, then in ((6, 3), (3, 1), (1, 1)):
        for _ in range(2):  # two cells that were packed alike halve once
            packing.on_outcome(Outcome(cells[2].id, "failed", OUT_OF_MEMORY, shared=shared))
        found = shares(next(packing.batches(cells[2:])))
        assert found == {"seqlora": [then] * 3, "janus": [6] * 3}


def test_on_cores_cells_start_out_side_by_side_and_share_less_when_memory_runs_out(
    store: Store, cells: list[Cell]
) -> None:
    packing = Packing(store, places=4)
    assert shares(next(packing.batches(cells))) == {"seqlora": [4] * 4, "janus": [4] * 4}
    packing.on_outcome(Outcome(cells[0].id, "crashed", OUT_OF_MEMORY, shared=4))
    assert shares(next(packing.batches(cells))) == {"seqlora": [2] * 4, "janus": [4] * 4}


def test_a_shape_that_needs_more_than_was_measured_is_packed_less_and_less_until_it_fits(
    store: Store, cells: list[Cell]
) -> None:
    put_measured(store, cells[0], 10 * GIB, 80 * GIB)
    put_measured(store, cells[1], 10 * GIB, 80 * GIB)
    packing = Packing(store, places=8, gpus=1, sweep=cells)
    tried: list[tuple[str, int]] = []

    def run(round_cells: Sequence[Cell], note: Callable[[Outcome], None]) -> None:
        """A GPU on which cells of janus need twice what was measured."""
        for batch in packing.batches(round_cells):
            for cell, shared in batch:
                tried.append((cell.method.name, shared))
                short = cell.method.name == "janus" and shared > 3
                if not short:
                    put_measured(store, cell, 10 * GIB, 80 * GIB)
                status, cause = ("failed", OUT_OF_MEMORY) if short else ("done", "")
                outcome = Outcome(cell.id, status, cause, seconds=1.0, shared=shared)
                packing.on_outcome(outcome)
                note(outcome)

    tally = drive(cells, store, run, lambda _: None)
    assert Counter(tried) == {("seqlora", 6): 3, ("janus", 6): 3, ("janus", 3): 3}
    assert tally.retried() == {OUT_OF_MEMORY: (3, 3)}
    assert store.done() == {cell.id for cell in cells}


@pytest.fixture
def short_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="jp", dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def pretended(log: Path, room: int) -> type[Any]:
    """Cells on a GPU that is not there: 16 GiB, of which each is measured to need 1 GiB.

    The measurement is wrong: when more than `room` cells share the GPU, memory runs out.
    """
    from sweeps.execution.ray_trial import CellTrial

    class Pretended(CellTrial):  # pickled by value: it is defined in a function
        def run_cell(self, cell: Cell, store: Store) -> dict[str, Any] | None:
            import os

            import torch

            import janus.training.result

            janus.training.result.peak_memory_bytes = lambda device: 1 << 30
            janus.training.result.device_memory_bytes = lambda device: 16 << 30
            shared = self.job["shared"]
            with open(log, "a") as out:
                out.write(f"{cell.method.name} {cell.id} {shared} {os.getpid()}\n")
            if cell.method.name == "janus" and shared > room:
                raise torch.OutOfMemoryError("CUDA out of memory (injected)")
            return super().run_cell(cell, store)

    return Pretended


@pytest.mark.slow
def test_pretended_gpus_are_packed_and_running_out_of_memory_halves_and_retries(
    store: Store, tiny: list[str], short_tmp: Path
) -> None:
    from sweeps.execution.ray_pool import RayPool

    cells = cells_of(["methods=[seqlora,janus]", "orders=3", *tiny])
    log = short_tmp / "log"
    heard: list[Outcome] = []
    with RayPool(store, workers=4, sweep=cells, gpus=1) as pool:
        pool.trial = pretended(log, room=1)
        tally = drive(cells, store, pool.run, heard.append)
    lines = [line.split() for line in log.read_text().splitlines()]
    tried = Counter((method, int(shared)) for method, _, shared, _ in lines)
    assert tried["seqlora", 1] == 1 and tried["seqlora", 4] == 2, "one probe, the others packed"
    assert [tried["janus", shared] for shared in (1, 4, 2)] == [3, 2, 2], "probe; 4, 2, alone"
    assert store.done() == {cell.id for cell in cells}, "every cell has its result in the end"
    assert tally.retried() == {OUT_OF_MEMORY: (4, 2)}
    assert len(heard) == 6 + 4
    spoiled = {pid for method, _, shared, pid in lines if method == "janus" and shared != "1"}
    for pid in spoiled:  # a failure is the last thing that a worker does
        assert [line for line in lines if line[3] == pid][-1][0] == "janus"
        assert sum(line[3] == pid and line[2] != "1" and line[0] == "janus" for line in lines) == 1


@pytest.mark.slow
def test_a_cell_that_runs_out_of_memory_alone_is_not_tried_again(
    store: Store, tiny: list[str], short_tmp: Path
) -> None:
    from sweeps.execution.ray_pool import RayPool

    cells = cells_of(["methods=[seqlora,janus]", "orders=1", *tiny])
    with RayPool(store, workers=2, sweep=cells, gpus=1) as pool:
        pool.trial = pretended(short_tmp / "log", room=0)
        tally = drive(cells, store, pool.run, lambda _: None)
    last = {cell.method.name: tally.last[cell.id] for cell in cells}
    assert (last["seqlora"].status, last["janus"].status) == ("done", "failed")
    assert (last["janus"].cause, tally.attempts[cells[1].id]) == (OUT_OF_MEMORY, 1)
    assert "injected" in last["janus"].message


def test_an_order_of_ones_own_has_the_shape_of_any_other() -> None:
    cells = cells_of(["methods=[janus]", "orders=[[3,1,2,0],7]", "seeds=1"])
    assert len(cells) == 2 and len({shape(cell) for cell in cells}) == 1
