"""Builds the block of `--images`: paired differences over single test images.

For every row and the reference it shows: the standard error of the difference over orders and over
images, an interval over both, the number of images that only one of the two classifies correctly,
and McNemar's test. The metric is ACC. Only runs that recorded which test images they classified
correctly are used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.blocks.grid import NONE, Block, Grid, Text, signed
from analysis.runs import load
from analysis.runs.load import RunRecord
from analysis.runs.protocol import Group
from analysis.stats import image_stats
from analysis.stats.image_stats import TwoWay
from analysis.stats.paired import Column
from analysis.stats.significance import Interval, Place
from analysis.tables.comparison import COLUMNS, Table
from analysis.tables.notes import p_text
from janus.errors import DataError
from janus.store import image_bits
from janus.store.image_bits import ImageBits


def _points(value: float | None) -> str:
    """A difference of accuracies (fractions) as text, in signed percentage points."""
    return signed(value, COLUMNS["acc"])


@dataclass(frozen=True, slots=True)
class Discordant:
    """For one (order, seed): the images that only one method classifies correctly at the end."""

    order: str
    seed: int
    only_method: int
    only_reference: int
    p: float
    """Two-sided exact p of McNemar's test on these images."""


@dataclass(frozen=True, slots=True)
class ByImage:
    """The comparison of a row with the reference on one bench, in stored units."""

    bench: str
    unit: str
    """`order` or `seed`: the unit over which `found` is a mean."""
    method: str
    reference: str
    found: TwoWay
    """The difference, method minus reference."""
    bootstrap: Interval | None
    """Interval from a bootstrap over images; valid only for the units that were trained."""
    p: float
    """p of McNemar's test over all units, flipping whole images; valid only for these units."""
    cells: tuple[Discordant, ...]


@dataclass(slots=True)
class ImageComparisons:
    """The comparisons of rows with the reference over single images."""

    rows: list[ByImage] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    """Sentences on rows and runs that could not be compared, with the reason or the remedy."""


def compare_images(
    groups: Sequence[Group], labels: Mapping[str, str], table: Table
) -> ImageComparisons:
    """The comparison of every row with the reference of the table built from the same groups."""
    if table.reference is None:
        return ImageComparisons(
            remarks=["--images compares rows with a reference: name one (--reference)"]
        )
    out = ImageComparisons()
    without: list[RunRecord] = []
    for column, group in zip(table.columns, groups, strict=True):
        bits: dict[str, dict[Place, ImageBits]] = {}
        for run in group.runs:
            found = _bits(run, without, out.remarks)
            if found is not None:
                bits.setdefault(labels[run.id], {})[run.order, run.seed] = found
        for method in table.methods:
            if method != table.reference and method in bits:
                row = _compare(column, method, table.reference, bits, out.remarks)
                out.rows += [row] if row else []
    if without:
        out.remarks.append(_without(without, labels))
    return out


def _bits(run: RunRecord, without: list[RunRecord], remarks: list[str]) -> ImageBits | None:
    """The test images that the run classified correctly.

    None if their file is missing (the run is then added to `without`) or damaged (a sentence is
    then added to `remarks`).
    """
    if run.correct_images is None:
        without.append(run)
        return None
    try:
        return image_bits.load_bits(run.store, run.correct_images, load.record(run)["correct"])
    except DataError as error:
        remarks.append(f"{run.id} ({run.title}) is left out of --images: {error}")
        return None


def _without(runs: Sequence[RunRecord], labels: Mapping[str, str]) -> str:
    """A sentence on the runs without a file of correct images, and on how to get such files."""
    rows = Counter(labels[run.id] for run in runs)
    shown = ", ".join(f"{row} {count}" for row, count in sorted(rows.items()))
    return (
        f"--images leaves out {len(runs)} runs whose results keep no single test images ({shown}): "
        "they are older than these files, or come from W&B. Train the cells again into a store of "
        "their own (`python -m sweeps run NAME store=DIR`) and name that store first: --store DIR. "
        "With the same hardware and versions their results are the same"
    )


