"""Trackers from outside of this project: `tracker=NAME` where a module registered NAME.

See `janus.plugins.register_tracker`; docs/extend.md has an example.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from janus import plugins
from janus.config.cell import Cell
from janus.errors import ConfigError, suggest

log = logging.getLogger(__name__)


class Tracker(Protocol):
    """What a registered `make(cell, facts)` returns. A method `close()`, if any, is called last."""

    def notify(self, event: str, facts: Mapping[str, Any]) -> None:
        """Hear of progress; see `Observer` of the training loop for the events."""


def check(tracker: str) -> str:
    """`tracker`, where it is `none`, `wandb` or registered. Raises ConfigError otherwise."""
    known = [*plugins.OUR_NAMES["tracker"], *plugins.names("tracker")]
    if tracker not in known:
        raise ConfigError(
            f"tracker must be none or wandb, or what a module registers (--include PATH), got "
            f"{tracker!r}.{suggest(tracker, known)}"
        )
    if is_outside(tracker):
        plugins.find("tracker", tracker)
    return tracker


def is_outside(tracker: str) -> bool:
    """Whether the name is none of this project's own."""
    return tracker not in plugins.OUR_NAMES["tracker"]


@contextmanager
def observe(tracker: str | None, cell: Cell, facts: Mapping[str, Any]) -> Iterator[Tracker | None]:
    """The observer of one run; None where `tracker` is None or one of this project's own.

    A tracker that cannot be made, or closed, is a warning: the run goes on without it.
    """
    if tracker is None or not is_outside(tracker):
        yield None
        return
    made: Tracker | None = None
    try:
        entry = plugins.find("tracker", tracker)
        made = entry.value(cell, facts) if entry is not None else None
    except Exception as error:
        log.warning("tracker %s cannot be made (%s); going on without it", tracker, error)
    try:
        yield made
    finally:
        try:
            getattr(made, "close", lambda: None)()
        except Exception as error:
            log.warning("tracker %s cannot be closed: %s", tracker, error)
