"""timm, without the tracker that it imports wherever one is installed: half a second of each start.

from janus.machine.import_timm import timm
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

_hide = "wandb" not in sys.modules
if _hide:
    sys.modules["wandb"] = None  # type: ignore[assignment]  # timm does without what it cannot import
try:
    import timm as _timm
finally:
    if _hide:
        del sys.modules["wandb"]

timm: Any = _timm

FilterFn = Callable[[Any, Any], Any]
"""timm's `checkpoint_filter_fn` of a model: (tensors by name, model) to tensors by the model's
names, position embeddings resized."""


def create_unloaded(name: str, kwargs: Mapping[str, Any]) -> tuple[Any, FilterFn | None]:
    """An untrained model, and what timm would pass published weights of it through, if anything.

    timm keeps that function to itself: it is bound to the model's name, not found on the model. So
    timm is asked for the model with weights, and its loader, which would load them leniently, is
    replaced for the moment by one that only remembers what it was given.
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
