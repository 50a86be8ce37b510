"""`compare.py --images`: rows paired image by image, from files to the printed block."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from janus.store import correct_images
from tests.analysis.conftest import add_methods

N = 90


def add_pairs(fake, orders: int = 4, seeds: int = 1) -> dict[str, list[np.ndarray]]:
    """Right answers by row, (N,) per order: seqlora is wrong where janus is, and on some more."""
    rng = np.random.default_rng(0)
    easy = rng.random(N) < 0.7
    right: dict[str, list[np.ndarray]] = {"janus": [], "seqlora": []}
    for order in range(orders):
        for seed in range(seeds):
            both = easy ^ (rng.random(N) < 0.1)
            right["janus"].append(both)
            right["seqlora"].append(both & (rng.random(N) < 0.85))
            for method, rows in right.items():
                fake.add_images(method, rows[-1], first=order, order=order, seed=seed)
    return right


def by_image(call, *arguments: str) -> list[dict]:
    code, out, _ = call("--images", "--format", "json", *arguments)
    assert code == 0
    return json.loads(out)["images"]


def test_images_of_different_orders_are_paired_by_image(fake, call):
    right = add_pairs(fake)
    (row,) = by_image(call)
    change = np.array(right["seqlora"], dtype=float) - np.array(right["janus"], dtype=float)
    found = row["found"]
    assert (row["method"], row["reference"]) == ("seqlora", "janus")
    assert (found["units"], found["images"]) == (4, N)
    assert found["mean"] == pytest.approx(change.mean())
    assert found["se_units"] == pytest.approx(stats.sem(change.mean(axis=1)))
    assert found["se_images"] == pytest.approx(stats.sem(change.mean(axis=0)))
    for cell, line in zip(row["cells"], change, strict=True):
        won, lost = int((line > 0).sum()), int((line < 0).sum())
        assert (cell["only_method"], cell["only_reference"]) == (won, lost)
        assert cell["p"] == pytest.approx(stats.binomtest(won, won + lost, 0.5).pvalue)


def test_the_difference_is_the_tables_and_seeds_are_averaged_inside_an_order(fake, call):
    add_pairs(fake, orders=3, seeds=2)
    fake.add_images("seqlora", np.ones(N, dtype=bool), first=0, order=0, seed=7)  # no partner
    code, out, _ = call("--images", "--format", "json")
    record = json.loads(out)
    assert code == 0
    assert record["images"][0]["found"]["units"] == 3
    assert len(record["images"][0]["cells"]) == 6
    assert record["images"][0]["found"]["mean"] == pytest.approx(
        record["differences"][0]["difference"]
    )


def test_the_block_is_printed_in_points_below_the_table(fake, call):
    right = add_pairs(fake)
    _, out, err = call("--images")
    assert err == ""
    title = "Single images: differences to janus on glyphs, in points of ACC"
    head, _, block = out.partition(title)
    assert "Paired differences" in head
    header, line = (text.split("  ") for text in block.splitlines()[1:4:2])
    header, line = ([word.strip() for word in row if word] for row in (header, line))
    assert header == [
        *("method", "difference", "SE orders", "SE images", "95 % interval, both"),
        *("orders", "images", "only one right", "p images"),
    ]
    change = np.array(right["seqlora"], dtype=float) - np.array(right["janus"], dtype=float)
    assert line[:2] == ["seqlora", f"{100 * change.mean():+.2f}"]
    assert line[2] == f"{100 * stats.sem(change.mean(axis=1)):.2f}"
    lost = int((change < 0).sum())
    assert f"0/{lost}" in line


@pytest.mark.parametrize("form", ["markdown", "latex"])
def test_every_format_for_people_has_the_block(fake, call, form):
    add_pairs(fake)
    code, out, _ = call("--images", "--format", form)
    assert code == 0 and "SE images" in out


def test_results_without_single_images_are_counted_and_the_way_to_get_them_is_said(fake, call):
    add_methods(fake)
    code, out, err = call("--images")
    assert code == 0 and "Single images" not in out
    assert "leaves out 6 runs whose results keep no single test images (janus 3, seqlora 3)" in err
    assert "sweeps run NAME store=DIR" in err


def test_a_row_of_which_some_orders_keep_images_says_of_how_many(fake, call):
    add_pairs(fake)
    for method, acc in (("janus", 0.7), ("seqlora", 0.6)):
        fake.add(method, acc, order=8)
    _, out, err = call("--images")
    assert "Fewer orders than above, whose runs keep single images: seqlora 4 of 5." in out
    assert "leaves out 2 runs" in err


def damage(path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "said"),
    [(lambda path: path.unlink(), "cannot be read"), (damage, r"is damaged")],
)
def test_a_lost_or_damaged_file_is_named_and_its_run_left_out(fake, call, change, said):
    add_pairs(fake)
    cell = fake.cell("seqlora", order=2)
    name = fake.store.result(cell.id)["correct_images"]
    change(correct_images.path_of(fake.root, name))
    _, out, err = call("--images")
    assert f"{cell.id} (glyphs seqlora order=2 seed=0) is left out of --images" in err
    assert said in err and "seqlora 3 of 4" in out


def test_runs_tested_on_other_images_are_not_paired(fake, call):
    add_pairs(fake, orders=2)
    fake.add_images("inflora", np.ones(N, dtype=bool), order=0, test_set="e" * 64)
    _, out, err = call("--images")
    assert "leaves out inflora: its runs and those of janus were tested on other images" in err
    block = out.partition("Single images")[2].rpartition("\n\n")[0]  # without the answer
    assert "seqlora" in block and "inflora" not in block


def test_rows_without_a_common_order_and_tables_without_a_reference_say_so(fake, call):
    add_pairs(fake, orders=2)
    fake.add("inflora", order=0)
    fake.add_images("inflora", np.ones(N, dtype=bool), order=5)
    _, _, err = call("--images")
    assert "leaves out inflora: it keeps single test images of no (order, seed)" in err
    _, out, err = call("--images", "--methods", "seqlora,inflora")
    assert "name one (--reference)" in err and "Single images" not in out


def test_csv_says_where_single_images_are(fake, call):
    add_pairs(fake)
    _, out, err = call("--images", "--format", "csv")
    assert "--format json has them" in err and len(out.splitlines()) == 7


def test_a_difference_is_rounded_as_above_with_another_endpoint_too(fake, call):
    add_pairs(fake)
    _, alone, _ = call("--images")
    _, both, _ = call("--images", "--endpoint", "acc,bwt")
    block = alone[alone.index("Single images:") :].rpartition("\n\n")[0]  # without the answer
    assert both[both.index("Single images:") :].rpartition("\n\n")[0] == block
