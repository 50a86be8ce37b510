"""The places that run tasks, by the name that `cluster=` takes."""

from __future__ import annotations

from cluster.launchers.launcher import Launcher
from cluster.launchers.local import Local
from cluster.launchers.slurm import Slurm
from cluster.record.submission import Submission
from janus.errors import ClusterError, suggest

LAUNCHERS: dict[str, Launcher] = {"slurm": Slurm(), "local": Local()}
"""{name: launcher}; the first is used where none is named."""


def launcher_of(submission: Submission) -> Launcher:
    """The launcher that started a submission. Raises ClusterError where it is not known here."""
    name = str(submission.record["cluster"])
    if name not in LAUNCHERS:
        raise ClusterError(
            f"{submission.id} was submitted with cluster={name}.{suggest(name, LAUNCHERS)}"
        )
    return LAUNCHERS[name]
