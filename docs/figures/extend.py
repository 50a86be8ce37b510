"""docs/extend.md: the module examples/all_parts.py, as it stands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from docs.figures.tables import Block

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "all_parts.py"


def blocks() -> Mapping[str, Block]:
    """The one block of the page."""
    return {"extend example": example}


def example() -> str:
    """The source from its first registration on."""
    text = EXAMPLE.read_text(encoding="utf-8")
    return f"```python\n{text.strip()}\n```"
