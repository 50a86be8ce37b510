"""Builds the blocks of `--published`: the published figures, and verdicts on our own figures.

A verdict says whether one of our means agrees with the published figure of the same method, bench
and metric.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.blocks import published_tables
from analysis.blocks.grid import NONE, Block, Grid, Text
from analysis.blocks.published_tables import MARK, printed
from analysis.published import match, verdict
from analysis.published.read_csv import SOURCES, Published, summaries
from analysis.published.verdict import Sample, Verdict
from analysis.runs import filters
from analysis.runs.load import RunRecord
from analysis.runs.protocol import Group
from analysis.stats import significance
from analysis.tables import comparison

METRICS = published_tables.METRICS

KINDS = {
    "figure": "a number printed in a figure",
    "quoted": "as quoted by somebody else",
    "reproduction": "a reproduction by somebody else",
    "secondary": "hearsay",
}
"""{kind of a figure: its note}, for figures from neither a table nor a log of the source itself."""


def figures_block(benches: Collection[str]) -> Block:
    """The published ACC, MAA and BWT on these benches (on all if none is given), as printed."""
    found = summaries(benches)
    lines: dict[tuple[str, ...], dict[str, Published]] = {}
    for figure in found:
        order = figure.protocol.get("order", "")
        place = (figure.bench, figure.protocol.get("tasks", NONE), figure.row, figure.source)
        weighting = figure.protocol.get("weighting", "")
        key = (*place, f"{figure.place} {figure.kind}", "" if weighting == "image" else weighting)
        again = 0  # two runs of one configuration in a log are two rows
        while figure.metric in lines.setdefault((*key, order, str(again)), {}):
            again += 1
        lines[*key, order, str(again)][figure.metric] = figure
    notes: dict[str, int] = {}
    rows = tuple(_line(key, cells, notes) for key, cells in sorted(lines.items(), key=_line_order))
    header = ("bench", "T", "method", "ACC", "MAA", "BWT", "n", "source")
    title = "Published figures (copied as printed, not measured here)"
    grid = Grid(title, (("", len(header)),), header, rows, words=3)
    return Block(
        (grid,),
        (
            "n: runs, where the source says it. (task): mean over tasks instead of over images.",
            *(f"[{number}] {text}." for text, number in notes.items()),
        ),
    )


def _line_order(item: tuple[tuple[str, ...], Any]) -> tuple[Any, ...]:
    bench, tasks, row, *rest = item[0]
    return bench, int(tasks) if tasks.isdigit() else 0, *rest[:1], row, *rest[1:]


def _line(
    key: tuple[str, ...], cells: Mapping[str, Published], notes: dict[str, int]
) -> tuple[Text, ...]:
    bench, tasks, row, source, _, weighting, *_ = key
    first = next(iter(cells.values()))
    remarks = [cell.caution for cell in cells.values() if cell.caution]
    if first.kind in KINDS:
        remarks.append(KINDS[first.kind])
    said = [_protocol_text(first)] if _protocol_text(first) else []
    numbers = [notes.setdefault(text, len(notes) + 1) for text in dict.fromkeys([*remarks, *said])]
    values = [
        Text(printed(cells[metric]), mark=MARK * bool(cells[metric].caution))
        if metric in cells
        else Text(NONE)
        for metric, _ in METRICS
    ]
    n = Text(NONE if first.n is None else str(first.n))
    marks = " " + "".join(f"[{number}]" for number in sorted(set(numbers))) if numbers else ""
    name = f"{row} (task)" if weighting else row
    return Text(bench), Text(tasks), Text(name), *values, n, Text(SOURCES[source] + marks)


def _protocol_text(figure: Published) -> str:
    known = [f"{k} {v}" for k, v in figure.protocol.items() if k not in ("tasks", "weighting")]
    return ", ".join(known)


def our_sample(runs: Sequence[RunRecord], metric: str) -> Sample | None:
    """Our side of a comparison: mean and std in percent over the runs' units, and the protocol.

    The units are orders if there are several, else seeds. None if the metric was not measured.
    """
    unit = comparison.unit_of(runs)
    values = {
        (run.order, run.seed): v for run in runs if (v := run.metrics.get(metric)) is not None
    }
    if not values:
        return None
    units = [100 * v for v in significance.average_units(values, unit).values()]
    mean, std = significance.mean_std(units)
    several = len({run.order for run in runs}) > 1
    return Sample(mean or 0.0, std, len(units), _our_protocol(runs, metric), several_orders=several)


def _our_protocol(runs: Sequence[RunRecord], metric: str) -> dict[str, str]:
    bench, backbone = runs[0].identity["bench"], runs[0].identity["backbone"]
    plain = (backbone["mean"], backbone["std"]) == (0, 1)
    scaled = f"mean {backbone['mean']}, std {backbone['std']}"
    if backbone.get("imagenet_stats"):
        plain, scaled = False, "ImageNet's mean and std"
    if colours := backbone.get("colour_stats"):
        plain, scaled = False, f"mean and std of each colour {colours}"
    out = {
        "tasks": str(bench["tasks"]),
        "weights": str(backbone["model"]).partition(".")[2] or str(backbone["model"]),
        "split": str(bench["split"]),
        "order": _orders(runs),
        "epochs": str(runs[0].identity["train"]["epochs"]),
        "normalisation": "none" if plain else scaled,
    }
    return out if metric == "bwt" else out | {"weighting": "image"}


def _orders(runs: Sequence[RunRecord]) -> str:
    """The runs' class orders, as text that can be compared with the field `order` of a figure.

    E.g. `natural`, `10 seeded orders`, `natural and 10 seeded orders`; `shuffled, seed 1993` for
    our `pilot1993`, and `shuffled, seeds 1993-1997` for `pilot1993` to `pilot1997`.
    """
    orders = {run.order for run in runs}
    seeds = sorted(int(o.removeprefix("pilot")) for o in orders if o.startswith("pilot"))
    if len(seeds) == len(orders) and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"shuffled, seed{f's {seeds[0]}-' if seeds[1:] else ' '}{seeds[-1]}"
    named = sorted(order for order in orders if not order.isdigit())
    seeded = len(orders) - len(named)
    words = [f"{seeded} seeded order{'s' * (seeded > 1)}"] if seeded else []
    return " and ".join([*named, *words])


Judged = tuple[str, str, str, Published, Sample, Verdict]
"""(column title, row, metric title, published figure, our sample, verdict)."""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The verdicts, and the number of figures without one."""

    pairs: tuple[Judged, ...]
    left_out: int
    """Number of published figures that match one of our rows, but state another number of tasks."""


