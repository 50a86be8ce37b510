"""docs/ablation.md: the seven rows of the paper's ablation, and the tuning behind their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from statistics import fmean

from analysis.published.read_csv import published_figures
from analysis.runs.load import value_text
from analysis.tables.paper_claims import numbers
from docs.figures.records import Results
from docs.figures.tables import Block, blocks_of, code, listed, protocol, signed, table
from janus.config.compose import compose
from sweeps.spec.plan import plan
from sweeps.spec.rows import Row
from sweeps.spec.rows import rows as rows_of
from sweeps.spec.sweep_file import load_sweep as load_sweep

NONE, ALL = "janus[none]", "janus[all]"


def blocks(found: Mapping[str, Results]) -> dict[str, Block]:
    """The blocks of the page."""
    makers = {
        "protocol": protocol,
        "table": table("--reference", NONE, "--columns", "acc,maa,bwt,learning_acc,acc_in_task"),
        "findings": findings,
    }
    tuned = {"winners": winners}
    out = blocks_of(found, "ablation", makers)
    out |= blocks_of(found, "ablation_tuning", tuned)
    return {**out, "ablation_tuning budget": partial(budget, "ablation_tuning")}


def findings(results: Results) -> str:
    """What the records say, each sentence with its figures."""
    said = [_gains(results), _order(results), _heads(results), _null_space(results)]
    said.append(_crowding(results))
    return "\n".join(f"* {sentence}" for sentence in said if sentence)


def _gains(results: Results) -> str:
    gains = {
        row: fmean(results.differences(row, NONE)) for row in results.rows if row not in (NONE,)
    }
    low, high = min(gains, key=gains.__getitem__), max(gains, key=gains.__getitem__)
    full = results.differences(ALL, NONE)
    return (
        f"The rows differ from `{NONE}` by {signed(gains[low])} (`{low}`) to {signed(gains[high])} "
        f"(`{high}`) points of ACC; over orders `{NONE}` itself has a standard deviation of "
        f"{results.std(NONE):.2f}. `{ALL}` is above it in {sum(d > 0 for d in full)} of "
        f"{len(full)} orders."
    )


def _order(results: Results) -> str:
    """The rows' order here and in the paper's Table 1, by mean ACC."""
    printed = _published()
    rows = [row for row in results.rows if row in printed]
    ours = sorted(rows, key=results.mean, reverse=True)
    swapped = [
        f"`{a}` and `{b}`"
        for a, b in combinations(ours, 2)
        if (printed[a] - printed[b]) * (results.mean(a) - results.mean(b)) < 0
    ]
    best = max(rows, key=printed.__getitem__)
    end = f"the other way round: {listed(swapped)}" if swapped else "as in the paper's Table 1"
    where = ours.index(best) + 1
    return (
        f"By the mean ACC alone: {', '.join(f'`{row}`' for row in ours)}. Of their "
        f"{len(rows) * (len(rows) - 1) // 2} pairs {len(swapped)} stand {end}. The paper's best "
        f"row, `{best}`, has place {where} here."
    )


def _published() -> dict[str, float]:
    """ACC of Janus-LoRA's Table 1, by our names of the rows."""
    return {
        f"janus[{figure.variant}]": figure.mean
        for figure in published_figures()
        if figure.source == "janus-lora"
        and figure.place.startswith("Table 1")
        and figure.metric == "acc"
    }


def _heads(results: Results) -> str:
    means = [results.mean(row, "acc_in_task") for row in (NONE, ALL)]
    forgetting = [results.mean(row, "bwt") for row in (NONE, ALL)]
    return (
        f"With the task given, `{NONE}` has an accuracy of {means[0]:.2f} and `{ALL}` of "
        f"{means[1]:.2f}, where ACC without it is {results.mean(NONE):.2f} and "
        f"{results.mean(ALL):.2f} and BWT {forgetting[0]:.2f} and {forgetting[1]:.2f}."
    )


def _null_space(results: Results) -> str:
    past = {row: list(numbers(results.diagnostics(row, "violation_past"))) for row in results.rows}
    basis = {row: list(numbers(results.diagnostics(row, "violation_span"))) for row in results.rows}
    told = [f"`{row}` {fmean(values):.3f}" for row, values in past.items() if values]
    if not told:
        return ""
    kept = [row for row, values in basis.items() if values]
    end = (
        f" Against the protected basis it is at most {max(max(basis[row]) for row in kept):.0e} "
        f"in every block of {code(kept)}."
        if kept
        else ""
    )
    return (
        "Null-space violation |dW X| / (|dW| |X|) on test images of earlier tasks, mean over "
        f"blocks, projections, tasks and orders: {', '.join(told)}.{end}"
    )


