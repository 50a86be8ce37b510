"""What the actions share: answers go to stdout, notes about the work to stderr."""

from __future__ import annotations

import shlex
import sys


def say(text: str) -> None:
    """Print a line of the answer."""
    sys.stdout.write(text + "\n")


def tell(text: str) -> None:
    """Print a line about the work."""
    sys.stderr.write(text + "\n")


def for_action(command: str, action: str) -> str:
    """`python -m sweeps run NAME ...` with another action."""
    words = shlex.split(command)
    return shlex.join([*words[:3], action, *words[4:]])
