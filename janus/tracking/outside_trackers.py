"""Trackers from outside of this project: `tracker=NAME` where a module registered NAME.

See `janus.plugins.register_tracker`; docs/extend.md has an example.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from janus import plugins
from janus.config.cell import Cell
from janus.errors import ConfigError, suggest
from janus.store.store import Store
from janus.tracking.observer import Observer

log = logging.getLogger(__name__)


def checked_tracker(tracker: str) -> str:
    """`tracker`, where it is `none`, `wandb` or registered. Raises ConfigError otherwise."""
    known = [*plugins.OUR_NAMES["tracker"], *plugins.plugin_names("tracker")]
    if tracker not in known:
        raise ConfigError(
            f"tracker must be none or wandb, or what a module registers (--include PATH), got "
            f"{tracker!r}.{suggest(tracker, known)}"
        )
    if is_outside(tracker):
        plugins.find_plugin("tracker", tracker)
    return tracker


def is_outside(tracker: str) -> bool:
    """Whether the name is none of this project's own."""
    return tracker not in plugins.OUR_NAMES["tracker"]


class OutsideTracker:
    """A registered tracker behind the interface that commands and workers use."""

    def __init__(self, name: str) -> None:
        self.name = name

    @contextmanager
    def observe(
        self, cell: Cell, store: Store, about: Mapping[str, Any] | None
    ) -> Iterator[Observer | None]:
        """The observer of one run, made from its facts: `about` and the store's folder.

        One that cannot be made, or closed, is a warning: the run goes on without it.
        """
        made: Observer | None = None
        try:
            entry = plugins.find_plugin("tracker", self.name)
            facts = {**(about or {}), "store": str(store.root)}
            made = entry.value(cell, facts) if entry is not None else None
        except Exception as error:
            log.warning("tracker %s cannot be made (%s); going on without it", self.name, error)
        try:
            yield made
        finally:
            try:
                getattr(made, "close", lambda: None)()
            except Exception as error:
                log.warning("tracker %s cannot be closed: %s", self.name, error)

    def close(self) -> None:
        """Each observer was closed with its run."""
