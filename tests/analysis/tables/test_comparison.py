"""The table as data: units, means, pairing, and what may be called best."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats

from analysis.pages import run_page
from analysis.runs import filters, load, protocol
from analysis.tables import comparison, notes


def table(fake, metrics=("acc", "maa", "bwt"), reference="janus", allow=()) -> comparison.Table:
    runs = load.load_runs([fake.root]).runs
    labels = load.labels(runs)
    groups = protocol.split_by_protocol(runs, labels, allow)
    return comparison.build_table(groups, labels, metrics, reference)


def build(fake, **options) -> comparison.Table:
    """The table of ACC, with janus as reference."""
    runs = load.load_runs([fake.root]).runs
    labels = load.labels(runs)
    groups = protocol.split_by_protocol(runs, labels)
    return comparison.build_table(groups, labels, ("acc",), "janus", **options)


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
    assert (found.p, found.p_smallest) == (0.5, 0.5)
    half = 12.706 * 0.025  # t of one degree of freedom, standard error 0.035355 / root 2
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (-0.075 - half, -0.075 + half), abs=1e-4
    )


def test_methods_without_common_orders_are_not_tested(fake):
    fake.add("janus", order=0)
    fake.add("inflora", order=1)
    (found,) = table(fake).differences
    assert (found.n, found.mean, found.p, found.p_holm, found.p_smallest) == (0,) + (None,) * 4
    assert (found.p_maxt, found.interval, found.family) == (None, None, 0)


def add_benches(fake, orders: int = 6, **gaps: float) -> None:
    """Janus at 0.7, the others this much above it on both benches, in every order a bit more."""
    for number, bench in enumerate(("glyphs", "glyphs_styles")):
        for order in range(orders):
            fake.add("janus", 0.7 - number / 5, order=order, bench=bench)
            for method, gap in gaps.items():
                acc = 0.7 - number / 5 + gap + (1 + number) * order / 100
                fake.add(method, acc, order=order, bench=bench)


def test_the_tests_of_a_bench_are_a_family_and_those_of_the_average_another(fake):
    add_benches(fake, inflora=0.01, seqlora=-0.2)
    found = build(fake, endpoints=("acc", "bwt")).differences
    assert len(found) == 2 * (2 * 2 + 2)
    benches = [d for d in found if d.column.bench != "average"]
    pooled = [d for d in found if d.column.bench == "average"]
    assert {d.family for d in found} == {4}
    assert [d.p for d in benches] == [2 / 64] * 8
    assert [d.p_holm for d in benches] == [8 / 64] * 8
    assert [d.p_maxt for d in benches] == [2 / 64] * 8
    assert [d.p for d in pooled] == [2 / 4096] * 4
    assert [d.p_maxt for d in pooled] == [2 / 4096] * 4


def test_the_average_counts_every_bench_once_and_flips_every_order_by_itself(fake):
    """Three orders on one bench, two on the other; brute force over 2^5 patterns."""
    gaps = {"glyphs": (0.01, 0.02, -0.05), "glyphs_styles": (0.04, 0.03)}
    for bench, values in gaps.items():
        for order, gap in enumerate(values):
            fake.add("janus", 0.6, order=order, bench=bench)
            fake.add("seqlora", 0.6 + gap, order=order, bench=bench)
    found = build(fake)
    (pooled,) = [d for d in found.differences if d.column.bench == "average"]
    assert pooled.mean == pytest.approx((-0.02 / 3 + 0.035) / 2)
    assert found.averages["seqlora", "acc"].mean == pytest.approx(0.6 + pooled.mean)
    terms = np.array([*np.array(gaps["glyphs"]) / 3, *np.array(gaps["glyphs_styles"]) / 2])
    sums = [abs(np.dot(s, terms)) for s in itertools.product((1, -1), repeat=5)]
    assert pooled.p == pytest.approx(np.mean(np.array(sums) >= terms.sum() - 1e-12))
    assert pooled.p == 12 / 32  # 20 / 32 if every order counted once, not every bench
    assert (pooled.n, pooled.wins, pooled.losses, pooled.std) == (5, 4, 1, None)
    assert sorted(pooled.by_unit) == [
        "glyphs 0",
        "glyphs 1",
        "glyphs 2",
        "glyphs_styles 0",
        "glyphs_styles 1",
    ]


def test_the_interval_of_the_average_is_welchs(fake):
    rng = np.random.default_rng(0)
    a, b = rng.integers(-50, 50, 4) / 1000, rng.integers(0, 20, 6) / 1000
    for bench, values in (("glyphs", a), ("glyphs_styles", b)):
        for order, gap in enumerate(values):
            fake.add("janus", 0.6, order=order, bench=bench)
            fake.add("seqlora", 0.6 + gap, order=order, bench=bench)
    (pooled,) = [d for d in build(fake).differences if d.column.bench == "average"]
    theirs = scipy.stats.ttest_ind(a, -b, equal_var=False).confidence_interval(0.95)
    assert (pooled.interval.low, pooled.interval.high) == pytest.approx(
        (theirs.low / 2, theirs.high / 2)
    )


def test_a_row_that_lacks_a_bench_has_no_average(fake):
    add_benches(fake, orders=2, seqlora=0.1)
    fake.add("inflora", 0.7, order=0)
    found = build(fake)
    assert set(found.averages) == {("janus", "acc"), ("seqlora", "acc")}
    assert [d.method for d in found.differences if d.column.bench == "average"] == ["seqlora"]


def test_several_protocols_of_a_bench_are_not_averaged(fake):
    for epochs in (5, 8):
        fake.add("janus", train__epochs=epochs)
        fake.add("seqlora", train__epochs=epochs)
    found = table(fake, ("acc",), allow=["epochs"])
    assert found.averages == {}
    assert [d.column.title for d in found.differences] == ["glyphs [1]", "glyphs [2]"]


def test_an_endpoint_of_which_less_is_better_counts_its_wins_so(fake):
    for order in range(3):
        fake.add("janus", [[0.9], [0.8, 0.9], [0.6, 0.8, 0.9]], order=order)
        fake.add("seqlora", [[0.9], [0.7, 0.9], [0.5 + order / 10, 0.8, 0.9]], order=order)
    (found,) = build(fake, endpoints=("forgetting",)).differences
    # janus forgets (0.3 + 0.1) / 2 of two old tasks, seqlora 0.25, 0.2, 0.15
    assert found.differences == pytest.approx((0.05, 0.0, -0.05))
    assert (found.wins, found.losses) == (1, 1)


def test_a_cost_can_be_an_endpoint_and_is_won_by_nobody(fake):
    for order in range(2):
        fake.add("janus", order=order, provenance={"seconds": 10.0})
        fake.add("seqlora", order=order, provenance={"seconds": 7.0 + order})
    (found,) = build(fake, endpoints=("seconds",)).differences
    assert (found.mean, found.wins, found.losses) == (-2.5, None, None)


def test_a_family_holds_rows_of_unequal_orders_with_all_they_have(fake):
    """A row that has only begun does not silence the others, nor is any cut to its orders."""
    add_orders(fake, 8, janus=0.6, seqlora=0.5)
    for order in range(2):
        fake.add("inflora", 0.55 - order / 100, order=order)
    for order in range(1, 8):
        fake.add("l2p", 0.3 - order / 90, order=order)
    found = {d.method: d for d in build(fake).differences}
    assert {m: d.n for m, d in found.items()} == {"inflora": 2, "l2p": 7, "seqlora": 8}
    assert found["seqlora"].p_maxt == 2 / 256
    assert found["l2p"].p_maxt == 2 / 128
    assert found["inflora"].p_maxt == 0.5


def add_orders(fake, orders: int, **accuracies: float) -> None:
    for order in range(orders):
        for method, acc in accuracies.items():
            fake.add(method, acc - order / 100, order=order)


def bold(found: comparison.Table) -> set[tuple[str, str]]:
    return {(method, key) for (method, _, key), entry in found.entries.items() if entry.best}


def test_best_needs_enough_orders_however_large_the_gap(fake):
    add_orders(fake, 5, janus=0.9, seqlora=0.2)
    assert bold(table(fake, ("acc",))) == set()


def test_best_needs_no_correction_over_the_rows_that_it_beats(fake):
    """An intersection-union test: with six orders Holm over three rivals could not go below .09."""
    add_orders(fake, 6, janus=0.6, inflora=0.5, seqlora=0.4, l2p=0.3)
    assert bold(table(fake, ("acc",))) == {("janus", "acc")}


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


def test_the_best_average_is_that_of_all_benches_together(fake):
    """With four orders a bench nothing is best on a bench; eight pooled ones tell."""
    add_benches(fake, orders=4, seqlora=-0.2)
    found = build(fake)
    assert bold(found) == set()
    assert [row for (row, _), entry in found.averages.items() if entry.best] == ["janus"]


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
    fake.score_at_the_end_only(cell)
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
    assert sorted(["a[e=0.98]", "a[e=0.9]", "b", "a"], key=filters.natural) == [
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
    assert note in notes.notes(table(fake, reference=None))
    told = [run_page.section(run, "") for run in load.load_runs([fake.root]).runs]
    assert sum("Note: a_init=random with constrained=true" in page for page in told) == 1
