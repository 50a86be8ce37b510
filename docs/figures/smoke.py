"""The table of `make sweep`, as it is printed: docs/compare.md."""

from __future__ import annotations

from collections.abc import Mapping

from docs.figures.records import Results
from docs.figures.tables import Block, blocks_of, compared, protocol, revision


def blocks(found: Mapping[str, Results]) -> dict[str, Block]:
    """The blocks of the page."""
    return blocks_of(found, "smoke", {"table": printed, "protocol": protocol})


def printed(results: Results) -> str:
    """What `make sweep` prints at its end."""
    return f"```text\n{compared(results).rstrip()}\n```\n{revision(results)}"
