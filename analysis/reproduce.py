"""The command that trains a cell again: every value spelled out, so that no default can drift."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

FIXED = {"name", "eval", "source", "scenario", "split_sha256", "model", "model_kwargs"}
"""Fields that stand elsewhere in the command or that the named configuration fixes."""


def command(cell: Mapping[str, Any]) -> str:
    """`python -m janus ...` for the cell of a result; composing it gives the same id."""
    words = [
        f"bench={cell['bench']['name']}",
        f"backbone={cell['backbone']['name']}",
        f"method={cell['method']['name']}",
        f"order={cell['order']}",
        f"seed={cell['seed']}",
        f"eval={cell['bench']['eval']}",
    ]
    parts = {
        "bench": cell["bench"],
        "backbone": cell["backbone"],
        "train": cell["train"],
        "method": cell["method"]["values"],
    }
    for part, values in parts.items():
        for name, value in sorted(values.items()):
            if name not in FIXED and not (value is None and part != "method"):
                words.append(f"{part}.{name}={_typed(value)}")
    return "python -m janus " + " ".join(shlex.quote(word) for word in words)


def _typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
