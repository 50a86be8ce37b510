"""The result of a run and its provenance, and how they are committed."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from janus.config.cell import SCHEMA, Cell, cell_record
from janus.evaluation.accuracy import tree_bytes
from janus.machine.provenance import device_memory_bytes, machine, peak_memory_bytes
from janus.training.set_up import Run


def write_result(run: Run) -> dict[str, Any]:
    """Write the result of a run whose tasks are all finished, and return it. Event: `done`."""
    result, provenance = make_result(run), make_provenance(run)
    run.claim.commit(result, provenance, run.measured.images())
    run.observer.notify("done", {"result": result, "provenance": provenance})
    return result


def make_result(run: Run) -> dict[str, Any]:
    """Deterministic facts only: two runs of a cell under equal numerics have equal bytes."""
    cell, method = run.cell, run.method
    epochs = [method.epochs(task) for task in run.tasks]
    return {
        "schema": SCHEMA,
        "id": cell.id,
        "cell": without_paths(cell),
        "identity": cell.identity(),
        "weights_sha256": run.weights_sha256,
        "split_sha256": run.features.split_sha256,
        "class_order": list(run.stream.order),
        "tasks": run.stream.describe(),
        **run.measured.facts(),
        "kept_bytes": tree_bytes(method.kept()),
        "trained_parameters": run.state.trained_parameters,
        "passes": sum(epochs) / len(epochs) + method.passes_beside_training,
    }


def make_provenance(run: Run) -> dict[str, Any]:
    """How the result came about: machine, versions, seconds, bytes."""
    state = run.state
    return machine() | {
        "attempts": run.claim.number,
        "weights": run.loaded.facts(),
        "numerics": state.numerics,
        "resumed_under_other_numerics": len(state.numerics) > 1,
        "seconds_per_task": state.seconds,
        "seconds": sum(state.seconds),
        "peak_memory_bytes": peak_memory_bytes(run.device),
        "device_memory_bytes": device_memory_bytes(run.device),
        "committed_at": time.time(),
    }


def without_paths(cell: Cell) -> dict[str, Any]:
    """The cell without paths: a result must not depend on where files lie."""
    named = cell.identity()["backbone"]["weights"]
    return cell_record(cell) | {
        "bench": asdict(cell.bench) | {"root": None, "cache": None},
        "backbone": asdict(cell.backbone) | {"weights": named},
    }
