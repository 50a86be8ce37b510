"""Rebuilds the published main tables from `published/figures.csv`, digit for digit.

The highest printed mean of a column is bold and the second highest underlined; suspect cells are
not ranked. No test is possible, since no values per run are published.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analysis.blocks.grid import NONE, Block, Grid, Text
from analysis.published.read_csv import SOURCES, Published, published_figures

METRICS = (("acc", "ACC"), ("maa", "MAA"), ("bwt", "BWT"))
MARK = "†"

RULE = (
    "Copied as printed, not measured here. Bold: highest mean of its column; underlined: second; "
    f"neither rests on a test, since no per-run values are published; cells marked {MARK} are not "
    "ranked."
)


@dataclass(frozen=True, slots=True)
class Layout:
    """The definition of a table: which figures it shows, and the headings of its columns."""

    key: str
    caption: str
    source: str
    place: str
    """The text with which `Published.place` of the table's figures begins."""
    groups: tuple[tuple[str, str, str], ...]
    """(heading, bench, tasks) of each group of columns; tasks '' means any number."""
    metrics: tuple[tuple[str, str], ...] = METRICS


LAYOUTS = (
    Layout(
        "janus_imagenet_r",
        "Janus-LoRA's table on ImageNet-R",
        "janus-lora",
        "ImageNet-R table",
        tuple((f"T = {t}", "imagenet_r", str(t)) for t in (5, 10, 20)),
    ),
    Layout(
        "janus_generalization",
        "Janus-LoRA's table on further data sets (numbers of tasks are not on the image)",
        "janus-lora",
        "Generalization table",
        (
            ("CIFAR-100", "cifar100", ""),
            ("ImageNet-100", "imagenet100", ""),
            ("DomainNet", "domainnet", ""),
        ),
    ),
    Layout(
        "janus_ablation",
        "Janus-LoRA's ablation on ImageNet-R, 10 tasks",
        "janus-lora",
        "Table 1",
        (("ImageNet-R", "imagenet_r", "10"),),
    ),
    Layout(
        "janus_oe_gpm",
        "Janus-LoRA's table of Online Estimation against GPM after one epoch",
        "janus-lora",
        "Table 5",
        (("ImageNet-R", "imagenet_r", ""), ("CIFAR-100", "cifar100", "")),
    ),
    Layout(
        "sd_lora_imagenet_r",
        "SD-LoRA's table on ImageNet-R",
        "sd-lora",
        "Table 2",
        tuple((f"N = {t}", "imagenet_r", str(t)) for t in (5, 10, 20)),
        METRICS[:2],
    ),
    Layout(
        "sd_lora_further",
        "SD-LoRA's table on ImageNet-A and DomainNet",
        "sd-lora",
        "Table 3",
        (("ImageNet-A, N = 10", "imagenet_a", "10"), ("DomainNet, N = 5", "domainnet", "5")),
        METRICS[:2],
    ),
)


def published_block(layout: Layout) -> Block:
    """The table of a layout as a block; its notes: the source, the rule for bold, cautions."""
    found = [
        figure
        for figure in published_figures()
        if figure.source == layout.source
        and figure.place.startswith(layout.place)
        and figure.at is None
    ]
    rows = list(dict.fromkeys(figure.row for figure in found))
    header, spans = ["method"], [("", 1)]
    columns: list[list[Text]] = [[Text(row) for row in rows]]
    for heading, bench, tasks in layout.groups:
        spans.append((heading, len(layout.metrics)))
        for metric, title in layout.metrics:
            header.append(title)
            columns.append(_column(found, rows, _picks(bench, tasks, metric)))
    body = tuple(tuple(column[i] for column in columns) for i in range(len(rows)))
    grid = Grid("", tuple(spans), tuple(header), body, words=1)
    return Block((grid,), (f"Source: {SOURCES[layout.source]}. {RULE}", *_cautions(found)))


def _picks(bench: str, tasks: str, metric: str) -> Callable[[Published], bool]:
    return lambda figure: (
        (figure.bench, figure.metric) == (bench, metric)
        and (not tasks or figure.protocol.get("tasks") == tasks)
    )


def _column(
    found: Sequence[Published], rows: Sequence[str], picks: Callable[[Published], bool]
) -> list[Text]:
    cells = {figure.row: figure for figure in found if picks(figure)}
    ranked = sorted({f.mean for f in cells.values() if not f.caution}, reverse=True)
    best, second = [*ranked, None, None][:2]
    return [_cell(cells[row], best, second) if row in cells else Text(NONE) for row in rows]


def _cell(figure: Published, best: float | None, second: float | None) -> Text:
    if figure.caution:
        return Text(printed(figure), mark=MARK)
    return Text(printed(figure), figure.mean == best, figure.mean == second)


def printed(figure: Published) -> str:
    """The figure with the digits of its source: `69.75 ± 0.87`, or only the mean."""
    mean, std = figure.digits
    return f"{mean} ± {std}" if std else mean


def _cautions(found: Sequence[Published]) -> list[str]:
    said: dict[str, list[str]] = {}
    for figure in found:
        if figure.caution:
            tasks = figure.protocol.get("tasks")
            where = f"{figure.row} on {figure.bench}" + (f" T={tasks}" if tasks else "")
            names = said.setdefault(figure.caution, [])
            if where not in names:
                names.append(where)
    return [f"{MARK} {'; '.join(names)}: {caution}." for caution, names in said.items()]


def all_tables() -> list[tuple[Layout, Block]]:
    """(layout, block) of every table in `LAYOUTS`."""
    return [(layout, published_block(layout)) for layout in LAYOUTS]
