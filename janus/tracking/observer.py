"""What follows a run from outside: the interfaces of displays, curves and trackers.

`Observer` gets the events of one run. `Tracker` makes observers for the runs of one process. Any
object with these methods can be one; nothing has to be inherited.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from janus.config.cell import Cell
from janus.store.store import Store

log = logging.getLogger(__name__)


class Observer(Protocol):
    """Gets the events of one run. An exception that it raises is logged and ends its work only."""

    def notify(self, event: str, facts: Mapping[str, Any]) -> None:
        """Take one event; it must not wait. Tasks, epochs and steps count from 0.

        start   `cell`, what was measured so far, `seconds_per_task`: this attempt begins
        begin   `task`, `tasks`, `epochs`: training of a task begins
        step    `task`, `tasks`, `epoch`, `epochs`, `step`, `steps`, `loss`, `accuracy`,
                `seconds`, `seconds_left`: about twice a second
        task    as `start`, with `task`, `tasks`, `accuracy`, `seconds`, `seconds_left`: a task was
                measured; its checkpoint is written next
        done    `result`, `provenance`: the result is committed
        failed  `cause`, `message`, `traceback`, `task`, `title`: this attempt ends with an error
        """


class Tracker(Protocol):
    """Makes observers for the runs of one process, one run after the other."""

    def observe(
        self, cell: Cell, store: Store, about: Mapping[str, Any] | None
    ) -> AbstractContextManager[Observer | None]:
        """A context with the observer of one run; None in place of it where `about` is None.

        about: `sweep` and `row` of a cell that belongs to a sweep; otherwise empty.
        """

    def close(self) -> None:
        """Finish what is not logged yet, within a limited time. Called before the process ends."""


class Together:
    """Several observers as one. An observer that raises gets no further event; the others do."""

    def __init__(self, *observers: Observer | None) -> None:
        self.observers = [observer for observer in observers if observer is not None]

    def notify(self, event: str, facts: Mapping[str, Any]) -> None:
        """Pass the event on to each of them."""
        for observer in list(self.observers):
            try:
                observer.notify(event, facts)
            except Exception as error:  # an observer may fail, a run may not
                log.warning("%s failed (%s); going on without", type(observer).__name__, error)
                self.observers.remove(observer)


class NoTracker:
    """The tracker of runs that are not tracked."""

    @contextmanager
    def observe(
        self, cell: Cell, store: Store, about: Mapping[str, Any] | None
    ) -> Iterator[Observer | None]:
        """No observer."""
        yield None

    def close(self) -> None:
        """Nothing to finish."""