def _crowding(results: Results) -> str:
    """The mean cosine to the nearest old class centre, here and in the paper's figures."""
    found = {row: results.diagnostics(row, "danger") for row in (NONE, ALL)}
    if not all(found.values()):
        return ""
    printed = {
        figure.place: figure.mean
        for figure in published_figures()
        if figure.place.startswith("angular-w")
    }
    without, with_ = printed["angular-without-dml.png"], printed["angular-with-dml.png"]
    return (
        f"The mean cosine to the nearest old class centre is {fmean(found[NONE]):.3f} for "
        f"`{NONE}` and {fmean(found[ALL]):.3f} for `{ALL}`; the paper's figures have {without:g} "
        f"without the margin loss and {with_:g} with it."
    )


# ---- tuning -------------------------------------------------------------------------------------
def budget(name: str) -> str:
    """How many configurations and cells each row of a tuning sweep has, from the sweep itself."""
    sweep = load_sweep(name, []).sweep
    counts: dict[str, int] = {}
    for row in rows_of(sweep):
        counts[_tuned(row)] = counts.get(_tuned(row), 0) + 1
    by_count: dict[int, list[str]] = {}
    for row_name, count in counts.items():
        by_count.setdefault(count, []).append(row_name)
    told = [f"{count} for {code(names)}" for count, names in by_count.items()]
    return (
        f"Configurations tried: {listed(told)}; {len(plan(sweep).entries)} cells on orders "
        f"{listed(sweep.orders)} and seed {listed([str(seed) for seed in sweep.seeds])}, "
        "scored on validation images."
    )


def _tuned(row: Row) -> str:
    """The row that a configuration competes for: `janus[oe+gr]` of `janus[oe+gr,lr=1e-3]`."""
    name = ",".join(part for part in row.variant.split(",") if "=" not in part)
    return f"{row.method}[{name}]" if name else row.method


def winners(results: Results) -> str:
    """The best configuration of each row by mean validation ACC, and the rates at an edge."""
    rows: dict[str, list[str]] = {}
    for label in results.rows:
        method, _, inside = label.rstrip("]").partition("[")
        name = ",".join(part for part in inside.split(",") if "=" not in part)
        rows.setdefault(f"{method}[{name}]" if name else method, []).append(label)
    lines = ["| row | best configuration | ACC |", "|---|---|---|"]
    best = {row: max(labels, key=results.mean) for row, labels in rows.items()}
    for row, label in best.items():
        inside = label.rstrip("]").partition("[")[2]
        settings = ", ".join(part for part in inside.split(",") if "=" in part)
        lines.append(f"| `{row}` | {settings} | {results.mean(label):.2f} |")
    edges = [
        f"the {end} {name} tried won in {count} of {len(rows)} rows"
        for name in ("lr", "head_lr")
        for end, pick in (("lowest", min), ("highest", max))
        if (count := sum(_at_edge(best[row], rows[row], name, pick) for row in rows))
    ]
    told = f"At an edge of its grid: {'; '.join(edges)}." if edges else ""
    return "\n".join(lines) + f"\n\n{_in_use(results, rows, best)} {told}".rstrip()


def _in_use(results: Results, rows: Mapping[str, Sequence[str]], best: Mapping[str, str]) -> str:
    """Whether the values that methods have on this bench are those that won."""
    differing = {row: found for row in rows if (found := _differs(results, rows[row], best[row]))}
    if not differing:
        return "The values in use (`janus/conf/method`) are the winners of every row."
    told = [f"`{row}` ({found})" for row, found in differing.items()]
    return f"The values in use (`janus/conf/method`) are not the winners of {listed(told)}."


def _differs(results: Results, labels: Sequence[str], best: str) -> str:
    """`lr=0.0003 in use`: what was tried and is not at the winner's value; '' where all is."""
    tried = [results.rows[label][0].cell["method"]["values"] for label in labels]
    won = results.rows[best][0].cell["method"]["values"]
    run = results.rows[best][0]
    own = compose({"bench": run.bench, "method": run.method}).method.values
    varied = [name for name in won if len({repr(values.get(name)) for values in tried}) > 1]
    return ", ".join(f"{n}={value_text(own[n])} in use" for n in varied if own[n] != won[n])


def _at_edge(label: str, labels: Sequence[str], name: str, pick: object) -> bool:
    values = {other: _setting(other, name) for other in labels}
    known = {value for value in values.values() if value is not None}
    end = min(known, default=None) if pick is min else max(known, default=None)
    return len(known) > 1 and values[label] == end


def _setting(label: str, name: str) -> float | None:
    for part in label.rstrip("]").partition("[")[2].split(","):
        key, equals, value = part.partition("=")
        if equals and key == name:
            return float(value)
    return None
