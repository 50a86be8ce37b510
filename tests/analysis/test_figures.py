"""What is drawn equals its source: artists' data against numbers worked out from the results."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from analysis import figures
from analysis.figures import curves, facts, inside_network, spread, style
from analysis.published import read_csv
from analysis.runs import load, protocol
from analysis.tables import comparison

MATRIX = [[0.9], [0.7, 0.8], [0.5, 0.6, 0.7]]


def drawn(fake, reference=None) -> dict[str, style.Drawn]:
    runs = load.load_runs([fake.root]).runs
    labels = load.labels(runs)
    groups = protocol.split_by_protocol(runs, labels)
    order = comparison.build_table(groups, labels, ["acc"], reference).methods
    return {d.name: d for d in figures.draw_figures(groups, labels, order)}


def lines(figure: style.Drawn, panel: int = 0) -> dict[str, tuple[list[float], list[float]]]:
    found = figure.figure.axes[panel].get_lines()
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in found}


def shifted(by: float) -> list[list[float]]:
    return [[value + by for value in row] for row in MATRIX]


def test_curves_are_means_over_orders_with_seeds_averaged_first(fake):
    fake.add("janus", shifted(0.0), order=0, seed=0)
    fake.add("janus", shifted(0.1), order=0, seed=1)
    fake.add("janus", shifted(-0.05), order=1)
    figure = drawn(fake)["glyphs_accuracy_after_task"]
    x, y = lines(figure)["janus"]
    assert x == [1, 2, 3]
    assert y == pytest.approx([90, 75, 60])  # +5 and -5 points
    band = figure.figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    std = np.std([95, 85], ddof=1)
    assert (band.max(), band.min()) == pytest.approx((90 + std, 60 - std))
    assert "2 units" in figure.caption


def test_matrices_show_every_cell_of_the_mean(fake):
    fake.add("janus", MATRIX, order=0)
    fake.add("janus", shifted(0.1), order=1)
    panel = drawn(fake)["glyphs_accuracy_matrices"].figure.axes[0]
    shown = np.ma.filled(panel.images[0].get_array().astype(float), np.nan)
    assert shown[2, :] == pytest.approx([55, 65, 75])
    assert np.isnan(shown[0, 1])
    assert {text.get_text() for text in panel.texts} == {"95", "75", "85", "55", "65"}


def test_plane_and_strip_show_each_order_of_each_row(fake):
    for order in range(2):
        fake.add("janus", shifted(order / 10), order=order)
        fake.add("seqlora", shifted(order / 20), order=order)
    found = drawn(fake)
    panel = found["glyphs_stability_plasticity"].figure.axes[0]
    points = [line for line in panel.get_lines() if line.get_label() == "janus"]
    assert points[0].get_xdata() == pytest.approx([85])  # learning: 80 and 90
    assert points[0].get_ydata() == pytest.approx([-30])
    strip = lines(found["glyphs_order_effect"])
    assert strip["0"][1] == pytest.approx([60, 60])
    assert sorted(strip["1"][1]) == pytest.approx([65, 70])


def test_pairwise_cells_are_paired_differences_and_stars_need_six_orders(fake):
    for order in range(6):
        fake.add("janus", 0.6 + order / 100, order=order)
        fake.add("seqlora", 0.5 + order / 100, order=order)
    panel = drawn(fake)["glyphs_pairwise"].figure.axes[0]
    assert {text.get_text() for text in panel.texts} == {"+10.0*", "-10.0*"}
    rows = [label.get_text() for label in panel.get_yticklabels()]
    values = panel.images[0].get_array()
    assert values[rows.index("janus"), rows.index("seqlora")] == pytest.approx(10)


def test_pairwise_stars_need_no_more_orders_where_there_are_more_rows(fake):
    """Holm over the six pairs of four rows would ask for nine orders."""
    for order in range(6):
        for index, method in enumerate(("janus", "seqlora", "inflora", "l2p")):
            fake.add(method, 0.6 - index / 10 - order * index / 100, order=order)
    figure = drawn(fake)["glyphs_pairwise"]
    assert all(text.get_text().endswith("*") for text in figure.figure.axes[0].texts)
    assert "step-down max-T over the 6 pairs" in figure.caption
    assert "no pair can reach it" not in figure.caption


def test_pairwise_cells_are_over_common_runs_as_in_the_table(fake):
    for seed in range(2):
        for order in range(2):
            fake.add("janus", 0.6 + seed / 10, order=order, seed=seed)
            if (order, seed) != (1, 1):
                fake.add("seqlora", 0.5 + seed / 10, order=order, seed=seed)
    fake.add("inflora", 0.5, order=7)  # has nothing in common with the others
    figure = drawn(fake)["glyphs_pairwise"]
    shown = {text.get_text() for text in figure.figure.axes[0].texts}
    assert shown == {"+10.0", "-10.0"}
    assert "With 2 orders no pair can reach it" in figure.caption


def test_long_names_are_folded_at_their_commas():
    assert style.folded("janus") == "janus"
    text = style.folded("janus[rank=2,subspace_energy=0.95,margin=0]")
    assert text.split("\n") == ["janus[rank=2,", "subspace_energy=0.95,", "margin=0]"]


def test_sensitivity_has_a_line_per_combination_of_the_other_settings(fake):
    for rank in (2, 4):
        for margin in (0.0, 0.2):
            for order in range(2):
                acc = 0.5 + rank / 100 + margin / 10
                fake.add("janus", acc, order=order, method__rank=rank, method__margin=margin)
    found = drawn(fake)
    panel = found["glyphs_sensitivity_janus_rank"].figure.axes[0]
    shown = {c.get_label(): c.lines[0] for c in panel.containers}
    assert shown["margin=0"].get_ydata() == pytest.approx([52, 54])
    assert shown["margin=0.2"].get_ydata() == pytest.approx([54, 56])
    assert "glyphs_sensitivity_janus_margin" in found
    parts = found["glyphs_ablation"].figure.axes[0]
    assert [c.lines[0].get_xdata()[0] for c in parts.containers] == pytest.approx([52, 54, 54, 56])


def diagnosed(fake, method, by_task, **fields):
    cell = fake.add(method, **fields)
    fake.edit(cell, lambda r: r.update(diagnostics=[{"task": 0}, *by_task]))


def test_violation_and_invasion_are_read_from_the_diagnostics(fake):
    for order, scale in enumerate((1.0, 3.0)):
        task = {
            "violation_past_raw": {"k": [scale, 2 * scale], "v": [4 * scale, 0.0]},
            "danger": 0.4 * scale / 3,
            "own_centre": 0.6,
        }
        diagnosed(fake, "janus", [task, task], order=order)
    found = drawn(fake)
    assert lines(found["glyphs_null_space_violation"], 0)["janus"][1] == pytest.approx([2, 4])
    assert lines(found["glyphs_null_space_violation"], 1)["janus"][1] == pytest.approx([8, 0])
    centre = lines(found["glyphs_feature_invasion"])["janus"]
    assert (centre[0][0], centre[1][0]) == pytest.approx((0.6, 0.8 / 3))


def test_time_is_summed_over_tasks(fake):
    for order, second in enumerate((1.0, 3.0)):
        fake.add("janus", order=order, provenance={"seconds_per_task": [second] * 3})
    assert lines(drawn(fake)["glyphs_training_time"])["janus"][1] == [2, 4, 6]


@pytest.mark.slow
def test_profiles_pool_the_units_of_all_benches(fake):
    for bench in ("glyphs", "glyphs_styles"):
        for order in range(2):
            fake.add("janus", 0.5 + order / 10, order=order, bench=bench)
            fake.add("seqlora", 0.4, order=order, bench=bench)
    x, y = lines(drawn(fake)["profiles"])["janus"]
    # on either bench 50, 60 and 40, 40: the mean of the rows' means is 47.5
    low, high = np.array([2.5, 12.5]) / np.std([50, 60, 40, 40], ddof=1)
    at = {s: share for s, share in zip(x, y, strict=True) if abs(s - low) > 1e-6}
    assert [at[s] for s in at] == [100 if s < low else 50 if s < high else 0 for s in at]
    assert sum(low < s < high for s in at) > 10
    assert not drawn(fake)["profiles"].figure.axes[0].collections  # two units have no band
    for bench in ("glyphs", "glyphs_styles"):
        for method in ("janus", "seqlora"):
            fake.add(method, 0.55, order=2, bench=bench)
    found = drawn(fake)["profiles"]
    assert len(found.figure.axes[0].collections) == 2
    assert "stratified bootstrap" in found.caption


@pytest.mark.slow
def test_what_was_not_measured_is_not_drawn(fake):
    fake.add("janus", provenance={"git": {}})
    names = set(drawn(fake))
    assert names == {
        "glyphs_accuracy_after_task",
        "glyphs_stability_plasticity",
        "glyphs_accuracy_matrices",
    }


@pytest.mark.slow
def test_a_run_that_was_scored_only_at_the_end_is_drawn_where_it_was_scored(fake):
    fake.add("janus")
    cell = fake.add("joint", 0.8)
    fake.score_at_the_end_only(cell)
    found = drawn(fake)
    _, y = lines(found["glyphs_accuracy_after_task"])["joint"]
    assert np.isnan(y[:2]).all() and y[2] == pytest.approx(80)
    assert "joint" not in lines(found["glyphs_stability_plasticity"])
    assert "glyphs_accuracy_matrices" in found


@pytest.mark.slow
def test_many_rows_leave_room_for_the_panel(fake):
    for rank in range(2, 32):
        fake.add("janus", 0.5 + rank / 100, method__rank=rank)
    figure = drawn(fake)["glyphs_accuracy_after_task"].figure
    figure.canvas.draw()
    assert figure.axes[0].get_position().height * figure.get_figheight() > 1.2


def test_published_figures_show_the_files_numbers():
    with (read_csv.FOLDER / "figures.csv").open() as stream:
        rows = [r for r in csv.DictReader(stream) if r["kind"] == "digitised"]
    trajectory = lines(curves.published_trajectory())
    for r in rows:
        if r["metric"] == "acc_after_task":
            x, y = trajectory[r["title"]]
            assert y[x.index(int(r["at"]))] == float(r["mean"])
    bars = [bar.get_height() for bar in inside_network.published_violation().figure.axes[0].patches]
    assert sorted(bars) == sorted(float(r["mean"]) for r in rows if r["metric"] == "violation_k")


def test_rows_differ_in_marker_or_dash_and_not_in_colour_alone():
    looks = [style.line_style(i) for i in range(16)]
    assert len({(look["marker"], look["linestyle"]) for look in looks}) == 16


@pytest.mark.slow
def test_files_are_vector_and_bitmap_and_repeat(fake, tmp_path):
    fake.add("janus")
    figure = drawn(fake)["glyphs_accuracy_after_task"]
    pdf, png = style.save_figure(figure, tmp_path / "a")
    assert (pdf.suffix, png.read_bytes()[:4]) == (".pdf", b"\x89PNG")
    again = drawn(fake)["glyphs_accuracy_after_task"]
    assert style.save_figure(again, tmp_path / "b")[0].read_bytes() == pdf.read_bytes()


def test_drawing_leaves_matplotlibs_settings_alone(fake):
    import matplotlib

    fake.add("janus")
    before = dict(matplotlib.rcParams)
    drawn(fake)
    assert dict(matplotlib.rcParams) == before


def test_only_settings_in_which_lines_differ_name_them():
    assert spread._short(["a=1,b=2", "a=1,b=3"]) == ["b=2", "b=3"]
    assert spread._short(["a=1"]) == ["all"]
    assert facts.numeric_settings([]) == []


def test_points_without_lines_tell_more_rows_apart_than_there_are_colours():
    looks = [style.line_style(i) for i in range(64)]
    assert len({(look["color"], look["marker"]) for look in looks}) == 64


def test_violation_of_one_projection_alone_is_drawn(fake):
    diagnosed(fake, "janus", [{"violation_past_raw": {"k": [1.0, 2.0]}}] * 2)
    assert lines(drawn(fake)["glyphs_null_space_violation"])["janus"][1] == [1, 2]


def test_the_reference_has_its_matrix_however_many_rows_there_are():
    rows = {f"row{i}": [] for i in range(12)} | {"janus": []}
    assert list(curves.rows_shown(rows))[-1] == "janus"
    assert len(curves.rows_shown(rows)) == curves.MOST_MATRICES


def test_tuning_shows_the_best_so_far_against_the_seconds_spent(fake):
    provenance = {"seconds_per_task": [10.0, 10.0, 5.0]}
    for lr, acc in ((1e-3, 0.5), (2e-3, 0.7), (4e-3, 0.6)):
        for order in (0, 1):
            fields = {"method__lr": lr, "bench__eval": "validation"}
            fake.add("seqlora", acc, order=order, provenance=provenance, **fields)
    figure = drawn(fake)["glyphs_tuning"]
    ((x, y),) = lines(figure).values()
    assert x == [50, 100, 150]
    assert y == pytest.approx([50, 70, 70])
    assert list(lines(figure)) == ["seqlora (3 configurations)"]


def test_runs_on_test_images_are_no_tuning(fake):
    for lr in (1e-3, 2e-3, 4e-3):
        fake.add("seqlora", 0.5, method__lr=lr)
    assert "glyphs_tuning" not in drawn(fake)
