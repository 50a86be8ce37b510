"""Ends a run whose training reached NaN or infinity, before that gets into a checkpoint."""

from __future__ import annotations

from torch import Tensor

from janus.config.cell import Cell
from janus.data.stream import Task
from janus.errors import RunError
from janus.methods.base.method import Method
from janus.training import checkpoint
from janus.training.run_state import RunState


def require_finite(finite: Tensor | bool, cell: Cell, task: Task, state: RunState) -> None:
    """Raise RunError (cause `nan`) where `finite`, one bool on any device, does not hold."""
    if not bool(finite):
        raise RunError(
            f"training of {cell.title} reached NaN or infinity in task {task.index + 1}, "
            f"epoch {state.epoch + 1}, by step {state.step}; lower method.lr "
            f"(now {cell.method.values.get('lr')}) or look at the last checkpoint",
            cause="nan",
        )


def require_finite_method(method: Method, cell: Cell, task: Task, state: RunState) -> None:
    """The same for all tensors of the method: no loss follows a task's last update."""
    tensors, _ = checkpoint.flatten(method.state_dict())
    finite = all(bool(t.isfinite().all()) for t in tensors.values() if t.is_floating_point())
    require_finite(finite, cell, task, state)
