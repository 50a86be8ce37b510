"""Searches against made-up training: budgets, replays, rungs, winners, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml

from analysis.runs import load as results
from janus import atomic_files
from janus.config.cell import Cell
from janus.errors import ConfigError
from janus.store.store import Store
from sweeps.__main__ import main
from sweeps.execution.attempt import Outcome
from sweeps.search.candidates import rung_tasks
from sweeps.search.learning_curve import Curve, read_curve
from sweeps.search.search import Driver, Tuned, UnfinishedError, make_tuned
from sweeps.search.winners_file import winners_file
from sweeps.spec.cell_list import read_list
from sweeps.spec.plan import plan
from sweeps.spec.sweep_file import load_sweep

FILE = """
methods: [seqlora, ncm, inflora]
orders: [100]
seeds: [100, 101]
fixed: {eval: validation, bench.tasks: 8}
search:
  reports: smoke
  algorithm: random
  budget: 8
  space:
    all: {lr: {log: [1.0e-4, 1.0e-2]}}
    inflora: {subspace_energy: {choices: [0.9, 0.99]}}
"""

AccuracyOf = Callable[[Cell, int], float]


def rising(cell: Cell, task: int) -> float:
    """Higher rates are better, at every task."""
    return float(cell.method.values.get("lr", 3e-4)) * 50 + 0.001 * cell.seed - 0.01 * task


class MadeUp:
    """Stands for `ConfigurationPool.run_until`: commits what `accuracy` says, and counts."""

    def __init__(self, store: Store, accuracy: AccuracyOf = rising, stop_after: int = 10**9):
        self.store, self.accuracy, self.stop_after = store, accuracy, stop_after
        self.trained = 0
        """Tasks of cells."""

    def __call__(self, configurations: Sequence[Sequence[Cell]], until: int) -> list[list[Outcome]]:
        return [[self._train(cell, until) for cell in cells] for cells in configurations]

    def _train(self, cell: Cell, until: int) -> Outcome:
        for task in range(len(read_curve(self.store, cell.id)), until):
            if self.trained >= self.stop_after:
                raise KeyboardInterrupt
            self.trained += 1
            accuracy = self.accuracy(cell, task)
            if accuracy < 0:
                return self._fail(cell, "nan" if accuracy == -1 else "disk-full")
            Curve(self.store, cell.id).notify("task", {"task": task, "accuracy": accuracy})
        if until == cell.bench.tasks and not self.store.result_path(cell.id).exists():
            points = read_curve(self.store, cell.id)
            correct = [[round(1e6 * point)] * (t + 1) for t, point in enumerate(points)]
            record = {"id": cell.id, "correct": correct, "total": [10**6] * until}
            record["metrics"] = {"acc": points[-1]}
            atomic_files.create_once(
                self.store.result_path(cell.id), atomic_files.json_writer(record)
            )
        return Outcome(cell.id, "done")

    def _fail(self, cell: Cell, cause: str) -> Outcome:
        claim = self.store.claim(cell)
        assert claim is not None
        claim.fail({"cause": cause, "message": "made up"})
        claim.release()
        return Outcome(cell.id, "failed", cause, "made up")


@pytest.fixture(autouse=True)
def no_disk_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of made-up tasks need not survive a power cut."""
    monkeypatch.setattr(atomic_files, "_sync", lambda path: None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "mine.yaml"
    found.write_text(FILE)
    return found


def run(path: Path, trainer: MadeUp, *words: str) -> tuple[str, list[Tuned]]:
    """The winners' file, and everything that was tried."""
    request = load_sweep(str(path), words)
    assert request.search is not None
    planned = plan(request.sweep)
    tuned = [make_tuned(planned, request.search, row) for row in planned.rows]
    driver = Driver(request, request.search, trainer.store, trainer, "command", pause_s=0.0)
    driver.go(tuned)
    return winners_file(request, request.search, tuned, trainer.store), tuned


def test_every_row_gets_the_same_budget_on_every_tuning_cell(path: Path, store: Store) -> None:
    _, tuned = run(path, MadeUp(store))
    assert {t.row.method: len(t.tried) for t in tuned} == {"seqlora": 8, "ncm": 1, "inflora": 8}
    for t in tuned:
        for candidate in t.tried:
            assert [(c.order, c.seed) for c in candidate.cells] == [("100", 100), ("100", 101)]
            assert {c.bench.eval for c in candidate.cells} == {"validation"}
    assert len(store.done()) == 2 * (8 + 1 + 8)


@pytest.mark.slow
def test_the_best_mean_wins_and_is_reported_on_fresh_pairs(path: Path, store: Store) -> None:
    text, tuned = run(path, MadeUp(store))
    best = max((c.configuration for c in tuned[0].tried), key=lambda c: float(c["lr"]))
    written = store.root / "mine_winners.yaml"
    written.write_text(text)
    sweep = load_sweep(str(written), []).sweep
    assert sweep.variants["seqlora"][""] == best
    assert set(sweep.pairs()) == set(load_sweep("smoke", []).sweep.pairs())
    assert {cell.bench.eval for cell in plan(sweep).cells} == {"test"}
    assert {p.row for p in plan(sweep).entries} == {"seqlora", "ncm", "inflora"}
    assert text.count("<- best") == 3
    for word in ("orders=[0,100]", "seeds=[101]"):
        with pytest.raises(ConfigError, match="fresh"):
            load_sweep(str(written), [word])


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["random", "tpe", "grid"])
@pytest.mark.parametrize("early", ["true", "false"])
def test_a_search_that_was_killed_ends_like_one_that_was_not(
    path: Path, tmp_path: Path, algorithm: str, early: str
) -> None:
    words = [f"search.algorithm={algorithm}", f"search.early_stopping={early}"]
    words += ["methods=[seqlora]"]
    if algorithm == "grid":
        path.write_text(FILE.replace("{log: [1.0e-4, 1.0e-2]}", "{choices: [1e-4, 1e-3, 1e-2]}"))
        words += ["search.budget=3"]
    undisturbed = MadeUp(Store(tmp_path / "whole"))
    wanted, _ = run(path, undisturbed, *words)
    store, trained = Store(tmp_path / "cut"), 0
    for share in (8, 4, 3):
        trainer = MadeUp(store, stop_after=undisturbed.trained // share)
        with pytest.raises(KeyboardInterrupt):
            run(path, trainer, *words)
        trained += trainer.trained
    last = MadeUp(store)
    assert run(path, last, *words)[0] == wanted
    assert trained + last.trained == undisturbed.trained
    again = MadeUp(store)
    assert run(path, again, *words)[0] == wanted
    assert again.trained == 0


def stable_or_plastic(cell: Cell, task: int) -> float:
    """Rates below 1e-3 start low and stay; those above start high and forget from task 3 on."""
    rate = float(cell.method.values["lr"])
    return 0.7 - 10 * rate if rate < 1e-3 else 0.95 - 0.15 * max(0, task - 1)


def test_rungs_wait_for_half_of_the_tasks_and_keep_what_does_not_forget(
    path: Path, store: Store
) -> None:
    text, (tuned,) = run(
        path, MadeUp(store, stable_or_plastic), "search.early_stopping=true", "methods=[seqlora]"
    )
    assert {c.cut_at for c in tuned.tried} == {None, 4, 6}
    cut = [c for c in tuned.tried if c.cut_at == 4]
    assert len(cut) == 4  # half of eight
    assert all(float(c.configuration["lr"]) >= 1e-3 for c in cut[:1])
    best = yaml.safe_load(text)["variants"]["seqlora"][""]
    assert best["lr"] < 1e-3
    for candidate in tuned.tried:
        reached = {len(read_curve(store, cell.id)) for cell in candidate.cells}
        assert reached == {candidate.cut_at or 8}


def test_cut_runs_are_marked_and_can_enter_no_table(path: Path, store: Store) -> None:
    _, (tuned,) = run(path, MadeUp(store), "search.early_stopping=true", "methods=[seqlora]")
    cut = {cell.id for c in tuned.tried if c.cut_at is not None for cell in c.cells}
    whole = {cell.id for c in tuned.tried if c.cut_at is None for cell in c.cells}
    assert cut and whole
    for cell_id in cut:
        assert atomic_files.read_json(store.run_dir(cell_id) / "cut.json")["search"] == "mine"
        assert store.result(cell_id) is None
        assert store.status(cell_id) != "done"
    assert store.done() == whole
    loaded = results.load_runs([store.root])
    seen = {run.id for run in loaded.runs} | {file.stem for file, _ in loaded.skipped}
    assert not seen & cut
    assert {entry["id"] for entry in read_list(store, "mine", "how")["cells"]} == whole


@pytest.mark.parametrize("tasks", range(1, 21))
def test_no_rung_lies_in_the_first_half_or_at_the_end(tasks: int) -> None:
    assert all(tasks / 2 <= rung < tasks for rung in rung_tasks(tasks))


@pytest.mark.slow
def test_a_configuration_that_diverges_loses_and_is_not_tried_again(
    path: Path, store: Store
) -> None:
    def accuracy(cell: Cell, task: int) -> float:
        return -1 if float(cell.method.values["lr"]) > 2e-3 else rising(cell, task)

    text, _ = run(path, MadeUp(store, accuracy), "methods=[seqlora]")
    assert yaml.safe_load(text)["variants"]["seqlora"][""]["lr"] <= 2e-3
    assert "diverged" in text
    again = MadeUp(store, accuracy)
    assert run(path, again, "methods=[seqlora]")[0] == text
    assert again.trained == 0


def test_a_failure_that_is_not_the_configurations_stops_the_search(
    path: Path, store: Store
) -> None:
    def accuracy(cell: Cell, task: int) -> float:
        return -2

    with pytest.raises(UnfinishedError) as caught:
        run(path, MadeUp(store, accuracy), "methods=[seqlora]")
    assert caught.value.outcomes[0].cause == "disk-full"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("orders: [100]", "orders: [2]", "order 2 is used for tuning"),
        ("seeds: [100, 101]", "seeds: [0]", "seed 0 is used for tuning"),
        ("eval: validation", "eval: test", "test set"),
        ("reports: smoke", "reports: smok", "'smoke'"),
        ("methods:", "bench: [glyphs, fashion]\nmethods:", "tuned for one"),
        ("budget: 8", "budget: 0", "at least 1"),
        ("budget: 8", "bugdet: 8", "'budget'"),
        ("algorithm: random", "algorithm: tpee", "'tpe'"),
        ("algorithm: random", "early_stopping: 1", "true or false"),
        ("algorithm: random", "keep: 0", "keep"),
        ("search:", "grid: {method.rank: [2, 4]}\nsearch:", "search.space"),
        ("search:", "early_stopping: true\nsearch:", "unknown key 'early_stopping'"),
    ],
)
def test_a_search_that_would_not_be_fair_is_refused(
    path: Path, old: str, new: str, said: str
) -> None:
    path.write_text(FILE.replace(old, new))
    with pytest.raises(ConfigError, match=said):
        load_sweep(str(path), [])


