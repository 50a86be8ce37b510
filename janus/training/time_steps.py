"""A guess of how long a cell will train, from two steps of its first task.

For plans on hardware where nothing comparable was ever finished. The first step warms up, the
second is timed; what surrounds training (begin, end, evaluation of the first task) is timed as it
is. Later tasks may cost more than the first, and features that are kept beside the runs would spare
passes: a guess, replaced by the first finished cell.
"""

from __future__ import annotations

import time
from itertools import islice
from typing import Any

import torch

from janus.config.cell import Cell
from janus.data import load_bench as benches
from janus.data.stream import Task, cut, tasks_of
from janus.evaluation.measurements import Measurements
from janus.machine.provenance import (
    device_memory_bytes,
    numerics,
    peak_memory_bytes,
    reset_peak_memory,
)
from janus.methods import make_method
from janus.methods.base.method import Context, Method
from janus.nn.vit import build_backbone
from janus.training.step import take_step


def time_cell(cell: Cell, device: str = "cpu", threads: int = 1) -> dict[str, Any]:
    """{`seconds_per_task`, `numerics`, `peak_memory_bytes`, `device_memory_bytes`}, as provenance.

    Nothing is written and no claim is taken. Raises as `run_cell` does.
    """
    torch.set_num_threads(threads)
    where = torch.device(device)
    reset_peak_memory(where)
    stream = cut(benches.load_images(cell.bench), cell, where)
    method = make_method(Context(cell, build_backbone(cell.backbone, where), where))
    tasks = tasks_of(stream, method.joint)
    began = _clock(where)
    method.begin_task(tasks[0])
    begin = _clock(where) - began
    step = _second_step(method, tasks[0], where) if method.epochs(tasks[0]) else 0.0
    began = _clock(where)
    method.end_task(tasks[0])
    end = _clock(where) - began
    Measurements(method, stream, cell, where).after(tasks[0])
    measure = _clock(where) - began - end
    seconds = [
        begin + step * task.steps_per_epoch * method.epochs(task) + end + measure * (index + 1)
        for index, task in enumerate(tasks)  # after task t, t + 1 test sets are looked at
    ]
    return {
        "seconds_per_task": seconds,
        "seconds": sum(seconds),
        "numerics": [numerics(where)],
        "peak_memory_bytes": peak_memory_bytes(where),
        "device_memory_bytes": device_memory_bytes(where),
    }


def _second_step(method: Method, task: Task, device: torch.device) -> float:
    """Seconds of the second training step, or of the only one."""
    seconds = 0.0
    for batch in islice(task.train_batches(0), 2):
        began = _clock(device)
        take_step(method, batch)
        seconds = _clock(device) - began
    return seconds


def _clock(device: torch.device) -> float:
    """Seconds, once the device has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()
