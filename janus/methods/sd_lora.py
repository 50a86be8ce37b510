"""SD-LoRA (Wu et al., ICLR 2025): directions of old tasks stay, their magnitudes are learnt anew.

    y = W0 x + m_t B_t A_t x + sum_{i<t} m_i B_i A_i x / (|B_i|_F |A_i|_F)   on Q and V

A_t, B_t and all magnitudes m_1..m_t are trained; one scalar per task is shared by all blocks and
projections and starts every task at 0.8; the newest direction is not normalised [seen: authors'
code]. Heads start uniform in +-sqrt(3/D) with bias 0 [seen]. RR (`reduce_rank`) gives later tasks
fewer rows [seen, switched off in the public code]; KD (`distill`) drops a direction that the old
ones reproduce and hands its share to their magnitudes [absent from the public code: the paper].
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from janus.data.stream import Task
from janus.methods.base.lora_method import LoraMethod
from janus.methods.base.method import Context
from janus.nn.heads import LinearHeads
from janus.nn.lora import LoraQKV
from janus.nn.lora_bank import AdapterBank


def rank_at(rank: int, index: int, every: int) -> int:
    """Rank of task `index` (from 0) under RR: with every = 4, 10, 8 from task 4, 6 from task 8."""
    return max(1, round(rank * (1 - 0.2 * min(index // every, 2))))


class SdLora(LoraMethod):
    """Frozen unit directions in a bank, one trainable magnitude each, and a new free direction."""

    state = "bank shares started_at magnitudes"
    keeps = "bank adapters shares magnitudes heads classifier"  # W0 never changes

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.bank = AdapterBank()
        self.shares = torch.ones(0, device=context.device)
        """Start of each old magnitude in units of `magnitude`: 1, more or less after KD."""
        self.started_at = torch.ones(1, device=context.device)
        """Magnitudes, the newest last, when the current task began."""
        self.magnitudes = nn.Parameter(self.started_at.clone())

    def make_heads(self, width: int) -> LinearHeads:
        """Kaiming's uniform start for a linear layer, +-sqrt(3/D), without a bias [seen]."""
        return LinearHeads(width, bound=(3 / width) ** 0.5, zero_bias=True)

    # ---- tasks ---------------------------------------------------------------------------------
    def begin_task(self, task: Task) -> None:
        """Freeze the last direction, start the magnitudes again, add a new direction."""
        if task.index:
            self._freeze_direction()
        m = self.context.settings["magnitude"]
        self.started_at = m * torch.cat([self.shares, self.shares.new_ones(1)])
        self.magnitudes = nn.Parameter(self.started_at.clone())
        self.bank.install(self.layers, unit=True)
        super().begin_task(task)

    @torch.no_grad()
    def _freeze_direction(self) -> None:
        """Bank the finished direction, or (KD) let the old ones stand for it."""
        s = self.context.settings
        self.bank.add(self.layers)
        if s["distill"] and len(self.bank) > 1:
            fit, residual = self.bank.fit_last()
            if residual < s["distill_threshold"]:
                self.bank.entries.pop()
                # the next task starts as if the direction had been kept
                self.shares = self.shares + fit.to(self.shares)
                self._clear()
                return
        self.shares = torch.cat([self.shares, self.shares.new_ones(1)])
        self._clear()

    @torch.no_grad()
    def _clear(self) -> None:
        """Nothing is left to merge: the bank stands for what was learnt."""
        for layer in self.layers:
            layer.b.zero_()

    def start_adapter(self, layer: LoraQKV, task: Task) -> None:
        """A new pair, of the rank that the schedule gives this task."""
        s = self.context.settings
        full: int = s["rank"]
        rank = rank_at(full, task.index, s["reduce_every"]) if s["reduce_rank"] else full
        _resize(layer, rank)
        super().start_adapter(layer, task)

    def own_parameters(self) -> list[nn.Parameter]:
        """The new pair and every magnitude."""
        return [*super().own_parameters(), self.magnitudes]

    # ---- forward -------------------------------------------------------------------------------
    def features(self, images: Tensor) -> Tensor:
        """CLS features under the current magnitudes."""
        self._set_magnitudes(self.magnitudes)
        return super().features(images)

    def _set_magnitudes(self, magnitudes: Tensor) -> None:
        gains = self.bank.gains_per_rank(magnitudes[:-1]) if len(self.bank) else None
        for layer in self.layers:
            layer.scale, layer.gains = magnitudes[-1], gains

    # ---- state ---------------------------------------------------------------------------------
    def _set_adapters(self, pairs: list[tuple[Tensor, Tensor]]) -> None:
        for layer, (a, _) in zip(self.layers, pairs, strict=True):
            _resize(layer, a.shape[1])
        super()._set_adapters(pairs)

    def _restored(self) -> None:
        super()._restored()
        self.bank.install(self.layers, unit=True)
        self._set_magnitudes(self.magnitudes)

    # ---- diagnostics ---------------------------------------------------------------------------
    @torch.no_grad()
    def task_update(self) -> Tensor:
        """The new direction's update and what the moved magnitudes add."""
        now = torch.stack([self.magnitudes[-1] * (x.b @ x.a) for x in self.layers])
        if not len(self.bank):
            return now
        moved = self.bank.gains_per_rank((self.magnitudes - self.started_at)[:-1])
        wide = [self.bank.stacked(x.block, unit=True) for x in self.layers]
        return now + torch.stack([(b * moved) @ a for a, b in wide])

    @contextmanager
    def previous_network(self) -> Iterator[None]:
        """The network as it was when the current task began, magnitudes included."""
        with super().previous_network():
            self._set_magnitudes(self.started_at)
            try:
                yield
            finally:
                self._set_magnitudes(self.magnitudes)

    @torch.no_grad()
    def diagnose(self, past: list[Tensor]) -> dict[str, Any]:
        """Adds the magnitudes, oldest direction first."""
        facts = super().diagnose(past)
        return facts | {"magnitudes": [float(m) for m in self.magnitudes]}


def _resize(layer: LoraQKV, rank: int) -> None:
    """Give the layer an (empty) pair of another rank."""
    if layer.a.shape[1] != rank:
        targets, device = len(layer.targets), layer.a.device
        layer.a = nn.Parameter(torch.zeros(targets, rank, layer.width, device=device))
        layer.b = nn.Parameter(torch.zeros(targets, layer.width, rank, device=device))
