"""The trackers that the execution option `tracker` names: ours, and those from outside.

To add a tracker: a file beside this one with the methods of `observer.Tracker`, a branch in
`make_tracker`, its name in `OUR_NAMES` (`janus/plugins.py`). From outside of this project:
`janus.plugins.register_tracker`.
"""

from __future__ import annotations

from janus.tracking import outside_trackers
from janus.tracking.observer import NoTracker, Tracker
from janus.tracking.wandb_account import wanted


def make_tracker(name: str) -> Tracker:
    """The tracker `name`. Raises ConfigError where the environment asks for what does not exist."""
    if wanted(name):
        from janus.tracking.wandb_tracker import Tracking

        return Tracking()
    if outside_trackers.is_outside(name):
        return outside_trackers.OutsideTracker(name)
    return NoTracker()
