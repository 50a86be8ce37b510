"""What SLURM says about one task of an array, and not about its neighbours."""

from __future__ import annotations

import subprocess

from cluster.scheduler import slurm_commands
from tests.slurm.help import wait


def test_the_state_of_a_task_is_not_that_of_the_array(site, login):
    login()  # points SLURM's commands at the site
    words = ["sbatch", "--parsable", "--array=0-1", "-o", "/dev/null", "--wrap", "sleep 60"]
    array = subprocess.run(words, env=site.env, capture_output=True, text=True).stdout.strip()
    wait(lambda: sum(r.state == "RUNNING" for r in slurm_commands.queue()) == 2, 60, "both tasks")
    same = next(row.name for row in slurm_commands.queue() if row.id == array)
    other = next(row.name for row in slurm_commands.queue() if row.id != array)
    subprocess.run(["scancel", other], env=site.env, check=True)
    wait(lambda: slurm_commands.job_state(other) == "CANCELLED", 30, "the end of one")
    assert slurm_commands.job_state(same) == "RUNNING"
    assert slurm_commands.job_state("999999") == ""
