"""For losses that are no mean over images: a look at the whole batch before its parts are passed.

With `train.accumulate=N` a batch is passed in N parts (janus/training/step.py). A mean over images
adds up by itself; votes, pairs of images or statistics of a batch do not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from janus.data.stream import Batch


class WholeBatch(ABC):
    """A method some of whose loss, or of what it collects, depends on the batch as a whole."""

    @abstractmethod
    def begin_step(self, parts: list[Batch]) -> list[Batch]:
        """Prepare a step whose batch comes in several parts; returns the parts to pass.

        Called under autocast, before the first part. The returned parts may carry more, such as
        queries. `update` ends the step: forget there what was prepared here.
        """
