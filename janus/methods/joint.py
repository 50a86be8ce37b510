"""Joint training: one LoRA on all tasks' data at once. An upper bound, not a continual learner."""

from __future__ import annotations

from janus.methods.base.lora_method import LoraMethod


class JointLora(LoraMethod):
    """All classes in one task and all-class cross-entropy; only the final accuracy is defined."""

    joint = True
