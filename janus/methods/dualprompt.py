"""DualPrompt (Wang et al., ECCV 2022): one general prompt, one expert prompt per task.

The G-prompt is prefixed in the first blocks and trained in every task; the E-prompt of the task,
prefixed in the blocks after them, is trained with its key and then frozen:

    training  E_t of the true task,  L = CE + w * (1 - cos(q, k_t))
    test      E_s with s = argmax_i cos(q, k_i)

Lengths 6 and 20 (half keys, half values), blocks 0-1 and 2-4, U(0, 1) start [seen: CODA-Prompt's
code, where every block has a key of its own]. One key per task here, as in the paper's equation
[choice]: keys of several blocks see the same query and the same loss.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from janus.data.stream import Task
from janus.methods.base.method import Context
from janus.methods.base.prompt_method import Choice, PromptMethod
from janus.nn.prompts import cosine, depth, half, uniform


class DualPrompt(PromptMethod):
    """`general` (S_g, 2, L_g, D); `expert` (tasks, S_e, 2, L_e, D); `key` (tasks, D)."""

    def __init__(self, context: Context) -> None:
        s, blocks = context.settings, depth(context.backbone)
        # a shallow backbone keeps at least one block for the E-prompt
        self.general_blocks = min(s["general_blocks"], blocks - 1)
        self.expert_blocks = min(s["expert_blocks"], blocks - self.general_blocks)
        super().__init__(context)

    def prompted_blocks(self) -> Sequence[int]:
        """First the G-prompt's blocks, then the E-prompt's."""
        return range(self.general_blocks + self.expert_blocks)

    def start_prompts(self, task: Task) -> dict[str, Tensor]:
        """Freeze the last E-prompt with its key and draw new ones; the G-prompt goes on."""
        s, width, key = self.context.settings, self.context.width, self.context.key
        self.freeze("expert")
        self.freeze("key")
        general = (self.general_blocks, 2, half(s["general_length"]), width)
        expert = (1, self.expert_blocks, 2, half(s["expert_length"]), width)
        started = {
            "expert": uniform(expert, 0.0, 1.0, "expert-prompt", *key, task.index),
            "key": uniform((1, width), 0.0, 1.0, "prompt-keys", *key, task.index),
        }
        if task.index == 0:
            started["general"] = uniform(general, 0.0, 1.0, "general-prompt", *key)
        return started

    def choose(self, query: Tensor, training: bool) -> Choice:
        """The current task's E-prompt in training, the one with the nearest key at test."""
        cosines = cosine(query, self.trained["key"] if training else self.every("key"))
        if training:
            expert: Tensor = self.trained["expert"]
        else:
            expert = self.every("expert")[cosines.argmax(1)]
        general = self.trained["general"].unsqueeze(1)
        return Choice([*general.unbind(0), *expert.unbind(1)], cosines)
