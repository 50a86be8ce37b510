"""The command line: what goes to stdout and stderr, and the exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from analysis import compare as command
from analysis.runs import filters
from analysis.stats import across_benches
from tests.analysis.conftest import add_methods

REPO = Path(__file__).resolve().parents[2]


def test_complete_table_exits_0_with_the_table_alone_on_stdout(fake, compare):
    add_methods(fake)
    done = compare()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n")[1].split() == ["method", "n", "ACC", "MAA", "BWT"]
    assert "Paired differences to janus" in done.stdout


def test_missing_cells_exit_3_and_are_listed_with_the_command(fake, compare):
    cells = add_methods(fake)
    lost = fake.cell("seqlora", order=9)
    fake.plan("first", [*cells, lost])
    done = compare("--sweep", "first")
    assert done.returncode == 3
    assert "seqlora" in done.stdout
    assert f"{lost.id}  {lost.title}  (not run yet)" in done.stderr
    assert "1 of 7 planned cells" in done.stderr
    assert "run them with: python -m sweeps first" in done.stderr


def test_refused_comparison_exits_2_with_a_message_and_no_table(fake, compare):
    fake.add("janus", train__epochs=5)
    fake.add("seqlora", train__epochs=8)
    done = compare()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ComparisonError: cannot compare runs of 'janus' and 'seqlora'")
    assert "Traceback" not in done.stderr


def test_module_form_runs_too(fake):
    add_methods(fake)
    done = subprocess.run(
        [sys.executable, "-m", "analysis.compare", "--store", str(fake.root)],
        capture_output=True,
        text=True,
        cwd=REPO,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_heavy_libraries_stay_out(fake):
    add_methods(fake)
    program = (
        "import sys; from analysis import compare; "
        f"code = compare.main(['--store', {str(fake.root)!r}]); "
        "heavy = {'torch', 'ray', 'hydra', 'timm', 'wandb', 'pandas', 'matplotlib'}; "
        "heavy.add('scipy.stats'); "
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=REPO)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--columns", "acc,mae"], "Did you mean 'maa'"),
        (["--endpoint", "acc,bvt"], "Did you mean 'bwt'"),
        (["--endpoint", ","], "--endpoint: name at least one"),
        (["--correction", "bonferroni"], "invalid choice"),
        (["--bench", "glyph"], "Did you mean 'glyphs'"),
        (["--methods", "janos"], "Did you mean 'janus'"),
        (["--reference", "seqlra"], "Did you mean 'seqlora'"),
        (["--where", "train.epoch=5"], "Did you mean 'train.epochs'"),
        (["--where", "epochs"], "key=value"),
        (["--allow", "epoch"], "Did you mean 'epochs'"),
        (["--sweep", "frist"], "Did you mean 'first'"),
        (["--expect", "nowhere.json"], "cannot read the plan"),
        (["--sweep", "first", "--expect", "x"], "not both"),
        (["--store", "nowhere"], "no store at"),
        (["--format", "pdf"], "invalid choice"),
    ],
)
def test_wrong_usage_exits_2_with_what_to_do(fake, call, arguments, message):
    fake.plan("first", add_methods(fake))
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize("content", ["{", '{"cells": 3}', "[1]", '[{"id": "x"}]'])
def test_a_plan_that_is_none_exits_2(fake, call, tmp_path, content):
    add_methods(fake)
    (tmp_path / "plan.json").write_text(content)
    code, _, err = call("--expect", str(tmp_path / "plan.json"))
    assert code == 2
    assert "the plan" in err


def test_an_empty_store_exits_3_and_says_so(fake, call):
    code, out, err = call()
    assert (code, out) == (3, "")
    assert "no finished runs in" in err


def test_a_sweep_that_has_not_started_lists_all_its_cells(fake, call):
    fake.plan("first", [fake.cell(order=i) for i in range(3)])
    code, out, err = call("--sweep", "first")
    assert (code, out) == (3, "")
    assert err.count("(not run yet)") == 3


def test_missing_cells_say_why(fake, call):
    cells = add_methods(fake)
    failed, running, damaged = (fake.cell("inflora", order=i) for i in range(3))
    claim = fake.store.claim(failed)
    claim.fail({"cause": "nan-loss"})
    claim.release()
    fake.store.claim(running)
    fake.path(fake.add("inflora", order=2)).write_text("{")
    fake.plan("first", [*cells, failed, running, damaged])
    code, _, err = call("--sweep", "first")
    assert code == 3
    assert f"{failed.title}  (failed: nan-loss)" in err
    assert f"{running.title}  (running)" in err
    assert f"{damaged.title}  (result not usable)" in err
    assert "1 file in the store is not a usable result" in err


def test_a_bare_list_of_cells_is_a_plan_without_a_command(fake, call, tmp_path):
    add_methods(fake)
    plan = tmp_path / "plan.json"
    lost = fake.cell(order=8)
    plan.write_text(json.dumps([{"id": lost.id, "title": lost.title}]))
    code, _, err = call("--expect", str(plan))
    assert code == 3
    assert f"run them with: the command that wrote {plan}" in err


def test_a_sweep_shows_its_own_cells_only(fake, call):
    cells = add_methods(fake, orders=2)
    fake.plan("first", cells)
    fake.add("janus", 0.1, order=5)
    fake.add("inflora", 0.1, order=0)
    code, out, _ = call("--sweep", "first", "--columns", "acc")
    assert code == 0
    assert "inflora" not in out
    assert "60.50 ± 0.71" in out


def test_missing_cells_of_rows_not_asked_for_do_not_count(fake, call):
    cells = add_methods(fake)
    fake.plan("first", [*cells, fake.cell("inflora", order=0)])
    assert call("--sweep", "first", "--methods", "janus,seqlora")[0] == 0
    assert call("--sweep", "first")[0] == 3


def test_validation_runs_enter_only_on_request(fake, call):
    add_methods(fake)
    fake.add("janus", 0.123, order=0, eval="validation")
    _, out, err = call()
    assert "1 run scored on validation data left out" in err
    assert "12.30" not in out
    _, out, err = call("--eval", "validation")
    assert "12.30" in out
    assert "6 runs scored on test data left out" in err


def test_runs_resumed_elsewhere_or_from_changed_code_are_flagged(fake, call):
    fake.add(order=0, provenance={"resumed_under_other_numerics": True, "git": {"dirty": True}})
    fake.add(order=1)
    _, out, _ = call()
    assert "1 of 2 runs: resumed under other hardware or versions" in out
    assert "1 of 2 runs: source tree with uncommitted changes" in out
    assert "1 of 2 runs: source tree" in call("--format", "csv")[2]


def test_rows_come_in_the_order_asked_for(fake, call):
    add_methods(fake, methods=("janus", "seqlora", "inflora"))
    _, out, _ = call("--methods", "seqlora", "--methods", "janus,inflora", "--columns", "acc")
    assert [line.split()[0] for line in out.splitlines()[3:6]] == ["seqlora", "janus", "inflora"]


def test_configurations_are_chosen_by_their_settings(fake, call):
    for order in range(2):
        for rank in (2, 4):
            for rectify in (True, False):
                fake.add(order=order, method__rank=rank, method__rectify=rectify)
    code, out, err = call()
    assert code == 0
    assert sum(line.startswith("janus[rank=") and "±" in line for line in out.splitlines()) == 4
    assert "choose one with --reference" in err
    _, out, _ = call("--reference", "janus[rank=4,rectify=true]")
    assert "Paired differences to janus[rank=4,rectify=true]" in out
    _, out, _ = call("--methods", "janus[rectify=false]", "--columns", "acc")
    assert out.partition("\n\n")[0].count("janus[rank=") == 2
    code, _, err = call("--reference", "janus[rank=4]")
    assert code == 2
    assert "names 2 rows" in err


def test_where_filters_on_any_field(fake, call):
    for rank in (2, 4, 8):
        fake.add(order=0, method__rank=rank, acc=rank / 10)
    _, out, _ = call("--where", "method.rank=4", "--columns", "acc")
    assert "40.00" in out
    assert "80.00" not in out
    _, out, _ = call("--where", "method.rank=4", "--where", "method.rank=8", "--columns", "acc")
    assert "20.00" not in out
    assert "80.00" in out
    code, _, err = call("--where", "method.rank=5")
    assert code == 3
    assert "no finished runs that match" in err


def test_allowed_differences_are_printed_with_footnotes(fake, call):
    fake.add("janus", train__epochs=5)
    fake.add("seqlora", train__epochs=8)
    code, out, _ = call("--allow", "epochs")
    assert code == 0
    assert "glyphs [1]" in out
    assert "[2] epochs 8; not tested against" in out
    assert "Paired differences" not in out


@pytest.mark.parametrize("form", sorted(command.FORMATS))
def test_every_format_prints_one_run(fake, call, form):
    fake.add()
    code, out, err = call("--format", form)
    assert (code, err) == (0, "")
    assert "janus" in out


def test_names_split_at_commas_outside_brackets():
    assert filters.split_names(["a,janus[rank=4,lr=0.1]", "b"]) == [
        "a",
        "janus[rank=4,lr=0.1]",
        "b",
    ]


def test_a_sweeps_own_row_names_head_the_table(tmp_path):
    """Seven switches of one method read better as `janus[none]` than as their settings."""
    from analysis.runs.sweep_lists import read_sweep_list

    path = tmp_path / "plan.json"
    title = "glyphs janus[none,lr=1e-3] order=0 seed=0"
    path.write_text(json.dumps({"cells": [{"id": "a" * 16, "title": title, "row": "janus[none]"}]}))
    cell = read_sweep_list(path).cells[0]
    assert (cell.bench, cell.method, cell.row) == ("glyphs", "janus", "janus[none]")


def test_interval_columns_are_t_intervals(fake, call):
    for order, acc in enumerate((0.5, 0.6, 0.7)):
        fake.add("janus", acc, order=order)
    _, out, _ = call("--spread", "ci", "--columns", "acc")
    assert "60.00 ± 24.84" in out  # 4.303 * 10 / sqrt(3)
    assert "half of the 95 % t interval" in out


def test_details_show_benches_components_and_further_orders(fake, call, monkeypatch):
    monkeypatch.setattr(across_benches, "DRAWS", 20)
    for seed in range(2):
        for order in range(4):
            fake.add("janus", 0.6 + order / 100, order=order, seed=seed)
            fake.add("seqlora", 0.5 + order / 90 + seed / 100, order=order, seed=seed)
    code, out, _ = call("--details", "--columns", "acc")
    assert code == 0
    assert "Across 1 bench, ACC" in out
    line = next(x for x in out.splitlines() if x.startswith("glyphs  janus"))
    assert line.split() == ["glyphs", "janus", "4", "8", "1.29", "0.00", "100.00"]
    assert "More orders to decide" in out
    assert "not in CSV" in call("--details", "--format", "csv")[2]
    record = json.loads(call("--details", "--format", "json")[1])["details"]
    assert [row["method"] for row in record["across"]] == ["seqlora", "janus"]


def test_the_probability_of_improvement_lies_in_its_interval(fake, call, monkeypatch):
    """Orders that differ more than the methods: drawn together, the interval misses 58 %."""
    monkeypatch.setattr(across_benches, "DRAWS", 200)
    for order in range(6):
        fake.add("janus", 0.6 + order / 100, order=order)
        fake.add("seqlora", 0.602 + order / 100, order=order)
    record = json.loads(call("--details", "--format", "json")[1])["details"]
    (found,) = [row for row in record["across"] if row["method"] == "seqlora"]
    assert found["improvement"] == pytest.approx(21 / 36)
    interval = found["improvement_interval"]
    assert interval["low"] < found["improvement"] < interval["high"]


def test_rows_without_a_common_order_are_refused_unless_allowed(fake, call):
    fake.add("janus", order=0)
    fake.add("seqlora", order="natural")
    code, out, err = call()
    assert (code, out) == (2, "")
    assert "no common order" in err
    assert call("--allow", "orders")[0] == 0


def test_rows_without_a_common_seed_are_refused_unless_allowed(fake, call):
    for order in range(2):
        fake.add("janus", order=order, seed=0)
        fake.add("seqlora", order=order, seed=1)
    code, out, err = call()
    assert (code, out) == (2, "")
    assert "no common seed in any of their common orders\n  janus: 0\n  seqlora: 1" in err
    code, out, _ = call("--allow", "seeds")
    assert code == 0
    assert "No (order, seed) in common with the reference, so no difference: seqlora on" in out


def test_a_table_without_janus_says_how_to_get_differences(fake, call):
    add_methods(fake, methods=("inflora", "seqlora"))
    code, out, err = call()
    assert (code, err) == (
        0,
        "no row of janus: --reference ROW gives paired differences to that row\n",
    )
    assert "Paired" not in out
    assert call("--reference", "seqlora")[2] == ""


def test_several_endpoints_are_compared_below_each_other(fake, call):
    add_methods(fake)
    _, out, _ = call("--columns", "acc", "--endpoint", "acc,forgetting")
    assert "Paired differences to janus on glyphs, in points of ACC" in out
    assert "Paired differences to janus on glyphs, in points of Forgetting" in out
    assert "the 2 tests of a bench, all rows in ACC and Forgetting, are one family" in out
    lines = [line.split() for line in out.splitlines() if line.startswith("seqlora")]
    assert lines[1][1] == "+10.00" and lines[2][1] == "-10.00"
    assert lines[1][-1] == lines[2][-1] == "3/0"  # less forgetting is a win


def test_rows_without_a_common_order_are_refused_whatever_stands_between_them(fake, call):
    for method, orders in (("inflora", (0,)), ("janus", (0, 1)), ("seqlora", (1,))):
        for order in orders:
            fake.add(method, order=order)
    code, _, err = call()
    assert code == 2
    assert "cannot compare 'inflora' and 'seqlora'" in err


def test_a_mean_over_fewer_orders_is_said_below_the_table(fake, call):
    add_methods(fake)
    fake.add("janus", order=8)
    _, out, _ = call()
    assert "means over fewer than 4 orders (seqlora 3)" in out


def test_nearest_class_mean_and_in_task_columns_are_shown_where_measured(fake, call):
    cell = fake.add("janus")
    fake.edit(cell, lambda r: r.update(metrics_ncm={"acc": 0.81, "bwt": None}))
    fake.add("seqlora")
    _, out, _ = call("--columns", "acc,acc_ncm,acc_in_task")
    assert "81.00" in out
    assert next(x for x in out.splitlines() if x.startswith("seqlora")).split()[-4:][0] == "--"


def test_second_is_underlined_only_behind_a_best(fake, call):
    for order in range(8):
        for method, acc in (("janus", 0.7), ("inflora", 0.6), ("seqlora", 0.5)):
            fake.add(method, acc - order / 100, order=order)
    _, out, _ = call("--format", "markdown", "--columns", "acc")
    assert "| inflora | 8 | <u>56.50 ± 2.45</u> |" in out
    _, out, _ = call("--format", "latex", "--columns", "acc")
    assert r"\underline{\num{56.50 +- 2.45}}" in out


def add_as_published(fake) -> list:
    cells = [
        fake.add(method, 0.5 + acc, order=order, train__epochs=epochs)
        for method, epochs, acc in (("inflora", 20, 0.1), ("janus", 20, 0.3), ("l2p", 10, 0.2))
        for order in range(8)
    ]
    path = fake.plan("own", cells)
    record = json.loads(path.read_text())
    record["cells"] = [{**cell, "protocol": "as_published"} for cell in record["cells"]]
    path.write_text(json.dumps(record))
    return cells


def test_rows_run_as_published_get_footnotes_and_no_test(fake, call):
    add_as_published(fake)
    code, out, err = call("--sweep", "own")
    assert (code, err) == (0, "")
    assert out.split("\n")[0].split() == ["glyphs"]  # one column
    rows = [line.split("  ")[0] for line in out.split("\n")[3:6]]
    assert rows == ["inflora [1]", "janus [1]", "l2p [2]"]
    assert "[1] glyphs: epochs 20." in out and "[2] glyphs: epochs 10." in out
    assert "none is tested" in out
    assert "Paired" not in out and "*" not in out and "Bold" not in out
    _, unlike, _ = call("--sweep", "own", "--format", "markdown")
    assert "**" not in unlike and "<u>" not in unlike


def test_rows_run_as_published_refuse_a_reference_and_a_common_table(fake, call):
    add_as_published(fake)
    code, out, err = call("--sweep", "own", "--reference", "janus")
    assert (code, out) == (2, "")
    assert "protocol: unified" in err
    assert call()[0] == 2  # without the sweep's word for it, the store refuses to mix them


def test_rows_run_as_published_can_be_picked_in_any_order(fake, call):
    add_as_published(fake)
    _, out, _ = call("--sweep", "own", "--methods", "l2p,inflora")
    assert [line.split()[0] for line in out.split("\n")[3:5]] == ["l2p", "inflora"]
