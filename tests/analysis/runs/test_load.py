"""Reading stores: what is refused, what is kept, and how configurations are told apart."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from analysis.runs import load
from janus.config import compose as composer
from janus.errors import ConfigError


def test_a_run_keeps_the_facts_of_its_result(fake):
    cell = fake.add("janus", 0.6, order=3, seed=1)
    (run,) = load.load_runs([fake.root]).runs
    assert (run.id, run.bench, run.method, run.order, run.seed) == (
        cell.id,
        "glyphs",
        "janus",
        "3",
        1,
    )
    assert run.eval == "test"
    assert run.metrics["acc"] == pytest.approx(0.6)
    assert run.metrics["bwt"] == pytest.approx(-0.3)
    assert run.kept_bytes == 3 * 2**20
    assert load.provenance(run)["seconds"] == 12.5


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path, text: path.write_text(text[: len(text) // 2]), "JSON"),
        (lambda path, text: path.write_text(""), "JSON"),
        (lambda path, text: path.write_bytes(b"\xff\xfe\x00"), "JSON"),
        (lambda path, text: path.write_text("[1, 2]"), "not a result"),
        (lambda path, text: path.write_text('{"epoch": 3}'), "not a result"),
        (
            lambda path, text: path.write_text(text.replace('"schema": 1', '"schema": 9')),
            "schema 9",
        ),
        (lambda path, text: path.write_text('{"schema": 1}'), "damaged"),
        (lambda path, text: path.rename(path.with_stem(path.stem[:-1] + "x")), "named after"),
    ],
)
def test_an_unusable_file_is_listed_with_its_reason_and_the_others_load(fake, damage, reason):
    fake.add(order=0)
    bad = fake.path(fake.add(order=1))
    damage(bad, bad.read_text())
    loaded = load.load_runs([fake.root])
    assert [run.order for run in loaded.runs] == ["0"]
    ((path, why),) = loaded.skipped
    assert path.parent == bad.parent
    assert reason in why


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: r["metrics"].update(acc=float("nan")), "acc is nan"),
        (lambda r: r["metrics"].update(maa=63.5), "not a fraction"),
        (lambda r: r["metrics"].update(acc="high"), "damaged"),
        (lambda r: r["metrics"].pop("acc"), "no acc"),
        (lambda r: r["metrics"].update(acc=0.99), "acc is 0.99, but its counts give 0.6"),
        (lambda r: r["metrics_in_task"].update(bwt=0.0), "bwt_in_task is 0.0, but its counts"),
        (lambda r: r["correct"][2].__setitem__(0, 700), "acc is 0.6, but its counts give 0.63"),
        (lambda r: r["correct"][2].__setitem__(0, 1001), "no count among 1000 images"),
        (lambda r: r.pop("correct"), "no counts"),
        (lambda r: r["metrics"].update(acc=float("inf")), "acc is inf"),
        (lambda r: r["identity"].update(order="7"), "hashes to"),
        (lambda r: r["identity"]["train"].update(epochs=99), "hashes to"),
        (lambda r: r["identity"]["train"].update(epochs=float("nan")), "damaged: nan"),
        (lambda r: r.pop("weights_sha256"), "weights_sha256"),
        (lambda r: r.update(identity=None), "damaged"),
    ],
)
def test_a_tampered_result_is_left_out(fake, change, reason):
    fake.edit(fake.add(), change)
    loaded = load.load_runs([fake.root])
    assert loaded.runs == []
    assert reason in loaded.skipped[0][1]


def test_every_metric_of_today_is_known_of_a_file_that_holds_none_of_the_new_ones(fake):
    cell = fake.add(acc=[[0.9], [0.7, 0.8], [0.5, 0.9, 0.7]])
    assert "forgetting_pilot" not in json.loads(fake.path(cell).read_text())["metrics"]
    (run,) = load.load_runs([fake.root]).runs
    assert run.metrics["forgetting_pilot"] == pytest.approx(0.2)
    assert run.metrics["forgetting"] == pytest.approx((0.4 - 0.1) / 2)
    assert run.metrics["forgetting_avalanche"] == -run.metrics["bwt"]
    assert run.metrics_in_task["task_std"] == pytest.approx(0.2)


def test_of_equal_results_the_one_with_single_images_is_taken(fake, tmp_path):
    other = type(fake)(tmp_path / "other")
    for store in (fake, other):
        store.add()
    other.edit(other.cell(), lambda r: r.update(correct_images="a" * 64))
    for roots in ([fake.root, other.root], [other.root, fake.root]):
        loaded = load.load_runs(roots)
        assert [run.correct_images for run in loaded.runs] == ["a" * 64] and not loaded.skipped


def test_a_commit_in_progress_is_neither_a_run_nor_damage(fake):
    path = fake.path(fake.add())
    path.with_name(f".{path.name}.1a2b.tmp").write_text("{")
    path.with_name(".hidden.json").write_text("{")
    loaded = load.load_runs([fake.root])
    assert (len(loaded.runs), loaded.skipped) == (1, [])


def test_a_cell_in_two_stores_counts_once_and_a_contradiction_is_reported(fake, tmp_path):
    other = type(fake)(tmp_path / "other")
    for store in (fake, other):
        store.add(order=0)
    fake.add(order=1, acc=0.6)
    other.add(order=1, acc=0.7)
    loaded = load.load_runs([fake.root, other.root])
    assert len(loaded.runs) == 2
    assert {run.metrics["acc"] for run in loaded.runs} == {0.6}
    assert [path for path, _ in loaded.skipped] == [other.path(other.cell(order=1))]


def test_a_store_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="no store at"):
        load.load_runs([tmp_path / "nowhere"])


def test_a_damaged_provenance_does_not_make_the_result_wrong(fake):
    cell = fake.add()
    (record,) = fake.store.run_dir(cell.id).glob("attempts/*/provenance.json")
    record.write_text("[")
    (run,) = load.load_runs([fake.root]).runs
    assert load.provenance(run) == {}


def label_set(fake) -> list[str]:
    runs = load.load_runs([fake.root]).runs
    return sorted(set(load.labels(runs).values()))


def test_one_configuration_is_called_by_its_method_alone(fake):
    fake.add(order=0)
    fake.add(order=1, seed=4)
    fake.add("seqlora")
    assert label_set(fake) == ["janus", "seqlora"]


def test_configurations_are_named_by_the_settings_in_which_they_differ(fake):
    fake.add()
    fake.add(method__rectify=False, method__margin_weight=0.0)
    fake.add("seqlora")
    assert label_set(fake) == [
        "janus[margin_weight=0,rectify=false]",
        "janus[margin_weight=0.1,rectify=true]",
        "seqlora",
    ]


def test_a_setting_that_differs_only_between_benches_does_not_split_the_row(fake):
    fake.add(method__rank=4)
    fake.add(bench="glyphs_styles", method__rank=8)
    assert label_set(fake) == ["janus"]


def test_a_new_revision_of_a_method_is_another_configuration(fake, monkeypatch):
    fake.add(order=0)
    spec = composer.method_spec("janus")
    newer = type(spec)(**{**vars(spec), "revision": 2})
    monkeypatch.setattr(composer, "method_spec", lambda name: newer)
    fake.add(order=0)
    assert label_set(fake) == ["janus[revision=1]", "janus[revision=2]"]


def runs_with_values(fake, *values):
    """Runs that differ in the recorded settings only, as results of different ages do."""
    base = load.load_runs([fake.root]).runs[0]
    return [
        replace(
            base,
            id=str(i),
            cell={"method": {"neutral": {"late": 0}}},
            identity={"method": {"values": value, "revision": 1}},
        )
        for i, value in enumerate(values)
    ]


def test_a_setting_older_than_a_result_counts_as_its_neutral_value(fake):
    fake.add()
    old, new, other = runs_with_values(fake, {"rank": 4}, {"rank": 4, "late": 0}, {"late": 1})
    assert set(load.labels([old, new]).values()) == {"janus"}
    assert load.labels([new, other])[other.id].startswith("janus[late=1")


def test_a_value_with_its_earlier_meaning_is_another_configuration(fake):
    """A result made before the change has the value without a number in its identity."""
    fake.add("seqlora", method__schedule="cosine")
    (new,) = load.load_runs([fake.root]).runs
    method = new.identity["method"]
    assert method["values"]["schedule"] == "cosine@2"
    earlier = {**method, "values": {**method["values"], "schedule": "cosine"}}
    old = replace(new, id="old", identity={**new.identity, "method": earlier})
    names = load.labels([new, old])
    assert names == {new.id: "seqlora[schedule=cosine@2]", "old": "seqlora[schedule=cosine]"}


def test_a_setting_that_some_results_do_not_have_splits_them(fake):
    fake.add()
    old, new = runs_with_values(fake, {}, {"rank": 4})
    assert list(load.labels([old, new]).values()) == ["janus[rank=--]", "janus[rank=4]"]


def test_result_files_are_what_the_store_lists(fake):
    cells = {fake.add(order=i).id for i in range(3)}
    assert {run.id for run in load.load_runs([fake.root]).runs} == cells == fake.store.done()
    assert json.loads(fake.path(fake.cell(order=0)).read_text())["schema"] == 1