def judge_all(
    groups: Sequence[Group], labels: Mapping[str, str], allow: Collection[str] = ()
) -> Verdicts:
    """The verdicts: one for each of our rows and each published figure of its method and bench.

    Figures with another number of tasks are left out and counted, unless `allow` has `tasks`.
    """
    pairs: list[Judged] = []
    left_out: list[Published] = []
    for group in groups:
        found = [f for f in summaries([group.bench]) if f.kind in ("table", "log", "reproduction")]
        for label in sorted({labels[run.id] for run in group.runs}, key=filters.natural):
            runs = [run for run in group.runs if labels[run.id] == label]
            shown = [f for f in found if match.same_row(runs[0].method, label, f)]
            for metric, title in METRICS:
                sample = our_sample(runs, metric)
                if sample is None:
                    continue
                for figure in shown:
                    if figure.metric != metric:
                        continue
                    tasks = sample.protocol["tasks"]
                    if "tasks" not in allow and figure.protocol.get("tasks", tasks) != tasks:
                        left_out += [figure] * (figure not in left_out)
                        continue
                    why = match.obstacle(runs[0], figure, allow)
                    word = verdict.judge_difference(sample, verdict.sample_of(figure), allow, why)
                    pairs.append((group.bench, label, title, figure, sample, word))
    return Verdicts(tuple(pairs), len(left_out))


