"""Janus: sweeps and benchmarks for continual learning with low-rank adapters on ViTs.

The Python interface; everything else may move between files:

    compose(overrides)                    the Cell of overrides such as {"method": "janus"}
    Cell, Execution                       what is trained, and how it is executed
    run_cell(cell, store)                 train a cell, or return the result that the store has
    Store(folder)                         results, provenance and checkpoints of cells
    load_trained(store, cell_id)          the trained method of a cell that ran with keep="final"
    build_backbone(config, device)        the pretrained network of `cell.backbone`
    Method                                the base class of methods (docs/add-a-method.md)
    Observer, Tracker                     interfaces of what follows a run (docs/tracking.md)
    JanusError, ConfigError, RunError     the errors that users can act on

For example:

    import janus

    cell = janus.compose({"method": "seqlora", "bench": "glyphs", "order": "0"})
    result = janus.run_cell(cell, janus.Store("runs"))
    print(result["metrics"]["acc"])

A name is imported when it is first used: `import janus` itself is fast and imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from janus.config.cell import Cell
    from janus.config.compose import compose
    from janus.config.execution import Execution
    from janus.errors import ConfigError, JanusError, RunError
    from janus.methods.base.method import Method
    from janus.nn.vit import build_backbone as build_backbone
    from janus.store.store import Store
    from janus.tracking.observer import Observer, Tracker
    from janus.training.load_trained import load_trained
    from janus.training.loop import run_cell

__version__ = "0.1.0"

_PLACES = {
    "Cell": "janus.config.cell:Cell",
    "ConfigError": "janus.errors:ConfigError",
    "Execution": "janus.config.execution:Execution",
    "JanusError": "janus.errors:JanusError",
    "Method": "janus.methods.base.method:Method",
    "Observer": "janus.tracking.observer:Observer",
    "RunError": "janus.errors:RunError",
    "Store": "janus.store.store:Store",
    "Tracker": "janus.tracking.observer:Tracker",
    "build_backbone": "janus.nn.vit:build_backbone",
    "compose": "janus.config.compose:compose",
    "load_trained": "janus.training.load_trained:load_trained",
    "run_cell": "janus.training.loop:run_cell",
}
"""Module and name of each public name."""

__all__ = [
    "Cell",
    "ConfigError",
    "Execution",
    "JanusError",
    "Method",
    "Observer",
    "RunError",
    "Store",
    "Tracker",
    "__version__",
    "build_backbone",
    "compose",
    "load_trained",
    "run_cell",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, original = _PLACES[name].partition(":")
    value = globals()[name] = getattr(import_module(module), original)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
