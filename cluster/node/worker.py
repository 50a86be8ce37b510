"""`python -m cluster.node.worker FOLDER INDEX WORKERS SLOT`: train cells of a submission, one by
one.

A process of its own, so that a crash in one cell (memory, a native fault) ends neither the task
nor its neighbours. Started by `cluster.node.slurm_task`, which passes on the request to stop.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.node.job import StopFlag, here
from cluster.node.job_store import TaskStore
from cluster.node.next_cell import own_order, pick
from cluster.node.node_check import UNFIT, check_torch
from cluster.node.stage_data import staged
from cluster.record.submission import Events, Submission
from cluster.scheduler import slurm_commands
from janus.config.cell import Cell
from janus.config.execution import Execution
from janus.errors import ClusterError, ConfigError, DataError
from janus.machine.devices import for_one_of_several
from janus.weights import resolve
from sweeps.execution.attempt import attempt


class FirstSteps:
    """Observer that records the first training step of each cell."""

    def __init__(self, events: Events, cell: Cell) -> None:
        self.events, self.cell, self.waiting = events, cell, True

    def notify(self, event: str, facts: Mapping[str, Any]) -> None:
        """Note the first step of this attempt."""
        if event == "step" and self.waiting:
            self.waiting = False
            at = {key: facts[key] for key in ("task", "step")}
            self.events.note("first-step", cell=self.cell.id, **at)


def work(submission: Submission, index: int, workers: int, slot: int, stop: StopFlag) -> None:
    """Train cells until none is left or `stop` holds."""
    job = here()
    events = Events(submission.events / f"{job.label}-{slot}.jsonl", job=job.label, slot=slot)
    store = TaskStore(submission.store, job)
    profile = submission.profile
    cells, retry = submission.work
    share = len(cells[index::workers])
    events.note("worker", index=index, workers=workers)
    try:
        submission.include_outside()
        told = check_torch(profile)
        resolve.check_weight_files(cell.backbone for cell in cells)
        events.note("ready", torch=told)
    except (ClusterError, ConfigError, DataError) as error:
        events.note("check", ok=False, node=job.node, lines=[str(error)])
        sys.exit(UNFIT)
    execution = for_one_of_several(submission.execution)

    def wait(held: Sequence[str]) -> list[str]:
        return await_held(held, store, events, stop)

    for cell in pick(
        own_order(cells, index, workers), retry, store, share, slurm_commands.queue, wait
    ):
        if stop():
            return
        _train(staged(cell, profile), store, events, stop, execution)
        if stop():
            return


def await_held(
    held: Sequence[str], store: TaskStore, events: Events, stop: Callable[[], bool]
) -> list[str]:
    """Wait for those of the cells that may soon be free; returns the ones that then are."""
    try:
        rows = slurm_commands.queue()
    except ClusterError:
        rows = []  # no SLURM to ask: nothing is known of jobs, and a heartbeat tells of the others
    if not (waiting := store.undecided(held, rows)):
        return []
    events.note("waiting", cells=waiting, holders=sorted(map(store.holder, waiting)))
    try:
        freed = store.await_free(waiting, slurm_commands.queue, stop)
    except ClusterError:
        freed = []
    events.note("waited", freed=freed)
    return freed


def _train(
    cell: Cell,
    store: TaskStore,
    events: Events,
    stop: StopFlag,
    execution: Execution,
) -> None:
    from janus.training.loop import run_cell

    events.note("cell", cell=cell.id, title=cell.title)
    outcome = attempt(
        cell,
        store,
        lambda: run_cell(cell, store, FirstSteps(events, cell), execution, stop=stop),
    )
    stopped = outcome.status == "busy" and not outcome.cause
    if stopped:
        store.note_end(cell.id, f"stopped by {stop.signal}")
    events.note(
        "stopped" if stopped else outcome.status,
        cell=cell.id,
        seconds=round(outcome.seconds, 2),
        **({"cause": outcome.cause, "message": outcome.message} if outcome.cause else {}),
    )


def main(words: list[str]) -> None:
    """What the task starts."""
    folder, index, workers, slot = words
    work(Submission(Path(folder)), int(index), int(workers), int(slot), StopFlag().install())


if __name__ == "__main__":
    main(sys.argv[1:])
