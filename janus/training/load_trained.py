"""Loads a trained method from the store, for cells that were run with `keep=final`.

What was kept is the checkpoint after the last task, which restores the method bit for bit. It is
no part of the result, and every other copy of the store (`merge`, `export`) goes without it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from janus.atomic_files import read_record
from janus.config.cell import Cell, cell_from_dict
from janus.config.method_spec import method_spec
from janus.errors import DataError, RunError
from janus.methods import make_method
from janus.methods.base.method import Context, Method
from janus.nn.vit import build_backbone
from janus.store.store import Store
from janus.training import checkpoint
from janus.weights import resolve


def load_trained(store: str | Path, cell_id: str, device: str = "cpu") -> Method:
    """The method as it stood when the cell's result was measured, ready for `predict`.

    `predict` takes images prepared by `janus.data.images.pixels.to_input` and returns logits (B,
    classes): column k is the class `class_order[k]` of the result (on domain streams, class k).
    Call it under `torch.inference_mode()` and `method.context.autocast()`. Raises RunError (cause
    `not-kept`) when the store has no such cell or did not keep its method, and DataError for
    damaged files or other weights.
    """
    where = Store(store)
    record = read_record(where.run_dir(cell_id) / "cell.json")
    found = where.checkpoints(cell_id)
    if not record or not where.result_path(cell_id).exists() or not found:
        what = "did not keep the method of" if where.result_path(cell_id).exists() else "has no"
        raise RunError(
            f"{where.root} {what} cell {cell_id}; cells that run with keep=final keep theirs (a "
            "finished cell is not trained again: give it another store)",
            cause="not-kept",
        )
    try:
        cell = _with_late_settings(cell_from_dict(record))
    except (KeyError, TypeError, AttributeError) as error:
        path = where.run_dir(cell_id) / "cell.json"
        raise DataError(f"{path} is damaged ({type(error).__name__}: {error})") from None
    state = checkpoint.read_tree(found[0])
    on = torch.device(device)
    resolve.verify_weights(cell.backbone)
    method = make_method(Context(cell, build_backbone(cell.backbone, on), on))
    if state["position"]["task"] < (1 if method.joint else cell.bench.tasks):
        raise DataError(f"{found[0]} is from the middle of training, not from its end")
    method.load_state_dict(checkpoint.tree_to_device(state["method"], on), None)
    return method


def _with_late_settings(cell: Cell) -> Cell:
    """`cell` with the settings that its method got since, at their neutral values; the same id."""
    late = method_spec(cell.method.name).neutral
    values = {**late, **cell.method.values}
    neutral = {**late, **cell.method.neutral}
    return replace(cell, method=replace(cell.method, values=values, neutral=neutral))
