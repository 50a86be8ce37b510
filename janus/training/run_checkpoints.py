"""The checkpoints of a run: what they hold, when one is due, and how a run continues from one."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import torch

from janus.data.stream import Task
from janus.evaluation.measurements import Measurements
from janus.methods.base.method import Method
from janus.store.claims import Claim
from janus.training import checkpoint
from janus.training.run_state import RunState

log = logging.getLogger(__name__)

CHECKPOINT_SHARE = 0.05
"""Most of a task's time that its checkpoints may take: SLCA's of a ViT-B hold 0.7 GB."""


class RunCheckpoints:
    """Saves method, measurements and state of a run under its claim."""

    def __init__(
        self,
        claim: Claim,
        checkpoint_s: float,
        method: Method,
        measured: Measurements,
        state: RunState,
    ) -> None:
        """`checkpoint_s`: seconds between checkpoints inside a task; 0: one after every step."""
        self.claim, self.checkpoint_s = claim, checkpoint_s
        self.method, self.measured, self.state = method, measured, state
        self.last_save = time.monotonic()
        self.save_s = 0.0
        """Seconds that the last checkpoint took to write."""

    def due(self) -> bool:
        """Whether the last checkpoint is old enough, also for the time that one takes."""
        wait = self.checkpoint_s and max(self.checkpoint_s, self.save_s / CHECKPOINT_SHARE)
        return time.monotonic() - self.last_save > wait

    def save(self) -> None:
        """Write a checkpoint; its name sorts by task, epoch and step."""
        began, state = time.monotonic(), self.state
        tree = {"method": self.method.state_dict(), **state.state_dict()}
        name = f"{state.task:05d}-{state.epoch:05d}-{state.step:07d}"
        checkpoint.save_checkpoint(self.claim, name, tree | self.measured.state_dict())
        self.last_save = time.monotonic()
        self.save_s = self.last_save - began

    def restore(self, tasks: Sequence[Task], device: torch.device) -> None:
        """Continue from the furthest readable checkpoint, if there is one."""
        tree = checkpoint.load_latest(self.claim)
        if tree is None:
            return
        tree = checkpoint.tree_to_device(tree, device)
        self.state.load_state_dict(tree)
        self.measured.load_state_dict(tree)
        task = tasks[self.state.task] if self.state.in_task else None
        self.method.load_state_dict(tree["method"], task)
        log.info("%s resumes at %s", self.claim.cell_id, self.state.position())
