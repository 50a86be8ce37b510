"""Prepares one attempt at a cell: data, network, method, measurements, and the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from janus.config.cell import Cell
from janus.config.execution import Execution
from janus.data import load_bench as benches
from janus.data.stream import Stream, Task, cut, tasks_of
from janus.evaluation.measurements import Measurements
from janus.machine.allocator import reuse_large_blocks
from janus.machine.provenance import machine, numerics, reset_peak_memory
from janus.methods import make_method
from janus.methods.base.method import Context, Method
from janus.nn.vit import build_recorded
from janus.store.claims import Claim
from janus.tracking.observer import Observer
from janus.training.backbone_fits import refuse_misfit
from janus.training.feature_cache import FeatureCache
from janus.training.heartbeat import Heartbeat
from janus.training.precompute import pass_once
from janus.training.progress import Progress
from janus.training.run_checkpoints import RunCheckpoints
from janus.training.run_state import RunState
from janus.weights import resolve
from janus.weights.fit import Record


@dataclass
class Run:
    """The parts of one attempt at a cell."""

    cell: Cell
    claim: Claim
    device: torch.device
    stream: Stream
    tasks: tuple[Task, ...]
    """The stream's tasks; one with all images for methods that train on all at once."""
    method: Method
    measured: Measurements
    state: RunState
    progress: Progress
    checkpoints: RunCheckpoints
    observer: Observer
    features: FeatureCache
    weights_sha256: str
    loaded: Record
    """How the weights were put into the network."""

    def precompute(self, ended: int | None) -> None:
        """Replace images by features of networks that no longer change; see `pass_once`."""
        found = pass_once(self.stream, self.method, ended, self.features)
        if found is not self.stream:
            self.stream = self.measured.stream = found
            self.tasks = tasks_of(found, self.method.joint)


def set_up(
    cell: Cell, claim: Claim, execution: Execution, observer: Observer, state: RunState
) -> Run:
    """Load everything that training needs, and continue `state` from the last checkpoint.

    Raises DataError and ConfigError where data, weights and method do not fit together.
    """
    device, heartbeat = torch.device(execution.device), Heartbeat(claim)
    machine()  # reads the state of the code's git now: it may change until the run ends
    reset_peak_memory(device)
    reuse_large_blocks()
    weights_sha256, data = resolve.verify_weights(cell.backbone), benches.load_images(cell.bench)
    stream = cut(data, cell, device, heartbeat.on_batch)
    refuse_misfit(cell, stream, device)
    network, loaded = build_recorded(cell.backbone, device)
    method = make_method(Context(cell, network, device))
    tasks = tasks_of(stream, method.joint)
    measured = Measurements(method, stream, cell, device)
    checkpoints = RunCheckpoints(claim, execution.checkpoint_s, method, measured, state)
    checkpoints.restore(tasks, device)
    if (record := numerics(device)) not in state.numerics:
        state.numerics.append(record)
    return Run(
        cell=cell,
        claim=claim,
        device=device,
        stream=stream,
        tasks=tasks,
        method=method,
        measured=measured,
        state=state,
        progress=Progress(heartbeat, observer, measured, state, len(tasks)),
        checkpoints=checkpoints,
        observer=observer,
        features=FeatureCache(claim.store.features, weights_sha256 + loaded.mark, data.sha256),
        weights_sha256=weights_sha256,
        loaded=loaded,
    )
