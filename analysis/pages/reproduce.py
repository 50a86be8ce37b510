"""Writes the command that trains a cell again. It states every setting, so it needs no defaults."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

NAMED = {"name", "eval"}
"""Fields that stand at the beginning of the command, as `bench=NAME` and `eval=test`."""

PATHS = {"root", "cache", "weights"}
"""Fields that may hold a path; a result does not record paths, so they are not taken from it."""

FILL_IN = (
    "In these commands bench.root=DIR stands for the folder of the images, "
    "backbone.weights=PATH for the file of the weights, and --include MODULE for a module from "
    "outside of this project, on your machine: fill them in. Their hashes are checked before "
    "anything is trained."
)
"""Sentences for pages that show such commands."""


def cell_command(cell: Mapping[str, Any]) -> str:
    """The command `python -m janus ...` that trains the cell of a result, with the same cell id.

    DIR, PATH and MODULE in it stand for paths on the reader's machine (see `FILL_IN`).
    """
    bench, backbone = cell["bench"], cell["backbone"]
    words = [
        f"bench={bench['name']}",
        f"backbone={backbone['name']}",
        f"method={cell['method']['name']}",
        f"order={cell.get('own_order') or cell['order']}",
        f"seed={cell['seed']}",
        f"eval={bench['eval']}",
    ]
    if bench["source"] != "glyphs":  # the images of glyphs are bundled with the package
        words.append("bench.root=DIR")
    local = backbone["weights"] not in ("bundled", "hub", "random")
    words.append(f"backbone.weights={'PATH' if local else backbone['weights']}")
    parts = {
        "bench": bench,
        "backbone": backbone,
        "train": cell["train"],
        "method": cell["method"]["values"],
    }
    for part, values in parts.items():
        for name, value in sorted(values.items()):
            if part == "bench" and name in ("tasks", "task_sizes"):
                continue
            if part == "backbone" and name in ("mean", "std", "colour_stats"):
                continue
            if part == "method" or name not in NAMED | PATHS:
                words.append(f"{part}.{name}={_typed(value)}")
    colours = str(backbone.get("colour_stats") or "").partition(";")
    for name, listed in (("mean", colours[0]), ("std", colours[2])):
        words.append(f"backbone.{name}={f'[{listed}]' if listed else _typed(backbone[name])}")
    sizes = bench.get("task_sizes")
    words.append(f"bench.tasks={f'[{sizes}]' if sizes else bench['tasks']}")
    include = ["--include", "MODULE"] if cell.get("sources") else []
    words = [*include, *words]
    return "python -m janus " + " ".join(shlex.quote(word) for word in words)


def _typed(value: Any) -> str:
    """The value as text in Hydra's grammar, in which keys of mappings have no quotes."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_typed(v)}" for key, v in value.items()) + "}"
    return value if isinstance(value, str) else json.dumps(value)
