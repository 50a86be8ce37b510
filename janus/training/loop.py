"""run_cell: the one training loop. Everything above calls it; it knows no scheduler.

Training state lives in checkpoints at task ends and, in long tasks, every `checkpoint_s` seconds.
A run killed at any instant and started again under the same numerics ends with the same bytes in
its result: batches are keyed, not drawn from a stateful generator, and the method restores bit for
bit.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Protocol

import torch
from torch import Tensor

from janus.config.cell import SCHEMA, Cell, cell_record
from janus.data import load_bench as benches
from janus.data.stream import Task, cut, tasks_of
from janus.errors import JanusError, RunError, cause_of
from janus.evaluation.accuracy import tree_bytes
from janus.evaluation.measurements import Measurements
from janus.machine.allocator import reuse_large_blocks
from janus.machine.provenance import (
    device_memory_bytes,
    machine,
    numerics,
    peak_memory_bytes,
    reset_peak_memory,
)
from janus.methods import make
from janus.methods.base.method import Context, Method
from janus.nn.vit import build_recorded
from janus.store.store import Claim, Store
from janus.training import checkpoint
from janus.training.backbone_fits import refuse_misfit
from janus.training.feature_cache import FeatureCache
from janus.training.heartbeat import Pulse
from janus.training.precompute import pass_once
from janus.training.step import take_step
from janus.weights import resolve

log = logging.getLogger(__name__)

CHECK_LOSS_EVERY = 20
"""Steps between looks at the loss; each look waits for the device."""

TELL_EVERY_S = 0.5
"""Seconds between two heartbeats, and between two steps that the observer hears of."""

CHECKPOINT_SHARE = 0.05
"""Most of a task's time that its checkpoints may take: SLCA's of a ViT-B hold 0.7 GB."""


class Observer(Protocol):
    """Hears of progress; whatever it raises is logged and ignored."""

    def notify(self, event: str, facts: Mapping[str, Any]) -> None:
        """`event`: start, begin, step, task, done or failed; `facts`: see the calls below."""


def run_cell(
    cell: Cell,
    store: Store,
    observer: Observer | None = None,
    *,
    device: str = "cpu",
    threads: int | None = None,
    checkpoint_s: float = 60.0,
    until_task: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    keep_final: bool = False,
) -> dict[str, Any] | None:
    """Train `cell`, resuming where an earlier attempt stopped, and return its committed result.

    Returns at once when the result exists, and None when stopped at `until_task` finished tasks or
    because `stop()`, asked after every step, held: the state is then in a checkpoint. With
    `keep_final` the trained method stays in the store: see `trained.py`.
    Raises RunError (cause `claimed` while another process works on the cell; `nan`, `disk-full`,
    `claim-lost`, ...) and DataError; the reason is then in the store and the claim given back.
    """
    if (done := store.result(cell.id)) is not None:
        return done
    if threads is not None:
        torch.set_num_threads(threads)
    claim = store.claim(cell)
    if claim is None:
        raise RunError(f"{cell.title} ({cell.id}) is run by {store.holder(cell.id)}", "claimed")
    run = _Run(cell, claim, observer, torch.device(device), checkpoint_s, stop, keep_final)
    try:
        if (done := store.result(cell.id)) is not None:
            return done  # another process finished it between our look and our claim
        result = run.train(until_task)
        if result is not None:
            store.drop_checkpoints(cell.id, keep=int(keep_final))
        return result
    except _Stopped:
        return None
    except Exception as error:
        run.note_failure(error)
        raise
    finally:
        _give_back(claim)


def _give_back(claim: Claim) -> None:
    """Release; on a full disk the end of this process frees the claim all the same."""
    try:
        claim.release()
    except (OSError, RunError) as error:
        log.warning("could not release claim %d of %s: %s", claim.number, claim.cell_id, error)


class _Stopped(Exception):  # noqa: N818 (not an error)
    """The run was asked to stop, and its state is saved."""


class _Run:
    """The state of one attempt."""

    def __init__(
        self,
        cell: Cell,
        claim: Claim,
        observer: Observer | None,
        device: torch.device,
        checkpoint_s: float,
        stop: Callable[[], bool],
        keep_final: bool,
    ) -> None:
        self.cell, self.claim, self.observer, self.device = cell, claim, observer, device
        self.pulse = Pulse(claim)
        self.checkpoint_s, self.stop, self.keep_final = checkpoint_s, stop, keep_final
        self.task_index = self.epoch = self.step = 0
        self.in_task = False
        self.seconds: list[float] = []
        self.spent = 0.0
        """Seconds spent on the current task by earlier attempts."""
        self.resumed_s = 0.0
        """Training seconds that earlier attempts left in the checkpoint."""
        self.numerics: list[dict[str, Any]] = []
        self.trained_parameters = 0
        self.last_save = self.last_step_note = time.monotonic()
        self.save_s = 0.0  # what the last checkpoint took to write

    # ---- set-up --------------------------------------------------------------------------------
    def train(self, until_task: int | None) -> dict[str, Any] | None:
        """All tasks that are left; commits at the end."""
        cell, claim = self.cell, self.claim
        machine()  # the code's git state is that of now, not of the end
        reset_peak_memory(self.device)
        reuse_large_blocks()
        found, data = resolve.verify(cell.backbone), benches.load(cell.bench)
        self.stream = cut(data, cell, self.device, self.pulse.tick)
        refuse_misfit(cell, self.stream, self.device)
        network, self.loaded = build_recorded(cell.backbone, self.device)
        self.method: Method = make(Context(cell, network, self.device))
        self.tasks = tasks_of(self.stream, self.method.joint)
        self.features = FeatureCache(claim.store.features, found + self.loaded.mark, data.sha256)
        self.measured = Measurements(self.method, self.stream, cell, self.device)
        self._resume()
        record = numerics(self.device)
        if record not in self.numerics:
            self.numerics.append(record)
        self._notify("start", {"cell": self._portable()} | self._so_far(self.seconds))
        while self.task_index < len(self.tasks):
            if until_task is not None and self.task_index >= until_task:
                return None
            if self.task_index and self.stop():
                raise _Stopped  # the task before left a checkpoint, or we resumed from one
            self._one_task()
        result, provenance = self._result(found, data.sha256), self._provenance()
        self.claim.commit(result, provenance, self.measured.images())
        self._notify("done", {"result": result, "provenance": provenance})
        return result

    def _resume(self) -> None:
        state = checkpoint.load_latest(self.claim)
        if state is None:
            return
        state = checkpoint.to_device(state, self.device)
        at = state["position"]
        self.task_index, self.epoch, self.step = at["task"], at["epoch"], at["step"]
        self.in_task = bool(self.epoch or self.step)
        self.seconds, self.numerics = state["seconds"], state["numerics"]
        self.spent = state["spent"]
        self.resumed_s = sum(self.seconds) + self.spent
        self.trained_parameters = state["trained_parameters"]
        self.measured.load_state_dict(state)
        task = self.tasks[self.task_index] if self.in_task else None
        self.method.load_state_dict(state["method"], task)
        log.info("%s resumes at task %d, epoch %d", self.cell.title, *list(at.values())[:2])

    # ---- one task ------------------------------------------------------------------------------
    def _one_task(self) -> None:
        self.task_started = time.monotonic()
        self._beat(self.tasks[self.task_index], None)
        self._pass_once(None)
        task = self.tasks[self.task_index]
        epochs = self.method.epochs(task)
        self._notify("begin", {"task": task.index, "tasks": len(self.tasks), "epochs": epochs})
        if not self.in_task:
            self.method.begin_task(task)
            self.trained_parameters = max(self.trained_parameters, self.method.trained_parameters())
        for epoch in range(self.epoch, epochs):
            self.epoch = epoch
            self._one_epoch(task)
            self.step = 0
        self._require_finite_state(task)
        self.method.end_task(task)
        self._pass_once(self.task_index)
        self._measure(task)
        self.task_index, self.epoch, self.step, self.in_task = self.task_index + 1, 0, 0, False
        self.seconds.append(self.spent + time.monotonic() - self.task_started)
        self.spent = 0.0
        if self.task_index < len(self.tasks) or self.keep_final:
            self._save()

    def _pass_once(self, ended: int | None) -> None:
        """Features in place of images, once the method's network no longer changes."""
        found = pass_once(self.stream, self.method, ended, self.features)
        if found is not self.stream:
            self.stream = self.measured.stream = found
            self.tasks = tasks_of(found, self.method.joint)

    def _one_epoch(self, task: Task) -> None:
        finite = torch.ones((), dtype=torch.bool, device=self.device)
        total = torch.zeros((), device=self.device)
        for batch in task.train_batches(self.epoch, self.step):
            total = take_step(self.method, batch)
            finite &= total.isfinite()
            self.step += 1
            if self.step % CHECK_LOSS_EVERY == 0:
                self._require_finite(finite, task)
            self._during(task, total, finite)
        self._require_finite(finite, task)

    def _require_finite(self, finite: Tensor, task: Task) -> None:
        if not bool(finite):
            raise RunError(
                f"training of {self.cell.title} reached NaN or infinity in task {task.index + 1}, "
                f"epoch {self.epoch + 1}, by step {self.step}; lower method.lr "
                f"(now {self.cell.method.values.get('lr')}) or look at the last checkpoint",
                cause="nan",
            )

    def _require_finite_state(self, task: Task) -> None:
        """The last update of a task is seen by no later loss: look at what it left."""
        tensors, _ = checkpoint.flatten(self.method.state_dict())
        finite = all(bool(t.isfinite().all()) for t in tensors.values() if t.is_floating_point())
        self._require_finite(torch.tensor(finite), task)

    def _during(self, task: Task, loss: Tensor, finite: Tensor) -> None:
        """Progress, heartbeat and mid-task checkpoint, at most a few times a second."""
        now = time.monotonic()
        if now - self.last_step_note > TELL_EVERY_S:
            self.last_step_note = now
            self._require_finite(finite, task)  # a heartbeat is JSON, which has no NaN
            self._beat(task, float(loss))
        stop = self.stop()
        wait = self.checkpoint_s and max(self.checkpoint_s, self.save_s / CHECKPOINT_SHARE)
        if stop or now - self.last_save > wait:
            self._require_finite(finite, task)
            self.in_task = True
            self._save()
        if stop:
            raise _Stopped

    def _beat(self, task: Task, loss: float | None) -> None:
        steps = task.steps_per_epoch
        done = self.epoch * steps + self.step
        facts = {
            "task": task.index,
            "tasks": len(self.tasks),
            "epoch": self.epoch,
            "epochs": task.epochs,
            "step": done,
            "steps": steps * task.epochs,
            "loss": loss,
            "accuracy": self.measured.accuracy(),
            "seconds_left": self._seconds_left(task, done / (steps * task.epochs)),
            # from these, work done twice can be counted after a crash
            "seconds": sum(self.seconds) + self.spent + time.monotonic() - self.task_started,
            "resumed_s": self.resumed_s,
        }
        self.pulse.beat(facts)
        if loss is not None:
            self._notify("step", facts)

    def _seconds_left(self, task: Task, share: float) -> float | None:
        """From the pace of the finished tasks, or of this one."""
        left = len(self.tasks) - self.task_index
        if self.seconds:
            return sum(self.seconds) / len(self.seconds) * (left - share)
        spent = self.spent + time.monotonic() - self.task_started
        return spent / share * (left - share) if share > 0.02 else None

    def _measure(self, task: Task) -> None:
        self.measured.after(task)
        accuracy = self.measured.accuracy()
        seconds = self.spent + time.monotonic() - self.task_started
        facts = {
            "task": task.index,
            "tasks": len(self.tasks),
            "accuracy": accuracy,
            "seconds": seconds,
            "seconds_left": self._seconds_left(task, 1.0),
        }
        self._notify("task", facts | self._so_far([*self.seconds, seconds]))

    def _so_far(self, seconds: list[float]) -> dict[str, Any]:
        """All that was measured, also by earlier attempts: an observer may have missed some."""
        return self.measured.matrices() | {"seconds_per_task": seconds}

    # ---- state ---------------------------------------------------------------------------------
    def _save(self) -> None:
        began = time.monotonic()
        name = f"{self.task_index:05d}-{self.epoch:05d}-{self.step:07d}"
        spent = self.spent + time.monotonic() - self.task_started if self.in_task else 0.0
        checkpoint.save(
            self.claim,
            name,
            {
                "position": {"task": self.task_index, "epoch": self.epoch, "step": self.step},
                "method": self.method.state_dict(),
                "seconds": self.seconds,
                "spent": spent,
                "numerics": self.numerics,
                "trained_parameters": self.trained_parameters,
            }
            | self.measured.state_dict(),
        )
        self.last_save = time.monotonic()
        self.save_s = self.last_save - began

    def _result(self, weight_hash: str, split: str) -> dict[str, Any]:
        """Deterministic facts only."""
        epochs = [self.method.epochs(task) for task in self.tasks]
        return {
            "schema": SCHEMA,
            "id": self.cell.id,
            "cell": self._portable(),
            "identity": self.cell.identity(),
            "weights_sha256": weight_hash,
            "split_sha256": split,
            "class_order": list(self.stream.order),
            "tasks": self.stream.describe(),
            **self.measured.facts(),
            "kept_bytes": tree_bytes(self.method.kept()),
            "trained_parameters": self.trained_parameters,
            "passes": sum(epochs) / len(epochs) + self.method.passes_beside_training,
        }

    def _portable(self) -> dict[str, Any]:
        """The cell without paths: a result must not depend on where files lie."""
        named = self.cell.identity()["backbone"]["weights"]
        return cell_record(self.cell) | {
            "bench": asdict(self.cell.bench) | {"root": None, "cache": None},
            "backbone": asdict(self.cell.backbone) | {"weights": named},
        }

    def _provenance(self) -> dict[str, Any]:
        return machine() | {
            "attempts": self.claim.number,
            "weights": self.loaded.facts(),
            "numerics": self.numerics,
            "resumed_under_other_numerics": len(self.numerics) > 1,
            "seconds_per_task": self.seconds,
            "seconds": sum(self.seconds),
            "peak_memory_bytes": peak_memory_bytes(self.device),
            "device_memory_bytes": device_memory_bytes(self.device),
            "committed_at": time.time(),
        }

    def note_failure(self, error: Exception) -> None:
        """Leave the reason in the store, if the store can still be written."""
        record = {
            "cause": cause_of(error),
            "message": str(error),
            "traceback": "" if isinstance(error, JanusError) else traceback.format_exc(),
            "task": self.task_index,
            "title": self.cell.title,
        }
        try:
            self.claim.fail(record)
        except (OSError, RunError) as second:
            log.error("could not note the failure of %s: %s", self.cell.title, second)
        self._notify("failed", record)

    def _notify(self, event: str, facts: Mapping[str, Any]) -> None:
        if self.observer is None:
            return
        try:
            self.observer.notify(event, facts)
        except Exception as error:  # a tracker may fail, a run may not
            log.warning("progress display failed (%s: %s); going on without", event, error)
            self.observer = None
