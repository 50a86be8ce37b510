"""Where the command line writes: answers to stdout, notes about the work to stderr."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Print a line of the answer."""
    sys.stdout.write(text + "\n")


def tell(text: str) -> None:
    """Print a line about the work."""
    sys.stderr.write(text + "\n")