def verdict_block(judged: Verdicts, allow: Collection[str] = ()) -> Block:
    """The verdicts as a grid, with notes on the meaning of each verdict and on the sources."""
    header = ("bench", "method", "metric", "ours", "published", "ours - published", "verdict", "")
    notes: dict[str, int] = {}
    rows = []
    for bench, label, metric, figure, sample, found in judged.pairs:
        spread = NONE if sample.std is None else f"{sample.std:.2f}"
        interval = "" if found.low is None else f" [{found.low:+z.2f}, {found.high:+z.2f}]"
        texts = [
            found.why,
            SOURCES[figure.source] + (f": {KINDS[figure.kind]}" if figure.kind in KINDS else ""),
        ]
        if sample.several_orders:
            texts.append(f"ours: mean over {sample.protocol['order']}")
        if found.unstated:
            texts.append(f"not stated on one side: {', '.join(found.unstated)}")
        if figure.caution:
            texts.append(figure.caution)
        marks = "".join(f"[{notes.setdefault(text, len(notes) + 1)}]" for text in texts)
        cells = (bench, label, metric, f"{sample.mean:.2f} ± {spread}", printed(figure))
        difference = f"{found.difference:+z.2f}{interval}"
        rows.append(tuple(map(Text, (*cells, difference, found.word, marks))))
    grid = Grid("Verdicts on published figures", (("", len(header)),), header, tuple(rows), words=3)
    rule = "; ".join(f"{word}: {meaning}" for word, meaning in verdict.MEANINGS.items())
    further = [f"Allowed to differ or to be unstated: {', '.join(allow)}."] if allow else []
    further += [left_out_text(judged)] * bool(judged.left_out)
    return Block(
        (grid,), (f"{rule}.", *further, *(f"[{number}] {text}." for text, number in notes.items()))
    )


def left_out_text(judged: Verdicts) -> str:
    """One sentence on the figures that were left out."""
    return (
        f"Left out: {judged.left_out} published figures of these methods with another number of "
        "tasks (--allow tasks shows them)."
    )


def figure_records(benches: Collection[str]) -> list[dict[str, Any]]:
    """The figures of `figures_block` as dicts of plain values, accuracies as fractions."""
    return [
        {
            "bench": figure.bench,
            "protocol": figure.protocol,
            "method": figure.method,
            "row": figure.row,
            "metric": figure.metric,
            "mean": _fraction(figure.mean),
            "std": _fraction(figure.std),
            "n": figure.n,
            "source": figure.source,
            "place": figure.place,
            "how": figure.kind,
            "caution": figure.caution or None,
        }
        for figure in summaries(benches)
    ]


def verdict_records(judged: Verdicts) -> list[dict[str, Any]]:
    """The verdicts as dicts of plain values, accuracies and their differences as fractions."""
    return [
        {
            "bench": bench,
            "method": label,
            "metric": figure.metric,
            "ours": _fraction(sample.mean),
            "ours_std": _fraction(sample.std),
            "ours_n": sample.n,
            "ours_order": sample.protocol["order"],
            "published": _fraction(figure.mean),
            "published_std": _fraction(figure.std),
            "published_n": figure.n,
            "row": figure.row,
            "source": figure.source,
            "place": figure.place,
            "caution": figure.caution or None,
            "difference": _fraction(found.difference),
            "low": _fraction(found.low),
            "high": _fraction(found.high),
            "verdict": found.word,
            "why": found.why,
            "unstated": list(found.unstated),
        }
        for bench, label, _, figure, sample, found in judged.pairs
    ]


def _fraction(percent: float | None) -> float | None:
    """Percent as a fraction, rounded to nine digits: 0.8868 instead of 0.8868000000000001."""
    return None if percent is None else round(percent / 100, 9)
