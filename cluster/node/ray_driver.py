"""`python -m cluster.node.ray_driver FOLDER`: the sweep's driver on the head of a Ray cluster.

The same rounds as on one machine (`sweeps.execution.rounds`). What is added: Ray tells when a
worker process died, so the claim it left on another node is freed at once instead of after a lease.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import ray

from cluster.node.job import here
from cluster.node.job_store import TaskStore
from cluster.node.stage_data import staged
from cluster.record.submission import Events, Submission
from cluster.scheduler import slurm_commands
from janus.config.cell import Cell
from janus.errors import ClusterError
from janus.store.store import Store
from sweeps.execution.attempt import Outcome
from sweeps.execution.ray_pool import RayPool
from sweeps.execution.rounds import OnOutcome, drive
from sweeps.spec.by_status import by_status


def main(folder: Path) -> int:
    """Train what is open on the nodes of this allocation."""
    submission, job = Submission(folder), here()
    again = any(submission.events.glob(f"{job.name}.r*-driver.jsonl"))
    events = Events(submission.events / f"{job.label}-driver.jsonl", job=job.label)
    submission.include_outside()
    store = TaskStore(submission.store, job)
    cells = [staged(cell, submission.profile) for cell in submission.work[0]]
    wait_for_nodes(submission.profile.nodes, events)

    def on_cell_end(outcome: Outcome) -> None:
        facts = {"cause": outcome.cause} if outcome.cause else {}
        events.note(
            outcome.status, cell=outcome.cell_id, seconds=round(outcome.seconds, 1), **facts
        )

    freed = free_ended(store, [cell.id for cell in cells])
    if again:
        freed += free_stalled(store, [cell.id for cell in cells])
    if again or freed:
        events.note("freed", cells=len(freed))
    with RayPool(store, None, submission.execution, sweep=cells) as pool:
        from cluster.node.job_trial import (
            JobTrial,  # with Tune, now that Ray's workers are starting
        )

        pool.trial = JobTrial
        events.note("ready", workers=pool.workers)

        def run_round(todo: Sequence[Cell], on_outcome: OnOutcome) -> None:
            def free_and_pass_on(outcome: Outcome) -> bool:
                if outcome.status == "crashed":
                    number = store.last_claim(outcome.cell_id)
                    store.trust(outcome.cell_id, number, store.beat(outcome.cell_id))
                return on_outcome(outcome)

            for cell in todo:
                events.note("cell", cell=cell.id, title=cell.title)
            pool.run(todo, free_and_pass_on)

        drive(cells, store, run_round, on_cell_end)
    return 0


def free_ended(store: TaskStore, cell_ids: Sequence[str]) -> list[str]:
    """Free the claims of jobs that SLURM no longer runs, and of earlier starts of this one."""
    held = by_status(cell_ids, store).running
    try:
        return store.free_the_dead(held, slurm_commands.queue()) if held else []
    except ClusterError:
        return []  # no squeue on this node: their heartbeats have to do


def free_stalled(store: Store, cell_ids: Sequence[str], watch_s: float = 15.0) -> list[str]:
    """Free what the driver before us left: claims that make no progress while we look.

    SLURM or Ray ended those processes, mostly on other nodes, where the store cannot see it. A
    holder that lives on all the same sees the higher claim at its next checkpoint and stops.
    """
    held = by_status(cell_ids, store).running
    before = {cell_id: (store.last_claim(cell_id), store.beat(cell_id)) for cell_id in held}
    time.sleep(watch_s if held else 0.0)
    freed = []
    for cell_id, (number, beat) in before.items():
        if (store.last_claim(cell_id), store.beat(cell_id)) == (number, beat):
            store.trust(cell_id, number, beat)
            freed.append(cell_id)
    return freed


def wait_for_nodes(count: int, events: Events, patience_s: float = 120.0) -> None:
    """Nodes join one after another; start with all of them, or with those there are."""
    ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False, logging_level=logging.ERROR)
    deadline = time.monotonic() + patience_s
    while True:
        alive = sum(bool(node["Alive"]) for node in ray.nodes())
        if alive >= count or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    ray.shutdown()
    events.note("nodes", alive=alive, wanted=count)


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    try:
        sys.exit(main(Path(sys.argv[1])))
    except KeyboardInterrupt:
        sys.exit(130)
