"""Seconds of a training step by part, measured at the seams that every method has.

    data           making the batch
    forward        the loss, less the two parts within it
    estimation     Online Estimation's look at the inputs, inside the forward pass
    loss           terms beside the cross-entropy
    backward       the gradients
    rectification  what `update` does besides the optimiser: rectify, project, filter
    optimiser      its step
    evaluation     prediction of as many images, at the run's precision

On a GPU every seam waits for the device, which the time of a whole step does not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch

from tests.helpers.bed import Bed, clock

NAMES = (
    "data",
    "forward",
    "estimation",
    "loss",
    "backward",
    "rectification",
    "optimiser",
    "evaluation",
)


class Parts:
    """A bed whose steps are timed part by part."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        self.seconds: dict[str, float] = defaultdict(float)
        method: Any = bed.method
        for name, within in (("_collect", "estimation"), ("extra_loss", "loss")):
            if hasattr(method, name):
                setattr(method, name, self._timed(getattr(method, name), within))
        optimizer = getattr(method, "optimizer", None)
        if optimizer is not None:
            optimizer.step = self._timed(optimizer.step, "optimiser")

    def step(self) -> dict[str, float]:
        """One step, with its data and the evaluation of a batch beside it."""
        bed, self.seconds = self.bed, defaultdict(float)
        self._run("data", self._take)
        loss = self._run("forward", bed.loss)
        self._run("backward", loss.backward)
        self._run("rectification", bed.method.update)
        self._run("evaluation", self._predict)
        found = {name: self.seconds[name] for name in NAMES}
        found["forward"] -= found["estimation"] + found["loss"]
        found["rectification"] -= found["optimiser"]
        return found

    def _take(self) -> None:
        self.bed.batch = self.bed.take()

    @torch.no_grad()
    def _predict(self) -> None:
        with self.bed.method.context.autocast():
            self.bed.method.predict(self.bed.batch.images)

    def _timed(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        return lambda *arguments: self._run(name, lambda: call(*arguments))

    def _run(self, name: str, call: Callable[[], Any]) -> Any:
        start = clock(self.bed.device)
        result = call()
        self.seconds[name] += clock(self.bed.device) - start
        return result


STEP = tuple(name for name in NAMES if name not in ("data", "evaluation"))
"""Parts that make up the step itself."""
