"""The lines of a job's script that leave a node which cannot train.

`first_lines` come before all others: a node that does not see the store can write no log and start
nothing of ours. `last_lines` come after the task: see `leave_node.sh`.
"""

from __future__ import annotations

import re
import shlex

from cluster.record.submission import Submission

OUTPUT = "/dev/null"
"""Of the job's script: SLURM fails a job whose log it cannot open. `first_lines` open the log."""

FIRST = """\
janus_job=$SLURM_JOB_ID
[ -z "$SLURM_ARRAY_JOB_ID" ] || janus_job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
if [ -w JOBS ]; then
  exec >>JOBS/"${janus_job}_0_log.out" 2>&1
else  # without this node; three starts at most
  trap '' TERM
  janus_without=$(scontrol --oneliner show job "$janus_job" |
    sed -n 's/.* ExcNodeList=\\([^ ]*\\).*/\\1/p')
  janus_without=$SLURMD_NODENAME,${janus_without#(null)}
  scontrol update JobId="$janus_job" Comment="$SLURMD_NODENAME does not see "JOBS
  if [ "${SLURM_RESTART_COUNT:-0}" -lt 2 ] && scontrol requeue "$janus_job"; then
    scontrol update JobId="$janus_job" ExcNodeList="${janus_without%,}"
    sleep 60  # until SLURM ends this start
  fi
  exit 4
fi
janus_leave_node() {  # exit status of the task; the script lives on until this node is left out
  trap '' TERM
  [ -r SCRIPT ] || return "$1"
  bash SCRIPT FOLDER "$1"
}"""


def first_lines(submission: Submission) -> list[str]:
    """Write to the log, or go to another node where the folder of the logs is not seen."""
    script = submission.code.joinpath(*__name__.split(".")).with_suffix(".sh")
    paths = {"JOBS": submission.jobs, "SCRIPT": script, "FOLDER": submission.folder}
    return [re.sub("|".join(paths), lambda word: shlex.quote(str(paths[word[0]])), FIRST)]


def last_lines(submission: Submission) -> list[str]:
    """After the task: a node that could not train is left out."""
    return ["janus_leave_node $?"]
