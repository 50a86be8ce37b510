"""SeqLoRA: sequential fine-tuning of LoRA with nothing protected ("Fine-Tuning" of the tables)."""

from __future__ import annotations

from janus.methods.base.lora_method import LoraMethod


class SeqLora(LoraMethod):
    """Trainable A and B, local cross-entropy, one head per task. The lower reference."""
