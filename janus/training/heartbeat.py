"""A run's heartbeat: a small file with its progress, by which other machines see that it is alive.

It is written after batches: those of training, and those of every other pass over images
(evaluation, second passes, features, alignment). A thread that writes it at fixed times would make
a run that hangs look alive, and its cell would never be finished.
"""

from __future__ import annotations

import time
from typing import Any

from janus.store.claims import Claim


class Heartbeat:
    """Writes the heartbeat of `claim`, which limits how often.

    It holds no reference to the run: streams call `on_batch`, and a cycle of references would keep
    a finished run's method in the memory of the device.
    """

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.facts: dict[str, Any] = {}
        """What `publish` was given last."""
        self.published = time.monotonic()
        """When that was, by the monotonic clock."""
        self.began_at: float | None = None
        """Time of day of the first heartbeat, when this attempt's first task begins."""
        self.batches_done = 0
        """Batches of this attempt, of whatever pass."""

    def publish(self, facts: dict[str, Any]) -> None:
        """Write where training stands: `facts` hold at least `seconds`, of training so far."""
        self.began_at = self.began_at or time.time()
        self.facts, self.published = facts | {"began_at": self.began_at}, time.monotonic()
        self.claim.beat(self.facts | {"batches_done": self.batches_done})

    def on_batch(self) -> None:
        """Count one batch; write the last facts again, with the seconds that have passed since."""
        self.batches_done += 1
        if self.facts:
            seconds = self.facts["seconds"] + time.monotonic() - self.published
            self.claim.beat(self.facts | {"seconds": seconds, "batches_done": self.batches_done})