def _compare(
    column: Column,
    method: str,
    reference: str,
    bits: Mapping[str, Mapping[Place, ImageBits]],
    remarks: list[str],
) -> ByImage | None:
    """The comparison of a row with the reference on one bench.

    `bits`: the correct images by row and (order, seed). None if the two have no images in common;
    `remarks` then gets a sentence, unless no run of the reference has a file of correct images.
    """
    ours, theirs = bits[method], bits.get(reference, {})
    places = sorted(ours.keys() & theirs.keys())
    names = {found[place].test_set for found in (ours, theirs) for place in places}
    if len(names) > 1:
        remarks.append(
            f"{column.title}: --images leaves out {method}: its runs and those of {reference} were "
            "tested on other images, or on the same images in another sequence"
        )
        return None
    if not places:
        if theirs:
            remarks.append(
                f"{column.title}: --images leaves out {method}: it keeps single test images of no "
                f"(order, seed) for which {reference} keeps them, too"
            )
        return None
    differences: list[tuple[str, NDArray[np.int8]]] = []
    cells = []
    for order, seed in places:
        mine, other = (found[order, seed].right().astype(np.int8) for found in (ours, theirs))
        change = mine - other
        differences.append((order if column.unit == "order" else f"{order}/{seed}", change))
        won, lost = int((change > 0).sum()), int((change < 0).sum())
        cells.append(Discordant(order, seed, won, lost, image_stats.mcnemar_p(won, lost)))
    units = np.array(list(image_stats.per_unit(differences).values()))
    return ByImage(
        bench=column.title,
        unit=column.unit,
        method=method,
        reference=reference,
        found=image_stats.two_way(units),
        bootstrap=image_stats.image_bootstrap(units.mean(axis=0)),
        p=image_stats.flip_images_p(image_stats.image_sums(differences)),
        cells=tuple(cells),
    )


def images_json(found: ImageComparisons) -> list[dict[str, Any]]:
    """The comparisons as dicts of plain values, one per bench and row, in stored units."""
    return [asdict(row) for row in found.rows]


def images_block(found: ImageComparisons, table: Table) -> Block:
    """The comparisons as a block: one grid with notes; no grid if there are no comparisons."""
    if not found.rows:
        return Block(())
    several = len(table.columns) > 1
    units = {row.unit for row in found.rows}
    unit = units.pop() if len(units) == 1 else "unit"
    header = (
        *(["bench"] if several else []),
        "method",
        "difference",
        f"SE {unit}s",
        "SE images",
        "95 % interval, both",
        f"{unit}s",
        "images",
        "only one right",
        "p images",
    )
    means = {(d.column.title, d.method): d.mean for d in table.differences if d.metric == "acc"}
    rows = tuple(
        _row(row, means.get((row.bench, row.method)))[0 if several else 1 :] for row in found.rows
    )
    where = "" if several else f" on {table.columns[0].title}"
    title = f"Single images: differences to {table.reference}{where}, in points of ACC"
    grid = Grid(title, (("", len(header)),), header, rows, words=1 + several)
    return Block((grid,), _notes(found, table, unit))


def _row(row: ByImage, above: float | None) -> tuple[Text, ...]:
    """The text cells of a row.

    `above`: the difference in the main table, which may be over more runs; None if there is none.
    """
    found = row.found
    same = above is not None and abs(above - found.mean) < 1e-9
    mean = above if same else found.mean  # printed with the same rounding as in the main table
    both = found.interval
    won = sum(cell.only_method for cell in row.cells)
    lost = sum(cell.only_reference for cell in row.cells)
    return (
        Text(row.bench),
        Text(row.method),
        Text(_points(mean)),
        Text(_error(found.se_units)),
        Text(_error(found.se_images)),
        Text(NONE if both is None else f"[{_points(both.low)}, {_points(both.high)}]"),
        Text(str(found.units)),
        Text(str(found.images)),
        Text(f"{won}/{lost}"),
        Text(p_text(row.p)),
    )


def _error(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.2f}"


def _notes(found: ImageComparisons, table: Table, unit: str) -> tuple[str, ...]:
    fewer = {(d.column.title, d.method): d.n for d in table.differences}
    short = [
        f"{row.method} {row.found.units} of {n}"
        for row in found.rows
        if row.found.units < (n := fewer.get((row.bench, row.method), 0))
    ]
    out = [
        f"Single images: SE {unit}s: standard error if other {unit}s had been drawn and these same "
        f"images tested; SE images: if other images had been drawn and these same {unit}s trained; "
        "the interval is over both (crossed random effects, Satterthwaite's t). An interval over "
        f"{unit}s alone says nothing of other images.",
        "Only one right: images that the method alone / the reference alone has right after the "
        f"last task, summed over runs. p images: McNemar's exact test for these {unit}s, whole "
        "images flipped, not adjusted for the number of rows; images count as independent draws.",
    ]
    if short:
        out.append(f"Fewer {unit}s than above, whose runs keep single images: {', '.join(short)}.")
    return tuple(out)
