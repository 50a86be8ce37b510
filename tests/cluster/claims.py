"""Submissions and claims as tasks on other nodes leave them."""

from __future__ import annotations

import json

from cluster.node.job import Job
from cluster.node.job_store import TaskStore
from cluster.record.profile import load_profile
from cluster.record.submission import create_submission
from cluster.scheduler.slurm_commands import Queued
from janus.store.processes import process_identity
from janus.store.store import Store

CODE = {"code": "abc", "cluster": "slurm", "mode": "array"}


def job(number="7", restart=0):
    return Job(number, f"{number}_0", restart, "node1")


def held_elsewhere(root, cell, holder, number=1):
    """A claim of `holder` whose process this machine cannot see."""
    store = TaskStore(root, holder)
    claim = store.claim(cell)
    path = store.run_dir(cell.id) / "claims" / f"{number:06d}.json"
    path.write_text(json.dumps({"owner": {**process_identity(), "host": "elsewhere"}}))
    return claim


def row(holder, state="RUNNING"):
    return Queued(holder.id, holder.name, state, holder.restart, "node1", "")


def held_without_a_job(root, cell, beat=None):
    """A claim of a `sweeps run` on another machine: no job is written beside it."""
    store = Store(root)
    claim = store.claim(cell)
    path = store.run_dir(cell.id) / "claims" / f"{claim.number:06d}.json"
    path.write_text(json.dumps({"owner": {**process_identity(), "host": "elsewhere"}}))
    if beat:
        claim.beat(beat, every_s=0)
    return claim


def submitted(root, cells, words="", **more):
    line = f"python -m cluster submit tiny {words}".strip()
    record = {**CODE, "command": line, **more}
    return create_submission(Store(root), "tiny", cells, {}, load_profile("default"), record)
