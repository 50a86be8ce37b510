"""L2P (Wang et al., CVPR 2022) and L2P++ (its baseline form in CODA-Prompt, CVPR 2023).

A pool of M prompts P_m with keys k_m; the query q selects the top K by cos(q, k_m):

    L = CE + w * sum_{m selected} (1 - cos(q, k_m))        as a mean over the batch

place=input   L2P: prompts of length L enter beside the image tokens, and the head reads the mean
              of their outputs; in training the whole batch uses the K prompts that most of its
              images select; heads start normal with deviation 0.02, biases at 0 [seen: PILOT].
              Prompts get no position embedding (they learn theirs).
place=prefix  L2P++: prompts are keys and values (L/2 each) in the first block, chosen per image;
              the head reads CLS and starts as torch's Linear. The key loss is a mean over all pairs
              (i, j) of images, of q_i and the keys that q_j selected (`key_pairs`)
              [seen: CODA-Prompt].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from janus.data.stream import Batch, Task
from janus.errors import ConfigError
from janus.methods.base.method import Context
from janus.methods.base.prompt_method import Choice, PromptMethod
from janus.methods.base.whole_batch import WholeBatch
from janus.nn.heads import LinearHeads
from janus.nn.prompts import cosine, half, uniform


def majority(chosen: Tensor, pool: int) -> Tensor:
    """The K prompts that most rows of `chosen` (B, K) name; equal counts: the lower number."""
    votes = torch.zeros(len(chosen), pool, device=chosen.device).scatter_(1, chosen, 1.0).sum(0)
    return votes.argsort(descending=True, stable=True)[: chosen.shape[1]]


class L2P(WholeBatch, PromptMethod):
    """One pool for all tasks; whatever a task selects, it may change."""

    def __init__(self, context: Context) -> None:
        s = context.settings
        self.as_tokens = s["place"] == "input"
        if s["top_k"] > s["pool"]:
            raise ConfigError(
                f"method.top_k={s['top_k']} of a pool of {s['pool']} prompts cannot be selected; "
                f"choose at most method.top_k={s['pool']}"
            )
        super().__init__(context)
        self.selected: Tensor | None = None
        """(B, K) prompts that each image of the step's batch selects, where it comes in parts."""

    def make_heads(self, width: int) -> LinearHeads:
        """As the source of each form starts them [seen]."""
        if self.as_tokens:
            return LinearHeads(width, deviation=0.02, zero_bias=True)
        return super().make_heads(width)

    def prompted_blocks(self) -> Sequence[int]:
        """The first block, or none when prompts are tokens."""
        return [] if self.as_tokens else [0]

    def start_prompts(self, task: Task) -> dict[str, Tensor]:
        """The pool, once: U(-1, 1) for tokens, U(0, 1) for prefixes [seen]; keys likewise."""
        if task.index:
            return {}
        s, width = self.context.settings, self.context.width
        shape = (s["length"], width) if self.as_tokens else (2, half(s["length"]), width)
        low = -1.0 if self.as_tokens else 0.0
        key = self.context.key
        return {
            "prompts": uniform((s["pool"], *shape), low, 1.0, "prompts", *key),
            "keys": uniform((s["pool"], width), low, 1.0, "prompt-keys", *key),
        }

    @torch.no_grad()
    def begin_step(self, parts: list[Batch]) -> list[Batch]:
        """The votes and pairs of a batch are those of all its parts."""
        queries = [self.queries_of(part) for part in parts]
        self.selected = self._select(cosine(torch.cat(queries), self.trained["keys"]))
        return [replace(part, queries=q) for part, q in zip(parts, queries, strict=True)]

    def update(self) -> None:
        """One optimiser step; the next batch has votes of its own."""
        super().update()
        self.selected = None

    def _select(self, cosines: Tensor) -> Tensor:
        """The K nearest keys by cosines (B, M): (B, K)."""
        return cosines.topk(self.context.settings["top_k"], dim=1).indices

    def choose(self, query: Tensor, training: bool) -> Choice:
        """Top K prompts per image; in batch-wise training the batch's majority for all images."""
        s, pool = self.context.settings, self.trained["prompts"]
        cosines = cosine(query, self.trained["keys"])
        chosen = self._select(cosines)
        everyone = chosen if self.selected is None else self.selected
        if training and s["batchwise"]:
            chosen = majority(everyone, len(pool))[None]
            near = cosines[:, chosen[0]]
        elif training and s["key_pairs"]:
            near = cosines[:, everyone]
        else:
            near = cosines.gather(1, chosen)
        # (B or 1, K, ..., L, D) to one sequence of K * L prompt vectors
        prompts = pool[chosen]
        prompts = prompts.flatten(1, 2) if self.as_tokens else prompts.transpose(1, 2).flatten(2, 3)
        return Choice([prompts], near)

    def prompted(self, images: Tensor, prompts: Sequence[Tensor]) -> Tensor:
        """Mean of the prompts' outputs (input), or CLS (prefix)."""
        if self.as_tokens:
            return self.vit.beside_tokens(images, prompts[0])
        return super().prompted(images, prompts)
