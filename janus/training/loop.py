"""run_cell: the one training loop, over tasks, epochs and steps. It knows no scheduler.

A run is saved at the end of every task and, in long tasks, every `checkpoint_s` seconds. A run that
was killed at any instant and is started again under the same numerics ends with the same bytes in
its result: batches are drawn by key, not by a generator with state, and a method is restored bit
for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from janus.config.cell import Cell
from janus.config.execution import Execution
from janus.data.stream import Task
from janus.errors import RunError
from janus.machine.devices import pick_device
from janus.store.store import Store
from janus.tracking.observer import Observer, Together
from janus.training.failure import note_failure, release
from janus.training.finite import require_finite, require_finite_method
from janus.training.result import without_paths, write_result
from janus.training.run_state import RunState
from janus.training.set_up import Run, set_up
from janus.training.step import take_step

CHECK_LOSS_EVERY = 20
"""Steps between looks at the loss; each look waits for the device."""

ON_CPU = Execution(device="cpu")


def run_cell(
    cell: Cell,
    store: Store,
    observer: Observer | None = None,
    execution: Execution = ON_CPU,
    *,
    until_task: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    **options: Any,
) -> dict[str, Any] | None:
    """Train `cell`, continuing where an earlier attempt stopped, and return its committed result.

    options: fields of `execution` that differ from it, such as `threads=1`. Results go into
    `store`. Returns at once when the result exists. Returns None when `until_task` tasks are
    finished, or when `stop()`, called after every step, is true; a checkpoint then holds the state.

    Raises RunError (cause `claimed` while another process works on the cell; `nan`, `disk-full`,
    `claim-lost`, ...), DataError and ConfigError. The reason is then in the store, and the claim is
    released.
    """
    if (done := store.result(cell.id)) is not None:
        return done
    execution = replace(execution, **options)
    execution = replace(execution, device=pick_device(execution.device))
    if execution.threads:
        torch.set_num_threads(execution.threads)
    claim = store.claim(cell)
    if claim is None:
        raise RunError(f"{cell.title} ({cell.id}) is run by {store.holder(cell.id)}", "claimed")
    state, observers = RunState(), Together(observer)
    try:
        if (done := store.result(cell.id)) is not None:
            return done  # another process finished it before we had the claim
        run = set_up(cell, claim, execution, observers, state)
        run.progress.run_started(without_paths(cell))
        if not train(run, until_task, stop, execution.keeps_final):
            return None
        result = write_result(run)
        store.drop_checkpoints(cell.id, keep=int(execution.keeps_final))
        return result
    except Exception as error:
        note_failure(error, cell, claim, state.task, observers)
        raise
    finally:
        release(claim)


def train(run: Run, until_task: int | None, stop: Callable[[], bool], save_last: bool) -> bool:
    """Train the tasks that are left; returns whether all are finished.

    save_last: whether a checkpoint is written after the last task, too.
    """
    state = run.state
    while state.task < len(run.tasks):
        if until_task is not None and state.task >= until_task:
            return False
        if state.task and stop():  # a checkpoint holds all tasks before this one
            return False
        if not train_task(run, stop):
            return False
        if state.task < len(run.tasks) or save_last:
            run.checkpoints.save()
    return True


def train_task(run: Run, stop: Callable[[], bool]) -> bool:
    """Train and measure the current task; returns whether it is finished."""
    method, state = run.method, run.state
    state.start_task()
    run.progress.task_reached(run.tasks[state.task])
    run.precompute(ended=None)
    task = run.tasks[state.task]
    epochs = method.epochs(task)
    run.progress.task_begun(task, epochs)
    if not state.in_task:
        method.begin_task(task)
        state.trained_parameters = max(state.trained_parameters, method.trained_parameters())
    for epoch in range(state.epoch, epochs):
        state.epoch = epoch
        if not train_epoch(run, task, stop):
            return False
        state.step = 0
    require_finite_method(method, run.cell, task, state)
    method.end_task(task)
    run.precompute(ended=state.task)
    run.measured.after(task)
    run.progress.task_measured(task)
    state.finish_task()
    return True


def train_epoch(run: Run, task: Task, stop: Callable[[], bool]) -> bool:
    """Make the steps that are left of the current epoch; returns whether all are made."""
    state = run.state
    finite = torch.ones((), dtype=torch.bool, device=run.device)
    for batch in task.train_batches(state.epoch, state.step):
        loss = take_step(run.method, batch)
        state.step += 1
        finite &= loss.isfinite()
        if state.step % CHECK_LOSS_EVERY == 0:
            require_finite(finite, run.cell, task, state)
        if run.progress.step_is_due():
            require_finite(finite, run.cell, task, state)  # a heartbeat is JSON, without NaN
            run.progress.step_done(task, float(loss))
        stopping = stop()
        if stopping or run.checkpoints.due():
            require_finite(finite, run.cell, task, state)
            state.in_task = True
            run.checkpoints.save()
        if stopping:
            return False
    require_finite(finite, run.cell, task, state)
    return True