def test_grids_of_unequal_size_are_refused(path: Path) -> None:
    text = FILE.replace("{log: [1.0e-4, 1.0e-2]}", "{choices: [1e-4, 1e-3, 1e-2]}")
    path.write_text(text.replace("algorithm: random", "algorithm: grid"))
    with pytest.raises(ConfigError, match=r"budgets differ \(seqlora 3, inflora 6\)"):
        load_sweep(str(path), [])


def test_a_grid_tries_all_of_its_points_and_a_smaller_budget_is_refused(tmp_path: Path) -> None:
    rates = ", ".join(f"{n}e-4" for n in range(1, 21))
    path = tmp_path / "mine.yaml"
    search = f"{{reports: smoke, algorithm: grid, space: {{all: {{lr: {{choices: [{rates}]}}}}}}}}"
    head = "methods: [seqlora]\norders: [100]\nseeds: [100]\nfixed: {eval: validation}"
    path.write_text(f"{head}\nsearch: {search}\n")
    found = load_sweep(str(path), []).search
    assert found is not None and found.budget == 20
    with pytest.raises(ConfigError, match="20 for each row; leave the"):
        load_sweep(str(path), ["search.budget=16"])


@pytest.mark.parametrize("action", ["run", "plan", "choose"])
def test_early_stopping_and_searches_never_make_tables(path: Path, action: str) -> None:
    with pytest.raises(ConfigError, match="is a search, not a table"):
        main([action, str(path)])
    with pytest.raises(ConfigError, match="no `search:` part"):
        main(["search", "smoke"])


