"""A Ray worker inside SLURM: its claims name the job, so the queue can tell when it is dead."""

from __future__ import annotations

from cluster.node.job import here
from cluster.node.job_store import JobStore
from janus.store.store import Store
from sweeps.execution.ray_trial import CellTrial


class JobTrial(CellTrial):
    """As `CellTrial`. Ray's worker processes have the variables of the job that started Ray."""

    def open_store(self, root: str) -> Store:
        """A store whose claims name this job."""
        return JobStore(root, here())
