"""Records in the store why an attempt ended without a result."""

from __future__ import annotations

import logging
import traceback

from janus.config.cell import Cell
from janus.errors import JanusError, RunError, cause_of
from janus.store.claims import Claim
from janus.tracking.observer import Observer

log = logging.getLogger(__name__)


def note_failure(error: Exception, cell: Cell, claim: Claim, task: int, observer: Observer) -> None:
    """Write the reason into the store, where that is possible. Event: `failed`.

    `task`: the task in which the run failed, from 0.
    """
    record = {
        "cause": cause_of(error),
        "message": str(error),
        "traceback": "" if isinstance(error, JanusError) else traceback.format_exc(),
        "task": task,
        "title": cell.title,
    }
    try:
        claim.fail(record)
    except (OSError, RunError) as second:
        log.error("could not note the failure of %s: %s", cell.title, second)
    observer.notify("failed", record)


def release(claim: Claim) -> None:
    """Give the claim back. On a full disk it becomes free when this process ends."""
    try:
        claim.release()
    except (OSError, RunError) as error:
        log.warning("could not release claim %d of %s: %s", claim.number, claim.cell_id, error)
