"""A Ray worker inside SLURM names its job in the claims that it makes."""

from __future__ import annotations

from cluster.node.job_store import holder_of
from cluster.node.job_trial import JobTrial
from janus.store.store import Store
from tests.conftest import toy_cell


def test_the_claim_of_a_ray_worker_names_the_job_that_started_ray(tmp_path, monkeypatch):
    job = {"SLURM_JOB_ID": "31", "SLURM_RESTART_COUNT": "2", "SLURMD_NODENAME": "node5"}
    for key, value in job.items():
        monkeypatch.setenv(key, value)
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    cell = toy_cell()
    worker = JobTrial.__new__(JobTrial)  # without Ray
    worker.open_store(str(tmp_path)).claim(cell)
    found = holder_of(Store(tmp_path), cell.id)
    assert found == {"id": "31", "name": "31", "restart": 2, "node": "node5"}
