"""Fill the marked parts of a page.

<!-- begin: NAME -->
... whatever stands here is replaced ...
<!-- end -->
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from janus.errors import ConfigError, suggest

PART = re.compile(r"<!-- begin: (?P<name>[^\n]*?) -->\n.*?<!-- end: (?P=name) -->", re.S)
"""A marked part, from its first mark to its last."""

MARK = re.compile(r"<!-- (?:begin|end): [^\n]*-->")


def fill(text: str, blocks: Mapping[str, Callable[[], str]]) -> str:
    """The page with every marked part made again by the block of its name.

    Raises ConfigError for a mark without its counterpart and for a name that no block has.
    """
    left = MARK.findall(PART.sub("", text))
    if left:
        raise ConfigError(f"a mark without its counterpart: {left[0]}")

    def made(found: re.Match[str]) -> str:
        name = found["name"]
        if name not in blocks:
            raise ConfigError(f"no block {name!r}.{suggest(name, blocks)}")
        return f"<!-- begin: {name} -->\n{blocks[name]().strip()}\n<!-- end: {name} -->"

    return PART.sub(made, text)


def outside(text: str) -> str:
    """The page without its marked parts and without its code: what people wrote."""
    return re.sub(r"```.*?```|`[^`\n]*`", "", PART.sub("", text), flags=re.S)
