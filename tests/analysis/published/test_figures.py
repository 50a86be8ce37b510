"""The published figures: whole, unknown where unknown, marked where suspect, digit for digit."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from analysis import compare
from analysis.blocks import published, published_tables
from analysis.published import read_csv, verdict
from janus.config import compose as composer

REPO = Path(__file__).resolve().parents[3]


def cells(key: str) -> dict[tuple[str, str], str]:
    """(row, heading column) -> printed text of a rebuilt table."""
    (layout,) = [x for x in published_tables.LAYOUTS if x.key == key]
    (grid,) = published_tables.published_block(layout).grids
    titles = [title for title, span in grid.spans for _ in range(span)]
    return {
        (row[0].value, f"{title} {head}".strip()): cell
        for row in grid.rows
        for cell, title, head in zip(row, titles, grid.header, strict=True)
    }


def test_every_published_row_is_read():
    with (read_csv.FOLDER / "figures.csv").open() as stream:
        assert len(read_csv.published_figures()) == len(list(csv.DictReader(stream))) == 667


def test_published_names_are_ours_or_known_to_have_no_method_here():
    foreign = {"adam_nscl", "cl_lora", "full_ft", "hide_prompt", "seq_ft"}
    ours = {path.stem for path in (REPO / "janus/conf/method").glob("*.yaml")}
    benches = {path.stem for path in (REPO / "janus/conf/bench").glob("*.yaml")}
    assert {figure.method for figure in read_csv.published_figures()} <= ours | foreign
    assert {figure.bench for figure in read_csv.published_figures()} <= benches | {""}


STATED = {
    ("janus-lora", "Table 1 (ablation-table.png)"): ("5", "caption"),
    ("sd-lora", "Table 2"): ("5", "authors, issue 14 of their repository"),
    ("sd-lora", "Table 3"): ("5", "authors, issue 14 of their repository"),
}
"""Tables whose source states the number of runs: all other tables have none."""


def test_n_stands_only_where_the_source_states_it():
    """The rule of analysis/published/README.md."""
    with (read_csv.FOLDER / "figures.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        found = (row["n"], row["n_stated"])
        if row["source"].endswith("-logs"):
            assert found in (("1", "runs in the log"), ("5", "runs in the log"))
        else:
            assert found == STATED.get((row["source"], row["place"]), ("", "")), row
    assert {source for source, _ in STATED} <= {row["source"] for row in rows}
    readme = (read_csv.FOLDER / "README.md").read_text()
    assert "`n` stands only where" in " ".join(readme.split())


@pytest.mark.parametrize(("n", "stated"), [("5", ""), ("", "caption")])
def test_a_number_of_runs_without_its_place_is_refused(n, stated):
    with (read_csv.FOLDER / "figures.csv").open() as stream:
        row = next(csv.DictReader(stream))
    with pytest.raises(ValueError, match="n_stated"):
        read_csv._figure({**row, "n": n, "n_stated": stated})


def test_sd_loras_logs_have_their_weights_orders_and_epochs_and_its_tables_no_weights():
    logs = [f for f in read_csv.published_figures() if f.source == "sd-lora-logs"]
    assert len(logs) == 65
    assert {f.protocol["weights"] for f in logs} == {"augreg2_in21k_ft_in1k"}
    assert {f.protocol["epochs"] for f in logs} == {"20"}
    seeds = {"C100": 1994, "InA": 1993, "InR-T10": 1995, "InR-T20": 1996, "InR-T5": 1995}
    orders = {f.place.removesuffix(".log"): f.protocol["order"] for f in logs}
    assert orders == {name: f"shuffled, seed {seed}" for name, seed in seeds.items()}
    tables = [f for f in read_csv.published_figures() if f.source == "sd-lora"]
    assert len(tables) == 90
    assert not any("weights" in f.protocol for f in tables)


def test_unknown_protocol_fields_are_missing_and_not_guessed():
    for figure in read_csv.published_figures():
        assert "" not in figure.protocol.values()
        if figure.source == "janus-lora":
            assert not {"weights", "order", "normalisation"} & figure.protocol.keys()
            assert figure.std_ddof is None


@pytest.mark.parametrize(
    ("row", "column", "text"),
    [
        ("SeqLoRA (Fine-Tuning)", "T = 5 ACC", "69.75 ± 0.87"),
        ("InfLoRA", "T = 10 ACC", "73.90 ± 0.69"),
        ("BiLoRA", "T = 20 BWT", "-5.48 ± 0.61"),
        ("Janus-LoRA", "T = 20 MAA", "77.11 ± 0.35"),
    ],
)
def test_the_imagenet_r_table_is_rebuilt_digit_for_digit(row, column, text):
    assert cells("janus_imagenet_r")[row, column].value == text


def test_every_cell_of_the_main_tables_is_the_csvs_digits():
    """Independent of the reader: mean and std as strings in the file."""
    with (read_csv.FOLDER / "figures.csv").open() as stream:
        rows = [
            r
            for r in csv.DictReader(stream)
            if r["source"] == "janus-lora" and r["place"].startswith(("ImageNet-R t", "General"))
        ]
    found = [
        c.value for k in ("janus_imagenet_r", "janus_generalization") for c in cells(k).values()
    ]
    assert len(rows) == 162
    for row in rows:
        assert f"{row['mean']} ± {row['std']}" in found


def test_bold_and_underline_are_the_two_highest_printed_means():
    table = cells("janus_imagenet_r")
    column = {row: c for (row, head), c in table.items() if head == "T = 10 BWT"}
    assert [row for row, c in column.items() if c.strong] == ["BiLoRA"]
    assert [row for row, c in column.items() if c.second] == ["LoRA-DRS"]


def test_suspicious_cells_are_marked_and_the_reason_said():
    table = cells("janus_imagenet_r")
    assert {table["DualPrompt", f"T = 20 {m}"].mark for m in ("ACC", "MAA", "BWT")} == {"†"}
    assert table["DualPrompt", "T = 10 ACC"].mark == ""
    assert table["InfLoRA", "T = 10 ACC"].mark == "†"
    notes = " ".join(published_tables.published_block(published_tables.LAYOUTS[0]).notes)
    assert "DualPrompt on imagenet_r T=20: the same nine digits as T=10" in notes


def test_two_logged_runs_of_one_configuration_are_two_lines():
    (grid,) = published.figures_block(["imagenet_r"]).grids
    shown = [row[3].value for row in grid.rows if row[2].value.startswith("InfLoRAb5 (rank 10, lr")]
    assert {"72.63", "73.52", "73.95"} <= set(shown)


def test_published_figures_are_printed_without_a_store(tmp_path):
    command = [sys.executable, str(REPO / "analysis/compare.py"), "--published"]
    done = subprocess.run(
        [*command, "--bench", "cifar100"], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "88.68 ± 0.25" in done.stdout


def test_a_bench_that_nobody_published_on_is_answered_with_the_nearest(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert compare.main(["--published", "--bench", "cifar10"]) == 2
    assert "Did you mean 'cifar100'" in capsys.readouterr().err


def test_published_figures_are_printed_beside_a_store_without_runs_on_their_bench(fake, capsys):
    code, out, err = call(fake, capsys, "--published", "--bench", "cifar100")  # an empty store
    assert (code, "88.68 ± 0.25" in out) == (0, True)
    assert "published figures alone" in err
    fake.add()
    assert call(fake, capsys, "--published", "--bench", "cifar100")[:2] == (0, out)
    code, out, _ = call(fake, capsys, "--published", "--bench", "cifar100,glyphs")
    assert (code, "88.68 ± 0.25" in out, "60.00 ± --" in out) == (0, True, True)
    code, _, err = call(fake, capsys, "--published", "--bench", "glyphs,cifar10")
    assert code == 2 and "Did you mean 'cifar100'" in err


def imagenet_r(fake, values, method="inflora", orders=None, **fields):
    """Runs on ImageNet-R under InfLoRA's own protocol, with these accuracies in percent: seeds of
    the natural order, or one of each of `orders`.
    """
    protocol = {"bench__split": "random 80/20 by the code", "bench__split_sha256": "2" * 64}
    cells = []
    for seed, value in enumerate(values):
        place = {"order": "natural", "seed": seed} if orders is None else {"order": orders[seed]}
        given = {"bench": "imagenet_r", "bench__tasks": 10, **protocol, **place, **fields}
        cells.append(fake.add(method, value / 100, **given))
    return cells


def plan(fake, name, rows, protocol="unified"):
    """The plan of a sweep with these rows: {label: cells}."""
    told = [
        {"id": cell.id, "title": cell.title, "row": row, "protocol": protocol}
        for row, cells in rows.items()
        for cell in cells
    ]
    path = fake.plan(name, [])
    path.write_text(json.dumps({"name": name, "command": "", "cells": told}))


def judged(fake, capsys, *arguments):
    """The verdicts on ACC as JSON."""
    _, out, _ = call(fake, capsys, "--published", *arguments, "--format", "json")
    return [v for v in json.loads(out)["verdicts"] if v["metric"] == "acc"]


def call(fake, capsys, *arguments):
    code = compare.main(["--store", str(fake.root), *arguments])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


LOGGED = [run.totals[-1] for run in read_csv.inflora_logs() if run.commit == "e08b00e"][:5]


def test_verdicts_stand_in_a_block_of_their_own_with_the_assumptions(fake, capsys):
    imagenet_r(fake, LOGGED)
    code, out, _ = call(fake, capsys, "--published", "--columns", "acc")
    assert code == 0
    verdicts = out[out.index("Verdicts on published figures") :]
    lines = [line for line in verdicts.splitlines() if " ACC " in line]
    words = {word for line in lines for word in verdict.MEANINGS if word in line}
    assert words == {verdict.REPRODUCED, verdict.NOT_COMPARABLE}
    assert "not stated on one side: weights" in verdicts
    assert "1.4 points below" in verdicts
    assert "SD-LoRA, ICLR 2025" in verdicts
    assert "order natural / shuffled, seeds 1993-1997" in verdicts
    assert all(f"{word}: {meaning}" in verdicts for word, meaning in verdict.MEANINGS.items())


def test_figures_of_another_number_of_tasks_are_left_out_and_counted(fake, capsys):
    imagenet_r(fake, LOGGED)
    rows = [v for v in judged(fake, capsys) if v["method"] == "inflora"]
    assert {(v["row"], v["source"]) for v in rows} == {
        ("InfLoRA", "janus-lora"),
        ("InfLoRA", "sd-lora"),
        ("InfLoRA", "inflora-logs"),
    }
    figures = read_csv.summaries(["imagenet_r"])
    other = [
        f
        for f in figures
        if (f.method, f.variant, f.kind) == ("inflora", "", "table") and f.protocol["tasks"] != "10"
    ]
    assert len(other) == 10  # T = 5 and 20: ACC, MAA and BWT of Janus-LoRA, ACC and MAA of SD-LoRA
    _, out, _ = call(fake, capsys, "--published")
    assert "Left out: 10 published figures of these methods" in out
    assert "tasks 10 / 5" not in out
    _, out, _ = call(fake, capsys, "--published", "--format", "json")
    assert json.loads(out)["verdicts_left_out"] == 10
    _, out, _ = call(fake, capsys, "--published", "--allow", "tasks")
    assert "Left out" not in out
    assert len([v for v in judged(fake, capsys, "--allow", "tasks") if v not in rows]) >= 4


def test_where_all_figures_are_of_another_number_of_tasks_that_is_said(fake, capsys):
    imagenet_r(fake, LOGGED, "sd_lora", bench__tasks=50)
    code, out, err = call(fake, capsys, "--published")
    assert (code, "Verdicts on" in out) == (0, False)
    assert "nothing to judge. Left out: " in err


@pytest.mark.parametrize(
    ("orders", "said"),
    [
        (["pilot1993"], "shuffled, seed 1993"),
        ([f"pilot{n}" for n in range(1993, 1998)], "shuffled, seeds 1993-1997"),
        (["pilot1993", "pilot1995"], "pilot1993 and pilot1995"),
        (["natural", "pilot1993"], "natural and pilot1993"),
    ],
)
def test_our_pilot_orders_are_what_sources_call_shuffled_with_a_seed(fake, capsys, orders, said):
    imagenet_r(fake, LOGGED[: len(orders)], orders=orders)
    found = [v for v in judged(fake, capsys) if v["source"] == "sd-lora"]
    assert {v["ours_order"] for v in found} == {said}
    differs = {"order" in v["why"] for v in found}
    assert differs == {said != "shuffled, seeds 1993-1997"}
    log = [v for v in judged(fake, capsys) if v["place"] == "logs/**/1993.log"]
    assert {f"order {said} / shuffled, seed 1993" in v["why"] for v in log} == {
        said != "shuffled, seed 1993"
    }


def test_verdicts_are_in_the_json(fake, capsys):
    imagenet_r(fake, LOGGED)
    _, out, _ = call(fake, capsys, "--published", "--format", "json")
    found = json.loads(out)["verdicts"]
    own = [v for v in found if v["source"] == "inflora-logs" and v["metric"] == "acc"]
    assert {v["verdict"] for v in own} == {verdict.REPRODUCED, verdict.NOT_COMPARABLE}
    reproduced = next(v for v in own if v["verdict"] == verdict.REPRODUCED)
    assert reproduced["difference"] == pytest.approx(0, abs=6e-4)  # counts of 1000 images


def test_csv_has_published_figures_and_verdicts_as_lines_of_their_own(fake, capsys):
    imagenet_r(fake, LOGGED)
    _, out, err = call(fake, capsys, "--published", "--columns", "acc", "--format", "csv")
    lines = list(csv.DictReader(out.splitlines()))
    kinds = [line["kind"] for line in lines]
    assert (kinds.count("measured"), err) == (1, "")
    figures = [line for line in lines if line["kind"] == "published"]
    assert len(figures) == len(read_csv.summaries(["imagenet_r"]))
    (janus,) = [
        line
        for line in figures
        if (line["source"], line["row"], line["metric"]) == ("janus-lora", "Janus-LoRA", "acc")
        and "tasks=10" in line["protocol"]
    ]
    assert (janus["mean"], janus["std"], janus["n"]) == ("0.7578", "0.0016", "")
    verdicts = [line for line in lines if line["kind"] == "verdict"]
    assert {line["verdict"] for line in verdicts} >= {verdict.REPRODUCED, verdict.NOT_COMPARABLE}
    assert all(line["reference"] and line["why"] for line in verdicts)


def test_the_forms_for_programs_hold_every_published_figure_without_a_store(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert compare.main(["--published", "--bench", "cifar100", "--format", "csv"]) == 0
    lines = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert compare.main(["--published", "--bench", "cifar100", "--format", "json"]) == 0
    records = json.loads(capsys.readouterr().out)["published"]
    assert len(lines) == len(records) == len(read_csv.summaries(["cifar100"]))
    for line, record in zip(lines, records, strict=True):
        assert (line["row"], float(line["mean"])) == (record["row"], record["mean"])


def test_seeded_orders_are_not_compared_with_the_natural_one_unless_allowed(fake, capsys):
    imagenet_r(fake, LOGGED, orders=range(5))
    own = [v for v in judged(fake, capsys) if v["source"] == "inflora-logs"]
    assert {v["verdict"] for v in own} == {verdict.NOT_COMPARABLE}
    own = judged(fake, capsys, "--allow", "order")
    assert verdict.REPRODUCED in {v["verdict"] for v in own if v["source"] == "inflora-logs"}


def test_several_orders_meet_an_unstated_one_only_where_that_is_allowed(fake, capsys):
    imagenet_r(fake, LOGGED)
    imagenet_r(fake, LOGGED, orders=range(5))
    (found,) = [v for v in judged(fake, capsys) if v["source"] == "janus-lora" and is_10(v)]
    assert found["verdict"] == verdict.NOT_COMPARABLE
    assert "order natural and 5 seeded orders / not stated" in found["why"]
    assert "order" not in found["unstated"]
    one = judged(fake, capsys, "--where", "order=natural")
    (found,) = [v for v in one if v["source"] == "janus-lora" and is_10(v)]
    assert ("how many runs" in found["why"], "order" in found["unstated"]) == (True, True)
    _, out, _ = call(fake, capsys, "--published", "--allow", "order", "--columns", "acc")
    assert "ours: mean over natural and 5 seeded orders" in out


def is_10(found):
    return found["published"] == pytest.approx(0.7390) and found["row"] == "InfLoRA"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"method__estimate": False, "method__margin_loss": False}, "estimate=false instead of"),
        ({"method__subspace_energy": 0.9}, "subspace_energy=0.9 instead of 0.98"),
        ({"bench__train_per_class": 20}, "train_per_class=20"),
        ({"train__batch_size": 64}, "batch_size=64 instead of 128"),
        ({"train__clip": 1.0}, "clip=1 instead of null"),
        ({"train__warmup": 0.5}, "warmup=0.5 instead of 0"),
        ({"train__epochs": 1}, "epochs=1 instead of 50"),
    ],
)
def test_a_row_that_is_not_the_published_method_gets_no_verdict(fake, capsys, fields, said):
    """Alone in a store it is called `janus`, beside the whole method `janus[...]`."""
    values = [75.5, 75.8, 76.1]
    imagenet_r(fake, values, "janus", **fields)
    alone = judged(fake, capsys)
    assert alone and {v["verdict"] for v in alone} == {verdict.NOT_COMPARABLE}
    assert all(said in v["why"] for v in alone)
    if said.startswith(("estimate", "subspace")):
        imagenet_r(fake, values, "janus")
        whole = [v for v in judged(fake, capsys) if said not in v["why"]]
        assert whole and all("not the published configuration" not in v["why"] for v in whole)


def test_a_run_of_earlier_code_or_an_earlier_meaning_gets_no_verdict(fake, capsys, monkeypatch):
    spec = composer.method_spec("inflora")
    unmarked = {n: replace(s, revised={}) for n, s in spec.settings.items()}
    for changes, said in (
        ({"settings": unmarked}, "schedule=cosine instead of cosine@2"),
        ({"revision": spec.revision - 1}, f"revision={spec.revision - 1} instead of"),
    ):
        older = replace(spec, **changes)
        with monkeypatch.context() as patch:
            patch.setattr(composer, "method_spec", lambda name, older=older: older)
            imagenet_r(fake, LOGGED)
        why = [v["why"] for v in judged(fake, capsys) if v["verdict"] == verdict.NOT_COMPARABLE]
        assert any(said in text for text in why)
    imagenet_r(fake, LOGGED)
    assert {v["method"] for v in judged(fake, capsys) if v["verdict"] == verdict.REPRODUCED} == {
        f"inflora[revision={spec.revision},schedule=cosine@2]"
    }


def test_a_tuned_learning_rate_is_the_same_method(fake, capsys):
    imagenet_r(fake, LOGGED, method__lr=3e-3)
    imagenet_r(fake, LOGGED)
    found = {v["method"] for v in judged(fake, capsys) if v["verdict"] == verdict.REPRODUCED}
    assert found == {"inflora[lr=0.0005]", "inflora[lr=0.003]"}


def test_a_row_of_the_ablation_meets_its_own_published_row_if_its_switches_agree(fake, capsys):
    off = {"method__estimate": False, "method__rectify": True, "method__margin_loss": False}
    cells = imagenet_r(fake, [75.5, 75.8], "janus", **off)
    for name, fits in (("gr", True), ("oe+gr", False)):
        plan(fake, "mine", {f"janus[{name}]": cells})
        (found,) = judged(fake, capsys, "--sweep", "mine")
        assert found["row"] == f"Janus {name.upper()}"
        assert ("estimate=false instead of true" in found["why"]) == (not fits)


def test_rows_that_were_run_as_published_are_judged_too(fake, capsys):
    """Their labels end in a mark: `inflora [1]`."""
    rows = {
        "inflora": imagenet_r(fake, LOGGED),
        "seqlora": imagenet_r(fake, LOGGED, "seqlora", bench__crop_scale=0.05),
    }
    plan(fake, "published", rows, "as_published")
    found = {v["method"]: v for v in judged(fake, capsys, "--sweep", "published")}
    assert set(found) == {"inflora [1]", "seqlora [2]"}


def test_the_bundled_bench_has_nothing_published(fake, capsys):
    fake.add()
    code, out, err = call(fake, capsys, "--published")
    assert code == 0
    assert "nothing to judge" in err
    assert "Published figures" not in out
