"""Names that become files: of benches, of sweeps, of cells."""

from __future__ import annotations

import re

from janus.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_CELL_ID = re.compile(r"[0-9a-f]{16}")


def check_name(name: str, what: str) -> str:
    """`name`, which `what` calls it by (e.g. 'bench.name').

    Raises ConfigError unless it is 1 to 100 letters, digits, `_`, `.` or `-`, and does not begin
    with `.` or `-`: such a name is one file or folder below where it is meant to lie, in every file
    system and on every command line.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{what} must be letters (A-Z, a-z), digits, '_', '.' or '-', 100 at most, and begin "
            f"with a letter, a digit or '_'; got {name!r}"
        )
    return name


def is_cell_id(text: object) -> bool:
    """Whether `text` can be the id of a cell: 16 hex digits."""
    return isinstance(text, str) and _CELL_ID.fullmatch(text) is not None
