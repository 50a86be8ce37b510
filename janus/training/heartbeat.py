"""A run's heartbeat: published progress, by which other machines tell that it lives.

The work itself drives it: training by its steps, every other pass (evaluation, second passes,
features, alignment) by its batches. A thread that beats by the clock would make a run that hangs
look alive, and its cell would never be finished.
"""

from __future__ import annotations

import time
from typing import Any

from janus.store.store import Claim


class Pulse:
    """Publishes progress through `claim`, which decides how often.

    It does not know the run: tasks and streams hold `tick`, and a cycle of references would keep a
    finished run's method on the device.
    """

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.facts: dict[str, Any] = {}
        self.told = time.monotonic()
        self.began_at: float | None = None
        """Time of day of the first heartbeat, when this attempt's first task begins."""
        self.passed = 0
        """Batches worked through by this attempt, whatever for."""

    def beat(self, facts: dict[str, Any]) -> None:
        """Where training stands; its `seconds` go on with every `tick`."""
        self.began_at = self.began_at or time.time()
        self.facts, self.told = facts | {"began_at": self.began_at}, time.monotonic()
        self.claim.beat(self.facts | {"passed": self.passed})

    def tick(self) -> None:
        """One more batch was worked through."""
        self.passed += 1
        if self.facts:
            seconds = self.facts["seconds"] + time.monotonic() - self.told
            self.claim.beat(self.facts | {"seconds": seconds, "passed": self.passed})
