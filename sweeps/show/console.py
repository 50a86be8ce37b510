"""Where a command writes: answers to stdout, lines about the work to stderr."""

from __future__ import annotations

import shlex
import sys

from janus.one_line import printable


def print_line(text: str) -> None:
    """Print a line of the answer; control characters, of names say, are shown, not sent."""
    sys.stdout.write(printable(text) + "\n")


def log(text: str) -> None:
    """Print a line about the work, as `print_line` does."""
    sys.stderr.write(printable(text) + "\n")


def for_action(command: str, action: str) -> str:
    """`python -m sweeps run NAME ...` with another action."""
    words = shlex.split(command)
    return shlex.join([*words[:3], action, *words[4:]])
