"""`status`, `watch`, `logs`, `cancel`: look after what was submitted."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from cluster import sweep_status
from cluster.launchers import launcher_of
from cluster.record.submission import Submission
from janus.errors import ClusterError, ConfigError
from sweeps.show.console import print_line

WATCH_S = 10.0
"""Seconds between two prints of `watch`; each asks SLURM's controller once."""


def status(found: Sequence[Submission], words: Sequence[str]) -> int:
    """Print how a sweep's submissions are doing."""
    now = sweep_status.status_of(found)
    print_line(now.text)
    return 0 if now.complete else 3


def watch(found: Sequence[Submission], words: Sequence[str]) -> int:
    """Print how the submissions are doing, again and again; ending this ends nothing else."""
    printed = ""
    while True:
        now = sweep_status.status_of(found)
        if now.text != printed:
            print_line(f"{time.strftime('%H:%M:%S')} {now.text}")
            sys.stdout.flush()
        if now.complete or now.over:
            return 0 if now.complete else 3
        printed = now.text
        time.sleep(WATCH_S)


def logs(found: Sequence[Submission], words: Sequence[str]) -> int:
    """Print what tasks wrote about a cell."""
    if len(words) != 1:
        raise ConfigError("which cell? python -m cluster logs SWEEP CELL (the start of its id)")
    print_line(sweep_status.logs_of(found, words[0]))
    return 0


def cancel(found: Sequence[Submission], words: Sequence[str]) -> int:
    """End the tasks of the submissions; their cells keep their checkpoints."""
    ended, queued = 0, sweep_status.queues(found)
    for submission in found:
        launcher, rows = launcher_of(submission), queued[submission.record["cluster"]]
        if isinstance(rows, ClusterError):
            raise rows
        if launcher.tasks(submission, rows).over:
            continue
        launcher.cancel(submission)
        ended += 1
        print_line(f"cancelled {submission.id}; to go on later: {submission.record['command']}")
    if not ended:
        print_line(f"nothing to cancel: no task of {found[0].record['sweep']} waits or runs")
    return 0
