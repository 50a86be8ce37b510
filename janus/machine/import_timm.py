"""Imports timm without wandb, which timm would import too where it is installed (half a second).

from janus.machine.import_timm import timm
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

_hide = "wandb" not in sys.modules
if _hide:
    sys.modules["wandb"] = None  # type: ignore[assignment]  # timm works without wandb
try:
    import timm as _timm
finally:
    if _hide:
        del sys.modules["wandb"]

timm: Any = _timm

FilterFn = Callable[[Any, Any], Any]
"""Type of timm's `checkpoint_filter_fn`: from (tensors by name, model) to tensors under the
model's names, with position embeddings resized."""


def create_unloaded(name: str, kwargs: Mapping[str, Any]) -> tuple[Any, FilterFn | None]:
    """An untrained model, and timm's `checkpoint_filter_fn` for its published weights (or None).

    timm does not expose that function. So the model is requested with weights while timm's loader
    is replaced by one that loads nothing and only records its arguments.
    """
    builder = timm.models._builder
    original, given = builder.load_pretrained, {}

    def remember(model: Any, **arguments: Any) -> None:
        given.update(arguments)

    builder.load_pretrained = remember
    try:
        model = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay={"file": "-"}, **kwargs
        )
    finally:
        builder.load_pretrained = original
    return model, given.get("filter_fn")
