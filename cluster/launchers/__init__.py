"""The places that run tasks, by the name that `cluster=` takes."""

from __future__ import annotations

from cluster.launchers.launcher import Launcher
from cluster.launchers.local import Local
from cluster.launchers.outside_launchers import OutsideLauncher
from cluster.launchers.slurm import Slurm
from cluster.record.submission import Submission
from janus import plugins
from janus.errors import ClusterError, suggest

LAUNCHERS: dict[str, Launcher] = {"slurm": Slurm(), "local": Local()}
"""{name: launcher} of this project; the first is used where none is named."""


def launcher_names() -> list[str]:
    """What `cluster=` can be: our own and those that modules registered."""
    return [*LAUNCHERS, *plugins.plugin_names("launcher")]


def launcher_named(name: str) -> Launcher:
    """The launcher of this name. Raises ClusterError where it is not known here."""
    return LAUNCHERS[name] if name in LAUNCHERS else OutsideLauncher(name)


def launcher_of(submission: Submission) -> Launcher:
    """The launcher that started a submission. Raises ClusterError where it is not known here."""
    name = str(submission.record["cluster"])
    if name not in launcher_names():
        raise ClusterError(
            f"{submission.id} was submitted with cluster={name}.{suggest(name, launcher_names())} "
            "A launcher of your own: name its module with --include PATH"
        )
    return launcher_named(name)
