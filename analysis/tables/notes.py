"""Writes the notes below a table: the meaning of its numbers and marks, and the tests."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.stats import significance
from analysis.stats.paired import ALPHA, AVERAGE, Column, Difference
from analysis.tables.comparison import Table

P_COLUMN = {"maxt": "p (max-T)", "holm": "p (Holm)", "none": "p"}
"""{correction: title of the column whose p decides which differences are bold}."""


def notes(table: Table) -> list[str]:
    """The notes of the table, each one or two sentences."""
    out = [_unit_note(table.columns, table.spread)]
    units = [f"{m.title} in {m.unit}" for m in table.metrics if m.unit not in ("%", "")]
    if units:
        out.append(f"{', '.join(units)}. Seconds and memory depend on the machine.")
    if table.averages:
        out.append(_average_note(table))
    out += _mark_notes(table)
    out += _uneven_orders(table)
    out += [
        f"[{c.mark}] {', '.join(f'{name} {value}' for name, value in c.protocol)}; "
        "not tested against the bench's other columns."
        for c in table.columns
        if c.mark is not None
    ]
    out += [*(table.untested or ()), *_test_notes(table)]
    return [*out, *table.cautions]


def _unit_note(columns: Sequence[Column], spread: str) -> str:
    behind = "std (ddof 1)" if spread == "std" else "half of the 95 % t interval"
    single = [c.title for c in columns if c.unit == "seed"]
    if single and len(single) == len(columns):
        return (
            f"Percent, mean ± {behind} over n seeds of one single order; -- is not measured. "
            "Nothing here says how results vary with the order."
        )
    note = (
        f"Percent, mean ± {behind} over n orders, seeds averaged inside an order; "
        "-- is not measured."
    )
    return note + (f" On {', '.join(single)}: n seeds of one single order." if single else "")


def _average_note(table: Table) -> str:
    note = (
        f"average: mean of the {len(table.columns)} benches' means, each bench counted once, for "
        "rows that were measured on all of them"
    )
    if table.spread == "ci":
        note += "; its interval takes the orders of different benches as independent"
    return f"{note}."


def _mark_notes(table: Table) -> list[str]:
    entries = [*table.entries.values(), *table.averages.values()]
    out = []
    if any(entry.best for entry in entries):
        out.append(
            "Bold mean: better than every other row of its column. Hypothesis: it is not better "
            "than at least one of them; rejected where the two-sided paired sign-flip test "
            f"against each single one has p < {ALPHA} (an intersection-union test, which needs no "
            "correction over rows; columns and metrics are not corrected for each other)."
        )
    if any(entry.second for entry in entries):
        out.append(
            "Underlined, where the format can: the same test against every row but the bold one."
        )
    return out


def _uneven_orders(table: Table) -> list[str]:
    """Sentences that name rows whose means are over fewer orders than those of other rows."""
    out = []
    for number, column in enumerate(table.columns):
        counts = {m: n for m in table.methods if (n := table.units(m, number))}
        most = max(counts.values(), default=0)
        few = [f"{method} {n}" for method, n in counts.items() if n < most]
        if few:
            out.append(
                f"{column.title}: means over fewer than {most} {column.unit}s ({', '.join(few)}) "
                "are not like for like; the paired differences are."
            )
    return out


def _test_notes(table: Table) -> list[str]:
    tested = [d for d in table.differences if d.p is not None]
    if not table.differences:
        return []
    word = _unit_word(table)
    out = [
        f"Differences: row minus {table.reference}, over common (order, seed) pairs, seeds "
        f"averaged inside an order; ± std over {word}s; 95 % t interval of the mean, each by "
        "itself; d_z: mean / std of the paired differences, with Hedges' factor for few; "
        f"wins: {word}s in which the row is better/worse."
    ]
    if not tested:
        return out
    out.append(
        f"p: two-sided sign-flip test. Hypothesis: in each {word} the difference is as likely to "
        f"be -d as +d, so its mean is 0. The smallest p that n {word}s can give: "
        f"{_smallest(tested)}."
    )
    out.append(_correction_note(table, tested))
    if any(d.column is AVERAGE for d in tested):
        out.append(
            "average: the differences of every bench, each bench counted once; the interval takes "
            "orders of different benches as independent, with Satterthwaite's degrees of freedom; "
            "p flips every order of every bench by itself. Hypothesis: no difference on any bench."
        )
    fewest = min(d.n for d in tested)
    if significance.smallest_p(fewest) >= ALPHA:
        out.append(
            f"With fewer than {significance.units_for_p(ALPHA)} {word}s no p can fall below "
            f"{ALPHA}, the t interval rests on normal differences, and all inference is "
            f"conditional on these {word}s."
        )
    return out


def _unit_word(table: Table) -> str:
    return "seed" if all(column.unit == "seed" for column in table.columns) else "order"


def _smallest(tested: Sequence[Difference]) -> str:
    sizes = sorted({d.n for d in tested})
    return ", ".join(f"{p_text(significance.smallest_p(n))} (n {n})" for n in sizes)


def _correction_note(table: Table, tested: Sequence[Difference]) -> str:
    """A note on the family of tests, its correction, and the meaning of a bold difference."""
    sizes = {d.column.title: d.family for d in tested}
    several = "; those of the average are another" if AVERAGE.title in sizes else ""
    counts = sorted(set(sizes.values()))
    count = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    what = " and ".join(metric.title for metric in table.endpoints)
    family = f"the {count} tests of a bench, all rows in {what}, are one family{several}"
    if counts[-1] == 1:
        family = f"one test a bench{several}"
    bold = f"Bold difference: {P_COLUMN[table.correction]} < {ALPHA}."
    if table.correction == "none":
        return f"p is not corrected for their number ({family}). {bold}"
    if table.correction == "holm":
        note = f"p (Holm): adjusted by Holm's method; {family}. {bold}"
        most = max(d.n for d in tested)
        if significance.smallest_p(most) * counts[-1] >= ALPHA > significance.smallest_p(most):
            needed = significance.units_for_p(ALPHA / counts[-1])
            note += (
                f" With {counts[-1]} tests and {most} {_unit_word(table)}s no p (Holm) can fall "
                f"below {ALPHA}, whatever the differences: the first needs {needed}; --correction "
                "maxt has no such bound."
            )
        return note
    return (
        "p (max-T): adjusted by Westfall and Young's step-down max-T, which flips whole "
        f"{_unit_word(table)}s in all tests at once; {family}. {bold}"
    )


def p_text(p: float | None) -> str:
    """A p value as text with four decimals; `--` for None."""
    if p is None:
        return "--"
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"
