"""Checks names of benches, sweeps and cells, because files and folders are named after them."""

from __future__ import annotations

import re

from janus.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_CELL_ID = re.compile(r"[0-9a-f]{16}")


def check_name(name: str, what: str) -> str:
    """Returns `name` if it is safe as a file name; `what` names it in the error, e.g. 'bench.name'.

    Raises ConfigError unless it is 1 to 100 letters, digits, `_`, `.` or `-` and does not begin
    with `.` or `-`. Such a name is valid in every file system, cannot leave its folder, and cannot
    be taken for an option.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{what} must be letters (A-Z, a-z), digits, '_', '.' or '-', 100 at most, and begin "
            f"with a letter, a digit or '_'; got {name!r}"
        )
    return name


def is_cell_id(text: object) -> bool:
    """Whether `text` has the form of a cell's id: 16 hexadecimal digits."""
    return isinstance(text, str) and _CELL_ID.fullmatch(text) is not None
