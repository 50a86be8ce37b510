"""Cells as a job on another machine, in another folder, can use them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from janus.config.cell import Cell
from janus.weights import resolve


def portable(cell: Cell) -> Cell:
    """The cell with absolute paths: a job starts in another folder."""

    def absolute(text: str | None) -> str | None:
        return None if text is None else str(Path(text).expanduser().resolve())

    bench = replace(cell.bench, root=absolute(cell.bench.root), cache=absolute(cell.bench.cache))
    backbone = cell.backbone
    if backbone.weights not in ("bundled", "hub", "random"):
        backbone = replace(backbone, weights=absolute(backbone.weights) or "")
    return replace(cell, bench=bench, backbone=backbone)


def check_weights(cells: Sequence[Cell]) -> list[str]:
    """As `janus.weights.resolve.check`, of local files: the hub's may lie on the nodes alone."""
    backbones = [cell.backbone for cell in cells]
    return resolve.check(b for b in backbones if b.weights not in ("bundled", "hub", "random"))