GRID = """
methods: [seqlora, ncm, inflora]
orders: [100]
seeds: [100]
fixed: {eval: validation, bench.tasks: 4}
search:
  reports: smoke
  algorithm: grid
  widen: 3
  space:
    all: {lr: {choices: [1.0e-3, 2.0e-3, 4.0e-3]}, head_lr: {choices: [5.0e-3, 1.0e-2, 2.0e-2]}}
"""


def peaked(lr: float, head_lr: float) -> AccuracyOf:
    """Best at these rates, the same for SeqLoRA; InfLoRA is best at 2e-3 and 1e-2."""

    def accuracy(cell: Cell, task: int) -> float:
        values = cell.method.values
        if cell.method.name == "ncm":
            return 0.5
        best = (lr, head_lr) if cell.method.name == "seqlora" else (2e-3, 1e-2)
        off = sum(
            abs(math.log(float(values[name]) / at))
            for name, at in zip(("lr", "head_lr"), best, strict=True)
        )
        return round(0.9 - 0.05 * off, 6)

    return accuracy


@pytest.fixture
def grid_file(tmp_path: Path) -> Path:
    found = tmp_path / "gridded.yaml"
    found.write_text(GRID)
    return found


def test_a_grid_is_widened_for_every_row_until_the_best_rates_lie_inside(
    grid_file: Path, store: Store
) -> None:
    text, tuned = run(grid_file, MadeUp(store, peaked(8e-3, 5e-3)))
    assert {t.row.method: len(t.tried) for t in tuned} == {"seqlora": 20, "ncm": 1, "inflora": 20}
    rates = {(c.configuration["lr"], c.configuration["head_lr"]) for c in tuned[0].tried}
    lrs = (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)
    assert rates == {(lr, head) for lr in lrs for head in (2.5e-3, 5e-3, 1e-2, 2e-2)}
    record = yaml.safe_load(text)
    assert record["variants"]["seqlora"][""] == {"lr": 8e-3, "head_lr": 5e-3}
    assert record["tuned_on"]["configurations"] == {"seqlora": 20, "ncm": 1, "inflora": 20}
    assert record["tuned_on"]["edges"] == {}
    assert "# seqlora: 20 configurations tried\n" in text


