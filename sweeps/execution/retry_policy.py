"""What is tried again after a failure, by its cause.

A failure that training itself brought about (NaN, a bug, a missing file) would only come again; one
that the machine brought about is worth another attempt. A new command tries everything once more.
"""

from __future__ import annotations

from dataclasses import dataclass

from janus.errors import OUT_OF_MEMORY
from janus.store.store import DAMAGED
from sweeps.execution.attempt import Outcome

CRASH = "crash"
LOST_NODE = "lost-node"


@dataclass(frozen=True)
class Policy:
    """How a cause of failure is met."""

    retries: int
    """Further attempts at a cell in one command."""
    advice: str
    """For the failure report: what was tried, and what may help."""


POLICIES = {
    "nan": Policy(0, "not tried again: it would diverge again; lower method.lr or look at the log"),
    CRASH: Policy(2, "tried three times; a native crash or the kernel's out-of-memory killer"),
    # as often as packing can be halved: the pool never halves below one cell
    OUT_OF_MEMORY: Policy(16, "tried with fewer cells on the device each time, finally alone"),
    # not the cell's doing; bounded only so that a cell that brings nodes down cannot go on for ever
    LOST_NODE: Policy(20, "node after node was lost; is the cluster being taken away?"),
    "disk-full": Policy(0, "free some space: finished tasks are kept in checkpoints"),
    DAMAGED: Policy(0, "not trained over: move the file away, then run the command again"),
    "DataError": Policy(0, "mend what the message names, then run the command again"),
}
"""Causes with a rule of their own. The numbers are our choice."""

OTHERWISE = Policy(0, "not tried again: a bug would come again; the traceback is in the store")


def policy_for(cause: str) -> Policy:
    """The rule for a cause."""
    return POLICIES.get(cause, OTHERWISE)


def worth_another(last: Outcome, failures: int) -> bool:
    """Whether a cell whose last attempt was `last` may end differently.

    `failures` counts this command's attempts at the cell that ended with the same cause.
    """
    if last.status == "busy":
        return True
    if last.status == "done":
        return False
    if last.cause == OUT_OF_MEMORY and last.shared <= 1:
        return False  # it had everything and it was not enough
    return failures <= policy_for(last.cause).retries
