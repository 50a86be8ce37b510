"""The text of the job script: every path is quoted, every line of the profile's setup watched."""

from __future__ import annotations

import shlex
from typing import Any

import submitit

from cluster.launchers import leave_node
from cluster.record.profile import Profile
from cluster.record.submission import Submission

WATCH = r"""
export SLURM_OPEN_MODE=append  # a requeued task goes on in the same log
export SLURM_EXPORT_ENV=ALL  # srun hands on what is set here, whatever sbatch was told to export
janus_setup_failed() {  # status, line, depth: a line of profile.setup failed; end this task
  [ "$3" -le 1 ] && [ "$1" -ne 0 ] || return 0  # a line inside a sourced file; `exit 0`
  trap - ERR EXIT
  set +eu
  local lines line='one that ends the script (exit, set -e, set -u)' text job
  mapfile -t lines < "$0"
  [ "$2" -eq 0 ] || line=${lines[$2 - 1]}
  text="profile.setup: this line ended with status $1, so the task did not start: $line"
  text+=" (the log says why; where a failure does not matter, end the line with || true)"
  echo "$text" >&2
  text=${text//\\/\\\\}
  text=${text//\"/\\\"}
  text=${text//[[:cntrl:]]/ }
  job=$SLURM_JOB_ID
  [ -z "$SLURM_ARRAY_JOB_ID" ] || job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
  job+=.r${SLURM_RESTART_COUNT:-0}
  {
    printf '{"at": %(%s)T, "event": "task", "job": "%s"}\n' -1 "$job"
    printf '{"at": %(%s)T, "event": "check", "ok": false, "job": "%s", "node": "%s", ' \
      -1 "$job" "${SLURMD_NODENAME:-$HOSTNAME}"
    printf '"lines": ["%s"]}\n' "$text"
    printf '{"at": %(%s)T, "event": "end", "job": "%s", "why": "profile.setup failed"}\n' -1 "$job"
  } >> "$janus_events/$job-setup.jsonl"
  janus_leave_node 4  # the line may be fine on another node
  exit "$1"
}
trap 'janus_setup_failed $? $LINENO ${#BASH_SOURCE[@]}' ERR
trap 'janus_setup_failed $? 0 1' EXIT
# profile.setup"""
"""Before the profile's setup. Bash alone: what the setup should have brought may not be there."""

TRUST = """
# the task itself
trap - ERR
[[ $(trap -p EXIT) != *janus_setup_failed* ]] || trap - EXIT"""
"""After the setup. A trap that the setup has set for itself stays."""


class Writer(submitit.SlurmExecutor):  # type: ignore[misc]
    """submitit's SLURM executor for a dry run: it writes the script, also on a machine without
    SLURM.
    """

    @classmethod
    def affinity(cls) -> int:
        """Answers as on a machine that has `srun`, so that submitit writes the script."""
        return 1


def setup_lines(submission: Submission, profile: Profile) -> list[str]:
    """What the script does before Python starts."""
    code = shlex.quote(str(submission.code))
    return [
        *leave_node.first_lines(submission),
        f"janus_events={shlex.quote(str(submission.events))}",
        WATCH.strip(),
        *profile.setup,
        TRUST.strip(),
        f"export PYTHONPATH={code} PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1",
        "set +e  # whatever the task's exit status: the line after it looks at it",
    ]


def array_parameters(submission: Submission, profile: Profile) -> dict[str, Any]:
    """The profile in submitit's words."""
    flags = {key: value for key, value in profile.flags.items() if value is not False}
    wish = str(profile.flags.get("requeue", True)).lower()
    once = "no_requeue" in flags or wish in ("false", "no", "off")
    flags = {key: value for key, value in flags.items() if key not in ("requeue", "no_requeue")}
    memory = None if profile.mem_gb is None else f"{int(profile.mem_gb * 1024)}M"
    given = {
        "job_name": submission.id,
        "time": profile.minutes,
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "cpus_per_task": None if "cpus_per_gpu" in flags else profile.cpus,
        "mem": None if flags.keys() & {"mem_per_cpu", "mem_per_gpu"} else memory,
        "signal_delay_s": profile.warn_s,
        "array_parallelism": profile.tasks,
        "stderr_to_stdout": True,
        "wckey": None,  # submitit would name one, which sites that check them refuse
        "setup": setup_lines(submission, profile),
        "teardown": leave_node.last_lines(submission),
        "additional_parameters": {
            "chdir": str(submission.jobs),
            "output": leave_node.OUTPUT,
            **flags,
            **_gpus(profile),
            "no_requeue" if once else "requeue": True,
        },
    }
    return given


def _gpus(profile: Profile) -> dict[str, str]:
    """The one flag that asks for the GPUs of a task; {} for none."""
    if not profile.gpus:
        return {}
    amount = f"{profile.gpu_type}:{profile.gpus}" if profile.gpu_type else str(profile.gpus)
    if profile.gpus_by != "gres":
        return {profile.gpus_by: amount}
    others = [str(profile.flags["gres"])] if "gres" in profile.flags else []
    return {"gres": ",".join([f"gpu:{amount}", *others])}


def ray_parameters(submission: Submission, profile: Profile) -> dict[str, Any]:
    """submitit's parameters of a Ray job: one process on each of several nodes; the others go on
    when one ends.
    """
    given = array_parameters(submission, profile)
    more = {"no-kill": True, **given["additional_parameters"]}
    srun = ["--no-kill", "--wait=0", "--kill-on-bad-exit=0"]
    return given | {
        "nodes": profile.nodes,
        "ntasks_per_node": 1,
        "srun_args": srun,
        "additional_parameters": more,
    }


def script_text(submission: Submission, tasks: int, mode: str) -> str:
    """The sbatch script of an array of `tasks` tasks, or of a Ray cluster."""
    profile = submission.profile
    make = ray_parameters if mode == "ray" else array_parameters
    executor = Writer(submission.jobs, python=profile.python)
    executor.update_parameters(**make(submission, profile))
    if mode == "array" and tasks > 1:
        executor.parameters["map_count"] = tasks
    return str(executor._make_submission_file_text(executor._submitit_command_str, ""))
