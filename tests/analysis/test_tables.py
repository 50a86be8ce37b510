"""The table as data: units, means, pairing, and what may be called best."""

from __future__ import annotations

import pytest

from analysis import choose, load, protocol, render, run_page, tables


def table(fake, metrics=("acc", "maa", "bwt"), reference="janus", allow=()) -> tables.Table:
    runs = load.load([fake.root]).runs
    labels = load.labels(runs)
    groups = protocol.split_by_protocol(runs, labels, allow)
    return tables.build(groups, labels, metrics, reference)


def test_a_three_by_three_matrix_by_hand(fake):
    fake.add("janus", [[0.9], [0.7, 0.8], [0.5, 0.6, 0.7]])
    found = table(fake, ("acc", "maa", "bwt", "forgetting", "learning_acc"))
    mean = {m.key: found.entry("janus", 0, m.key).mean for m in found.metrics}
    assert mean == pytest.approx(
        {
            "acc": 0.6,
            "maa": (0.9 + 0.75 + 0.6) / 3,
            "bwt": ((0.5 - 0.9) + (0.6 - 0.8)) / 2,
            "forgetting": ((0.9 - 0.5) + (0.8 - 0.6)) / 2,
            "learning_acc": (0.9 + 0.8 + 0.7) / 3,
        }
    )


def test_n_counts_orders_and_seeds_are_averaged_inside_them(fake):
    fake.add(order=0, seed=0, acc=0.5)
    fake.add(order=0, seed=1, acc=0.7)
    fake.add(order=1, seed=0, acc=0.8)
    found = table(fake)
    entry = found.entry("janus", 0, "acc")
    assert (entry.n, entry.runs) == (2, 3)
    assert entry.mean == pytest.approx(0.7)  # of 0.6 and 0.8, not of 0.5, 0.7, 0.8
    assert entry.std == pytest.approx(0.02**0.5)
    assert found.columns[0].unit == "order"


def test_with_a_single_order_seeds_are_the_unit(fake):
    for seed, acc in enumerate((0.5, 0.6, 0.7)):
        fake.add(order="natural", seed=seed, acc=acc)
    found = table(fake)
    entry = found.entry("janus", 0, "acc")
    assert found.columns[0].unit == "seed"
    assert (entry.n, entry.std) == (3, pytest.approx(0.1))


def test_one_run_has_a_mean_and_no_deviation(fake):
    fake.add()
    entry = table(fake).entry("janus", 0, "acc")
    assert (entry.n, entry.std, entry.best) == (1, None, False)


def test_a_method_that_lacks_an_order_is_compared_over_the_common_ones(fake):
    for order, (janus, inflora) in enumerate([(0.6, 0.5), (0.7, 0.65), (0.9, None)]):
        fake.add("janus", janus, order=order)
        if inflora is not None:
            fake.add("inflora", inflora, order=order)
    fake.add("inflora", 0.1, order=7)
    (found,) = table(fake).differences
    assert (found.method, found.reference, found.n) == ("inflora", "janus", 2)
    assert found.mean == pytest.approx(-0.075)  # of -0.10 and -0.05
    assert found.method_lacks == (("2", 0),)
    assert found.reference_lacks == (("7", 0),)
    assert (found.wins, found.losses) == (0, 2)
    assert (found.p, found.p_smallest, found.interval) == (0.5, 0.5, None)


def test_methods_without_common_orders_are_not_tested(fake):
    fake.add("janus", order=0)
    fake.add("inflora", order=1)
    (found,) = table(fake).differences
    assert (found.n, found.mean, found.p, found.p_holm, found.p_smallest) == (0,) + (None,) * 4


@pytest.mark.slow
def test_holm_counts_every_method_and_bench_of_the_table(fake):
    for bench in ("glyphs", "glyphs_styles"):
        for order in range(6):
            fake.add("janus", 0.7, order=order, bench=bench)
            fake.add("inflora", 0.6 - order / 100, order=order, bench=bench)
            fake.add("seqlora", 0.5 - order / 100, order=order, bench=bench)
    found = table(fake).differences
    assert [d.p for d in found] == [2 / 64] * 4
    assert [d.p_holm for d in found] == [8 / 64] * 4