def test_a_best_rate_that_stays_on_the_edge_is_said(grid_file: Path, store: Store) -> None:
    text, tuned = run(grid_file, MadeUp(store, peaked(1.0, 1e-2)), "search.widen=1")
    assert len(tuned[0].tried) == len(tuned[2].tried) == 12
    assert "# seqlora: 12 configurations tried; the best has the highest lr that was tried" in text
    assert yaml.safe_load(text)["tuned_on"]["edges"] == {"seqlora": ["lr highest"]}


def test_a_widened_search_that_was_killed_ends_like_one_that_was_not(
    grid_file: Path, tmp_path: Path
) -> None:
    whole, _ = run(grid_file, MadeUp(Store(tmp_path / "whole"), peaked(8e-3, 5e-3)))
    broken = Store(tmp_path / "broken")
    for allowed in (30, 50, 60):
        trainer = MadeUp(broken, peaked(8e-3, 5e-3), stop_after=allowed)
        with pytest.raises(KeyboardInterrupt):
            run(grid_file, trainer)
    text, _ = run(grid_file, MadeUp(broken, peaked(8e-3, 5e-3)))
    assert text == whole


def test_only_rates_are_widened_and_other_settings_are_told(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "energy.yaml"
    space = "{inflora: {subspace_energy: {choices: [0.9, 0.95, 0.99]}}}"
    path.write_text(
        "methods: [inflora]\norders: [100]\nseeds: [100]\n"
        "fixed: {eval: validation, bench.tasks: 4}\n"
        f"search: {{reports: smoke, algorithm: grid, widen: 2, space: {space}}}\n"
    )

    def accuracy(cell: Cell, task: int) -> float:
        return float(cell.method.values["subspace_energy"])  # type: ignore[arg-type]

    text, tuned = run(path, MadeUp(store, accuracy))
    assert len(tuned[0].tried) == 3
    assert yaml.safe_load(text)["tuned_on"]["edges"] == {"inflora": ["subspace_energy highest"]}


def test_widening_is_refused_where_there_is_no_grid(path: Path) -> None:
    path.write_text(FILE.replace("budget: 8", "budget: 8\n  widen: 2"))
    with pytest.raises(ConfigError, match=r"search\.widen is for grids"):
        load_sweep(str(path), [])


def test_rows_tuned_with_unequal_budgets_are_not_reported(tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    head = "methods: [seqlora, inflora, ncm]\norders: 4\n"
    told = "orders: ['100'], seeds: [100], configurations: {seqlora: 9, inflora: 12, ncm: 1}"
    path.write_text(f"{head}tuned_on: {{{told}}}\n")
    with pytest.raises(ConfigError, match=r"\(seqlora 9, inflora 12\).*unequal: true"):
        load_sweep(str(path), [])
    path.write_text(f"{head}tuned_on: {{{told}, unequal: true}}\n")
    load_sweep(str(path), [])
    path.write_text(f"{head}tuned_on: {{{told.replace('12', '9')}}}\n")
    load_sweep(str(path), [])
    path.write_text(f"{head}tuned_on: {{{told}, equal: true}}\n")
    with pytest.raises(ConfigError, match=r"unknown key 'equal'.*unequal"):
        load_sweep(str(path), [])
