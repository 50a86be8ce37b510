"""The trackers that the execution option `tracker` names. To add one, give it a branch here."""

from __future__ import annotations

from janus.tracking.observer import NoTracker, Tracker
from janus.tracking.wandb_account import wanted


def make_tracker(name: str) -> Tracker:
    """The tracker `name`. Raises ConfigError where the environment asks for what does not exist."""
    if wanted(name):
        from janus.tracking.wandb_tracker import Tracking

        return Tracking()
    return NoTracker()
