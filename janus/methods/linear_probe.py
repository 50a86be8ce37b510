"""Linear probe: linear heads on the frozen backbone's features, trained task after task.

Says how much of a method's accuracy the features give without any adaptation: SeqLoRA without the
LoRA.
"""

from __future__ import annotations

from janus.methods.base.heads_method import HeadsMethod
from janus.methods.base.precomputable import FixedFeatures


class LinearProbe(FixedFeatures, HeadsMethod):
    """Only the current head is trained; nothing changes the features that it reads."""
