"""Cells as a job on another machine, in another folder, can use them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from janus.config.cell import Cell
from janus.weights import resolve


def with_absolute_paths(cell: Cell) -> Cell:
    """The cell with absolute paths: a job starts in another folder."""

    def absolute(text: str | None) -> str | None:
        return None if text is None else str(Path(text).expanduser().resolve())

    bench = replace(cell.bench, root=absolute(cell.bench.root), cache=absolute(cell.bench.cache))
    backbone = cell.backbone
    if backbone.weights not in ("bundled", "hub", "random"):
        backbone = replace(backbone, weights=absolute(backbone.weights) or "")
    return replace(cell, bench=bench, backbone=backbone)


def check_weights(cells: Sequence[Cell]) -> list[str]:
    """Check the local weight files of the cells (`check_weight_files`); returns a line for each.

    Files of the hub are not checked: they may lie on the nodes alone.
    """
    backbones = [cell.backbone for cell in cells]
    return resolve.check_weight_files(
        b for b in backbones if b.weights not in ("bundled", "hub", "random")
    )
