"""Joint linear probe: one linear head on frozen features, trained on all tasks' data at once."""

from __future__ import annotations

from janus.methods.linear_probe import LinearProbe


class JointProbe(LinearProbe):
    """All-class cross-entropy in one task: the upper bound of what frozen features give a head."""

    joint = True
