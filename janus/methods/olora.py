"""O-LoRA (Wang et al., EMNLP 2023): a new LoRA per task whose rows avoid those of the old ones.

    W = W0 + sum_{i<=t} B_i A_i, only A_t and B_t trained;
    loss = CE + l1 sum_{i<t} sum |A_t A_i^T| + l2 (|A_t|_F + |B_t|_F)      [seen: authors' code]

summed over blocks and projections; l2 weighs norms, not their squares. The source trains a T5 with
s = 32 / 8 = 4, dropout 0.1 before A, and adapters on Q and V; the vision port takes the shared LoRA
protocol of this project (s = 1, no dropout, K and V) [derived].
Rows orthogonal to old rows do not protect old *inputs*: nothing here looks at them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from janus.data.stream import Batch, Task
from janus.methods.base.lora_method import LoraMethod
from janus.methods.base.method import Context
from janus.nn.lora_bank import AdapterBank


def overlap(rows: Tensor, old: Tensor) -> Tensor:
    """Entry-wise sum |A_t A_i^T| of rows (..., r, D) against old rows (..., R, D).

    Zero exactly when every new row is orthogonal to every old one.
    """
    return (rows @ old.mT).abs().sum()


def norms(factors: Tensor) -> Tensor:
    """Sum of the Frobenius norms of the matrices in (blocks, projections, rows, columns).

    Where a factor is 0, as B at the start, the gradient is 0.
    """
    each: Tensor = factors.norm(dim=(-2, -1))
    return each.sum()


class OLora(LoraMethod):
    """LoraMethod with an orthogonality penalty on A; finished adapters are merged for speed."""

    state = "bank"
    keeps = "bank heads classifier"  # the merged weights are the bank's sum

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.bank = AdapterBank()
        self.old_rows: Tensor | None = None
        """A of all earlier tasks, (L, P, R, D)."""

    def _start_training(self, task: Task) -> None:
        super()._start_training(task)
        self.old_rows = self.bank.stacked_rows() if len(self.bank) else None

    def extra_loss(self, features: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The penalty against earlier rows, and those on the new adapter's size if asked for."""
        s = self.context.settings
        terms: dict[str, Tensor] = {}
        rows = torch.stack([x.a for x in self.layers])
        if self.old_rows is not None:
            terms["orthogonality"] = s["orthogonality"] * overlap(rows, self.old_rows)
        ups = torch.stack([x.b for x in self.layers])
        if s["l2"]:
            terms["l2"] = s["l2"] * (norms(rows) + norms(ups))
        if s["ridge"]:
            terms["ridge"] = s["ridge"] * (rows.square().sum() + ups.square().sum())
        return terms

    def end_task(self, task: Task) -> None:
        """Keep the adapter; the next begin_task merges it."""
        self.bank.add(self.layers)
        super().end_task(task)

    @torch.no_grad()
    def diagnose(self, past: list[Tensor]) -> dict[str, Any]:
        """Adds the mean |cos| between the finished task's rows and all earlier rows."""
        facts = super().diagnose(past)
        if self.old_rows is not None:
            rows = torch.stack([x.a for x in self.layers])
            unit, old = (torch.nn.functional.normalize(a, dim=-1) for a in (rows, self.old_rows))
            facts["row_overlap"] = float((unit @ old.mT).abs().mean())
        return facts
