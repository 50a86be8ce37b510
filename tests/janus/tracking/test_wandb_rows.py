"""What goes to W&B, without W&B: rows, steps, the picture, and what the environment says."""

from __future__ import annotations

import pytest

from janus import metrics
from janus.errors import ConfigError
from janus.tracking import wandb_account, wandb_rows
from janus.tracking.heat_map import SIDE, draw_accuracy
from janus.tracking.observer import Together
from tests.conftest import toy_cell

FACTS = {
    "correct": [[9], [7, 8], [5, 6, 7]],
    "correct_in_task": [[10], [9, 10], [8, 9, 10]],
    "total": [10, 10, 20],
    "diagnostics": [
        {"task": 0, "basis_size": [3, 4]},
        {"task": 1, "danger": 0.5, "violation_past": {"k": [0.1, 0.2], "v": [0.3, 0.4]}},
        {"task": 2},
    ],
    "seconds_per_task": [1.5, 2.5, 3.5],
}


def test_each_task_is_a_row_with_the_metrics_of_the_stream_so_far():
    rows = list(wandb_rows.task_rows(FACTS))
    assert [step for step, _ in rows] == [99, 199, 299]
    first, second, third = (row for _, row in rows)
    assert (first["task"], first["accuracy"], first["accuracy_in_task"]) == (0, 0.9, 1.0)
    assert "bwt" not in first  # not defined yet, and not 0
    assert second["bwt"] == pytest.approx(-0.2)
    assert third["accuracy"] == 18 / 40 and third["accuracy_taskmean"] == pytest.approx(1.45 / 3)
    assert [third[f"accuracy_on/{j:02d}"] for j in range(3)] == [0.5, 0.6, 0.35]
    assert [row["seconds"] for _, row in rows] == [1.5, 2.5, 3.5]
    whole = metrics.summarise(FACTS["correct"], FACTS["total"])
    assert {name: third[name] for name in wandb_rows.CURVES} == {
        name: whole[key] for name, key in wandb_rows.CURVES.items()
    }


def test_diagnostics_are_one_key_per_block():
    _, (_, second), _ = wandb_rows.task_rows(FACTS)
    found = {key: value for key, value in second.items() if key.startswith("diagnostics/")}
    assert found == {
        "diagnostics/danger": 0.5,
        "diagnostics/violation_past/k/00": 0.1,
        "diagnostics/violation_past/k/01": 0.2,
        "diagnostics/violation_past/v/00": 0.3,
        "diagnostics/violation_past/v/01": 0.4,
    }


def test_a_run_measured_at_its_end_only_is_one_row():
    """`joint`: all but the last row of the matrix is None."""
    facts = {
        "correct": [None, None, [5, 6, 7]],
        "correct_in_task": [None, None, [8, 9, 10]],
        "total": [10, 10, 20],
        "diagnostics": [{"task": 0, "danger": 0.25}],
        "seconds_per_task": [9.0],
    }
    ((step, row),) = wandb_rows.task_rows(facts)
    assert (step, row["task"], row["accuracy"]) == (299, 2, 18 / 40)
    assert (row["seconds"], row["diagnostics/danger"]) == (9.0, 0.25)
    assert "bwt" not in row


def test_one_test_set_for_all_tasks_gives_a_curve_and_no_transfer():
    facts = FACTS | {"correct": [[4], [5], [6]], "correct_in_task": [[4], [5], [6]], "total": [10]}
    rows = [row for _, row in wandb_rows.task_rows(facts)]
    assert [row["accuracy"] for row in rows] == [0.4, 0.5, 0.6]
    assert not any("bwt" in row or "learning_acc" in row for row in rows)


def test_steps_inside_a_task_only_grow_and_stay_before_its_end():
    steps = [
        wandb_rows.progress_row(
            {"task": task, "step": step, "steps": 250, "loss": 1.0, "epoch": step // 125}
        )
        for task in (0, 1)
        for step in range(251)
    ]
    numbers = [step for step, _ in steps]
    assert numbers == sorted(numbers)
    assert max(numbers[:251]) < wandb_rows.STEPS - 1 < min(numbers[251:])
    assert steps[125][1]["train/position"] == 0.5


def test_the_matrix_as_a_table_has_a_row_for_each_measured_cell():
    columns, data = wandb_rows.matrix_table(FACTS)
    assert columns[:3] == ["after_task", "on_task", "accuracy"]
    assert len(data) == 6 and data[-1] == [2, 2, 0.35, 0.5, 7, 20]


def test_the_picture_is_darker_where_more_is_right_and_white_where_nothing_was_measured():
    picture = draw_accuracy({(0, 0): 0.9, (1, 0): 0.1, (1, 1): 1.0})
    assert picture.size == (3 * SIDE, 3 * SIDE)

    def shade(row: int, column: int) -> int:
        return sum(picture.getpixel((column * SIDE + 1, row * SIDE + 1)))

    assert shade(2, 2) < shade(1, 1) < shade(2, 1) < shade(1, 2) == 3 * 255


def test_what_a_run_is_called_comes_from_its_cell_and_its_row():
    cell = toy_cell("janus", order="3")
    told = wandb_rows.config(
        {"bench": {"name": "glyphs"}, "backbone": {"name": "toy"}, "method": {"name": "janus"}}
        | {"order": "3", "seed": 0},
        cell.identity(),
        {"sweep": "smoke", "row": "janus[none]"},
    )
    assert (told["row"], told["sweep"], told["order"]) == ("janus[none]", "smoke", "3")


@pytest.mark.parametrize(
    ("environment", "mode"),
    [
        ({}, "offline"),
        ({"WANDB_API_KEY": "x"}, "online"),
        ({"WANDB_API_KEY": "x", "WANDB_MODE": "offline"}, "offline"),
        ({"WANDB_MODE": "online"}, "online"),
        ({"WANDB_MODE": "dryrun"}, "offline"),
        ({"WANDB_MODE": "disabled", "WANDB_API_KEY": "x"}, "disabled"),
    ],
)
def test_offline_unless_there_is_a_key_or_the_mode_is_given(environment, mode, tmp_path):
    nowhere = {"NETRC": str(tmp_path / "none")}
    assert wandb_account.mode(environment | nowhere) == mode


def test_a_key_in_netrc_counts_for_its_host_only(tmp_path):
    path = tmp_path / "netrc"
    path.write_text("machine api.wandb.ai login user password secret\n")
    netrc = {"NETRC": str(path)}
    assert wandb_account.has_key(netrc)
    assert not wandb_account.has_key(netrc | {"WANDB_BASE_URL": "https://wandb.example.org"})
    path.write_text("no netrc at all")
    assert not wandb_account.has_key(netrc)


def test_an_unknown_mode_is_refused_with_the_nearest_one():
    with pytest.raises(ConfigError, match="Did you mean 'offline'"):
        wandb_account.mode({"WANDB_MODE": "ofline"})


def test_an_observer_that_fails_does_not_silence_the_others(caplog):
    heard = []

    class Broken:
        def notify(self, event, facts):
            raise OSError("full")

    class Listening:
        def notify(self, event, facts):
            heard.append(event)

    both = Together(Broken(), None, Listening())
    both.notify("start", {})
    both.notify("done", {})
    assert heard == ["start", "done"]
    assert caplog.text.count("Broken failed (full)") == 1
