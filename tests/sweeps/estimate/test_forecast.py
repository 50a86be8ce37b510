"""What a sweep will cost: from finished cells of any sweep, and honest about what is unknown."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from janus.config.cell import Cell
from janus.machine.devices import cpu_name, gpu_names
from janus.store.store import Store
from sweeps.__main__ import main
from sweeps.estimate import forecast
from sweeps.show import texts
from sweeps.spec.by_status import by_status
from sweeps.spec.plan import PlannedCell, plan
from sweeps.spec.sweep_file import load_sweep


def planned(*words: str) -> Sequence[PlannedCell]:
    given = {word.partition("=")[0] for word in words}
    usual = [w for w in ("methods=[seqlora,janus]", "orders=2") if w.partition("=")[0] not in given]
    return plan(load_sweep("smoke", [*usual, *words]).sweep).entries


def finish(store: Store, cell: Cell, seconds: float, **facts: Any) -> None:
    """A committed cell that took so long, on this machine's processor unless told otherwise."""
    claim = store.claim(cell)
    assert claim is not None
    numerics = [{"device": facts.pop("device", cpu_name())}]
    provenance = {"seconds": seconds, "numerics": numerics, **facts}
    claim.commit({"id": cell.id, "metrics": {"acc": 0.5}}, provenance)
    claim.release()


def make(store: Store, wanted: Sequence[PlannedCell], workers: int = 2) -> forecast.Forecast | None:
    split = by_status([p.cell.id for p in wanted], store)
    return forecast.forecast(wanted, split, store, workers, "cpu")


def test_finished_cells_of_the_same_row_tell_what_the_others_take(store: Store) -> None:
    wanted = planned()
    assert make(store, wanted) is None
    finish(store, wanted[0].cell, 60.0)
    finish(store, wanted[1].cell, 120.0)
    made = make(store, wanted)
    assert made is not None
    assert (made.cells, made.training_s, made.wall_s) == (2, 180.0, 120.0), "no faster than a cell"
    assert made.disk_bytes > 0 and made.free_bytes > 0
    assert (made.scaled, made.guessed, made.elsewhere) == (0, 0, ())
    text = texts.forecast_text(made, 2, "measure")
    assert "2 cells, 3:00 of training (0.05 core-hours), 2:00 on the clock" in text


def test_cells_of_another_sweep_and_other_settings_are_scaled(store: Store) -> None:
    finish(store, planned("orders=[7]", "train.epochs=4", "method.rank=3")[0].cell, 40.0)
    made = make(store, planned("train.epochs=2", "methods=[seqlora]"))
    assert made is not None
    assert (made.cells, made.training_s, made.scaled) == (2, 40.0, 1)


def test_fewer_images_take_less_time_but_all_of_them_are_not_comparable(store: Store) -> None:
    finish(store, planned("bench.train_per_class=20")[0].cell, 40.0)
    made = make(store, planned("bench.train_per_class=10", "methods=[seqlora]"))
    assert made is not None and made.training_s == 40.0
    assert make(store, planned("methods=[seqlora]")) is None


def test_a_row_never_measured_is_taken_as_average_and_said(store: Store) -> None:
    wanted = planned()
    finish(store, wanted[0].cell, 60.0)
    made = make(store, wanted)
    assert made is not None and (made.training_s, made.guessed) == (180.0, 1)
    assert "1 rows never measured" in texts.forecast_text(made, 3, "measure")


def test_this_machines_measurements_win_and_others_are_named(store: Store) -> None:
    wanted = planned("methods=[seqlora]", "orders=4")
    finish(store, wanted[0].cell, 600.0, device="a slower machine")
    made = make(store, wanted)
    assert made is not None and made.elsewhere == ("a slower machine",)
    finish(store, wanted[1].cell, 60.0)
    made = make(store, wanted)
    assert made is not None and (made.training_s, made.elsewhere) == (120.0, ())


def test_the_peak_of_larger_batches_says_nothing_of_how_many_fit(store: Store) -> None:
    memory = {"peak_memory_bytes": 10 << 30, "device_memory_bytes": 80 << 30}
    finish(store, planned("train.clip=1")[0].cell, 60.0, **memory)
    known = make(store, planned("methods=[seqlora]"))
    assert known is not None and known.together
    for word in ("train.accumulate=4", "train.batch_size=16", "train.precision=bf16"):
        made = make(store, planned("methods=[seqlora]", word))
        assert made is not None and (made.scaled, made.together) == (1, {})


def test_a_measured_peak_says_how_many_fit_on_a_gpu(store: Store) -> None:
    wanted = planned()
    memory = {"peak_memory_bytes": 10 << 30, "device_memory_bytes": 80 << 30}
    finish(store, wanted[0].cell, 60.0, **memory)
    made = make(store, wanted)
    assert made is not None and made.together == {"seqlora": 6}
    assert "on a GPU together: 6 of seqlora" in texts.forecast_text(made, 3, "measure")


def test_the_forecast_is_kept_and_compared_with_what_it_took(store: Store) -> None:
    wanted = planned()
    finish(store, wanted[0].cell, 60.0)
    made = make(store, wanted)
    assert made is not None
    forecast.keep_forecast(store, "smoke", made)
    assert forecast.kept(store, "smoke") == made
    forecast.keep_outcome(store, "smoke", 3, 198.0, 100.0)
    assert forecast.kept(store, "smoke") == made
    text = texts.compared_text(made, 3, 198.0, 100.0)
    assert "it took: 3 cells, 3:18, 1:40 (+10 % training per cell)" in text


def test_gpus_are_named_as_the_driver_names_them(tmp_path: Path) -> None:
    path = tmp_path / "0000:01:00.0" / "information"
    path.parent.mkdir()
    path.write_text("Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   17\n")
    assert gpu_names(tmp_path) == ["NVIDIA H100 80GB HBM3"]


@pytest.mark.slow
def test_two_steps_of_each_unmeasured_row_make_a_forecast(
    store: Store, tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["methods=[ncm,janus]", "orders=2", *tiny, f"store={store.root}", "device=cpu"]
    assert main(["plan", "smoke", *words]) == 0
    out = capsys.readouterr().out
    assert "measure: python -m sweeps probe smoke" in out
    assert main(["probe", "smoke", *words]) == 0
    first = capsys.readouterr()
    assert "forecast for" in first.out and first.err.count("two steps of") == 2
    assert main(["probe", "smoke", *words]) == 0
    assert "two steps of" not in capsys.readouterr().err, "what was probed is not probed again"
    assert store.done() == set()


@pytest.mark.slow
def test_planning_ten_thousand_cells_with_nine_thousand_done_takes_two_seconds_of_processor(
    store: Store,
) -> None:
    words = ["methods=[seqlora,inflora,janus,lora_gpm,olora]", "orders=100", "seeds=20"]
    for entry in plan(load_sweep("smoke", words).sweep).entries[:9000]:
        path = store.result_path(entry.cell.id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"id": entry.cell.id}))
        attempt = store.run_dir(entry.cell.id) / "attempts" / "000001"
        attempt.mkdir(parents=True)
        (attempt / "provenance.json").write_text('{"seconds": 60.0}')
        (attempt.parent.parent / "committed.json").write_text('{"attempt": 1}')
    began = time.process_time()
    assert main(["plan", "smoke", *words, f"store={store.root}"]) == 0
    assert time.process_time() - began < 2.0
