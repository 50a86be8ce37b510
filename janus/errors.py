"""The exceptions that users can see, and the `Did you mean` hint of their messages.

Each message says what is wrong, where, and what to do next. Command lines turn a `JanusError`
into one line on stderr and exit code 2; nothing else in the project catches it silently.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class JanusError(Exception):
    """Base class of every error that the user can correct; all other exceptions are bugs."""


class ConfigError(JanusError):
    """A value, name or combination in the configuration is not valid."""


class DataError(JanusError):
    """Images, splits or weights are missing, damaged, or differ from the declared hash."""


class RunError(JanusError):
    """A run could not continue: a diverged loss, a lost claim, a store that cannot be written.

    `cause` is a short word, such as `nan`, by which failures are grouped and retried.
    """

    def __init__(self, message: str, cause: str = "error") -> None:
        super().__init__(message)
        self.cause = cause


class ClusterError(JanusError):
    """A scheduler refused a job, or no longer knows it."""


class ComparisonError(JanusError):
    """Runs with different protocols were to be compared in one table."""


OUT_OF_MEMORY = "out-of-memory"
"""Cause of a failure for lack of memory, on the GPU or the host. Fewer cells at once may help."""


def cause_of(error: BaseException) -> str:
    """The cause of a failure as a short word, by which failures are grouped and retried."""
    if isinstance(error, RunError):
        return error.cause
    text = str(error).lower()
    starved = ("out of memory", "t allocate memory", "cannot allocate memory", "bad_alloc")
    # torch is not imported here, so its error is recognised by its class name
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return OUT_OF_MEMORY
    if isinstance(error, RuntimeError | OSError) and any(words in text for words in starved):
        return OUT_OF_MEMORY
    return type(error).__name__


def suggest(name: str, valid: Iterable[str]) -> str:
    """The hint ' Did you mean ...?' with the nearest valid names, or a list of all valid names."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=2, cutoff=0.5)
    if close:
        return f" Did you mean {' or '.join(repr(c) for c in close)}?"
    return f" Known: {', '.join(names)}." if names else ""