def add_orders(fake, orders: int, **accuracies: float) -> None:
    for order in range(orders):
        for method, acc in accuracies.items():
            fake.add(method, acc - order / 100, order=order)


def bold(found: tables.Table) -> set[tuple[str, str]]:
    return {(method, key) for (method, _, key), entry in found.entries.items() if entry.best}


def test_best_needs_enough_orders_however_large_the_gap(fake):
    add_orders(fake, 5, janus=0.9, seqlora=0.2)
    assert bold(table(fake, ("acc",))) == set()


def test_best_is_the_row_that_beats_all_others(fake):
    add_orders(fake, 8, janus=0.6, inflora=0.5, seqlora=0.4)
    assert bold(table(fake, ("acc", "forgetting"))) == {("janus", "acc"), ("janus", "forgetting")}


def test_beating_only_some_rows_is_not_best(fake):
    add_orders(fake, 8, janus=0.6, seqlora=0.4)
    for order in range(8):
        fake.add("inflora", 0.6 - order / 100 + (0.01 if order % 2 else -0.012), order=order)
    assert bold(table(fake, ("acc",))) == set()


def test_a_lead_that_comes_from_easier_orders_is_not_best(fake):
    add_orders(fake, 8, janus=0.5, seqlora=0.6)  # behind wherever both were run
    for order in range(8, 16):
        fake.add("janus", 0.9, order=order)
    found = table(fake, ("acc",))
    assert found.entry("janus", 0, "acc").mean > found.entry("seqlora", 0, "acc").mean
    assert bold(found) == set()


def test_costs_are_shown_and_never_ranked(fake):
    for order in range(8):
        fake.add("janus", order=order, provenance={"seconds": 10.0, "peak_memory_bytes": 2**20})
        fake.add("seqlora", order=order, provenance={"seconds": 5.0, "peak_memory_bytes": 2**20})
    found = table(fake, ("seconds", "memory", "kept"))
    assert bold(found) == set()
    assert found.entry("janus", 0, "seconds").mean == 10.0
    assert found.entry("janus", 0, "memory").mean == 2**20
    assert found.entry("janus", 0, "kept").mean == 3 * 2**20


def test_what_was_not_measured_is_missing_and_not_zero(fake):
    cell = fake.add("joint", order=0)
    fake.edit(cell, lambda r: r["metrics"].update(bwt=None, maa=None))
    fake.add("janus", order=0, provenance={"git": {}})
    found = table(fake, ("acc", "bwt", "seconds"))
    assert found.entry("joint", 0, "bwt") is None
    assert found.entry("janus", 0, "seconds") is None
    assert found.entry("joint", 0, "acc").n == 1


def test_allowed_protocols_stand_in_separate_columns_and_are_not_tested(fake):
    fake.add("janus", train__epochs=5)
    fake.add("inflora", train__epochs=8)
    found = table(fake, ("acc",), allow=["epochs"])
    assert [c.title for c in found.columns] == ["glyphs [1]", "glyphs [2]"]
    assert found.entry("janus", 1, "acc") is None
    assert found.entry("inflora", 1, "acc").n == 1
    assert found.differences == ()


def test_rows_stand_in_the_order_of_their_numbers(fake):
    for rank in (20, 5, 9):
        fake.add(method__rank=rank, method__lr=0.01 if rank == 5 else 0.005)
    names = table(fake, reference=None).methods
    assert [name.partition("rank=")[2] for name in names] == ["9]", "20]", "5]"]
    assert sorted(["a[e=0.98]", "a[e=0.9]", "b", "a"], key=choose.natural) == [
        "a",
        "a[e=0.9]",
        "a[e=0.98]",
        "b",
    ]


def test_a_row_whose_settings_come_to_nothing_has_a_note(fake):
    fake.add("janus", method__a_init="random")
    fake.add("janus")
    (note,) = table(fake, reference=None).cautions
    assert note.startswith("janus[a_init=random]: a_init=random with constrained=true: ")
    assert note in render.notes(table(fake, reference=None))
    told = [run_page.section(run, "") for run in load.load([fake.root]).runs]
    assert sum("Note: a_init=random with constrained=true" in page for page in told) == 1
