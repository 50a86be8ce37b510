"""Linear probe: linear heads on the frozen backbone's features, trained task after task.

Says how much of a method's accuracy the features give without any adaptation: SeqLoRA without the
LoRA.
"""

from __future__ import annotations

from typing import Literal

from janus.methods.base.heads_method import HeadsMethod


class LinearProbe(HeadsMethod):
    """Only the current head is trained."""

    @property
    def frozen_features(self) -> Literal["pretrained"]:
        """Always: heads read the features, nothing changes them."""
        return "pretrained"
