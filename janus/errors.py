"""The exceptions a user can meet, and the did-you-mean helper that their messages share.

Each message says what is wrong, where, and what to do next. Command lines turn a `JanusError`
into one line on stderr and exit code 2; nothing else in the project catches it silently.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class JanusError(Exception):
    """Base of every error that is the user's to mend rather than ours."""


class ConfigError(JanusError):
    """A value, name or combination in the configuration is not valid."""


class DataError(JanusError):
    """Images, splits or weights are missing, damaged, or not the declared ones."""


class RunError(JanusError):
    """A run could not go on: a diverged loss, a lost claim, a store that cannot be written.

    `cause` is the short kind that failure reports group by.
    """

    def __init__(self, message: str, cause: str = "error") -> None:
        super().__init__(message)
        self.cause = cause


class ClusterError(JanusError):
    """A scheduler refused or lost what was asked of it."""


class ComparisonError(JanusError):
    """Runs that differ in protocol were asked to stand in one table."""


OUT_OF_MEMORY = "out-of-memory"
"""Cause of a failure for lack of memory, on the device or the host: less company may help."""


def cause_of(error: BaseException) -> str:
    """The short kind of a failure, by which reports group and retries are decided."""
    if isinstance(error, RunError):
        return error.cause
    text = str(error).lower()
    starved = ("out of memory", "t allocate memory", "cannot allocate memory", "bad_alloc")
    # torch is not imported here, so its error is told by name
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return OUT_OF_MEMORY
    if isinstance(error, RuntimeError | OSError) and any(words in text for words in starved):
        return OUT_OF_MEMORY
    return type(error).__name__


def suggest(name: str, valid: Iterable[str]) -> str:
    """' Did you mean ...?' for the nearest valid names, or the list of what exists."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=2, cutoff=0.5)
    if close:
        return f" Did you mean {' or '.join(repr(c) for c in close)}?"
    return f" Known: {', '.join(names)}." if names else ""
