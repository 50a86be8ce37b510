"""Where a command writes: answers to stdout, lines about the work to stderr."""

from __future__ import annotations

import shlex
import sys


def print_line(text: str) -> None:
    """Print a line of the answer."""
    sys.stdout.write(text + "\n")


def log(text: str) -> None:
    """Print a line about the work."""
    sys.stderr.write(text + "\n")


def for_action(command: str, action: str) -> str:
    """`python -m sweeps run NAME ...` with another action."""
    words = shlex.split(command)
    return shlex.join([*words[:3], action, *words[4:]])
