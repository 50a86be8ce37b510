"""Stores the LoRA adapters of finished tasks: to sum them with gains, or to select one of them.

Stored adapters never change. `install` makes the network add all entries to its output, stacked
into one pair per block (SD-LoRA's directions; with negative gains, a network without them);
`pairs` returns one entry (CoLoR's experts); `stacked_rows` stacks the rows of all A (O-LoRA's
penalty).

Shapes: L blocks, P target projections, r rank of an entry, R sum of ranks, n entries, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from janus.nn.lora import LoraQKV

Pair = tuple[Tensor, Tensor]
"""A (P, r, D) and B (P, D, r) of one block."""


class AdapterBank:
    """Frozen low-rank pairs, one per block and finished task; ranks may differ between tasks."""

    def __init__(self) -> None:
        self.entries: list[list[Pair]] = []
        self._owners: tuple[list[int], Tensor] = ([], torch.empty(0, dtype=torch.long))
        """The ranks of the entries, and a tensor with the entry of each rank-one term."""

    def __len__(self) -> int:
        return len(self.entries)

    @torch.no_grad()
    def add(self, layers: Sequence[LoraQKV]) -> None:
        """Append copies of the current A and B of all layers as a new entry."""
        self.entries.append([(x.a.detach().clone(), x.b.detach().clone()) for x in layers])

    def pairs(self, index: int) -> list[Pair]:
        """The entry number `index`: one pair per block."""
        return self.entries[index]

    def stacked(self, block: int, unit: bool) -> Pair:
        """All entries of a block stacked along the rank: A (P, R, D) and B (P, D, R).

        unit: divide each B by |B|_F |A|_F of its entry and projection (SD-LoRA). An entry whose B
        is zero has no direction and stays zero.
        """
        pairs = [entry[block] for entry in self.entries]
        ups = [b / _norms(a, b) if unit else b for a, b in pairs]
        return torch.cat([a for a, _ in pairs], dim=-2), torch.cat(ups, dim=-1)

    def stacked_rows(self) -> Tensor:
        """Rows of A of all entries: (L, P, R, D). Needs at least one entry."""
        return torch.stack([torch.cat(rows, dim=-2) for rows in self._rows_by_block()])

    def _rows_by_block(self) -> list[list[Tensor]]:
        return [[pair[0] for pair in block] for block in zip(*self.entries, strict=True)]

    def install(self, layers: Sequence[LoraQKV], unit: bool) -> None:
        """Make every layer add its stacked pair. The caller sets the gains (`gains_per_rank`)."""
        for layer in layers:
            layer.frozen = self.stacked(layer.block, unit) if self.entries else None

    def gains_per_rank(self, gains: Tensor) -> Tensor:
        """Repeat one gain per entry (n,) for each of its rank-one terms: (R,)."""
        ranks = self._ranks()
        if self._owners[0] != ranks:
            # once per task, because it waits for the device
            self._owners = ranks, _owners(ranks).to(gains.device)
        return gains[self._owners[1]]

    def _ranks(self) -> list[int]:
        return [entry[0][0].shape[-2] for entry in self.entries]

    @torch.no_grad()
    def gram(self) -> Tensor:
        """Inner products of the unit directions, summed over blocks and targets: (n, n) float64.

        <B_i A_i, B_j A_j> = sum (B_i^T B_j) o (A_i A_j^T): no D x D product is formed.
        """
        ranks = self._ranks()
        device = self.entries[0][0][0].device
        member = torch.nn.functional.one_hot(_owners(ranks), len(ranks)).double().mT.to(device)
        total = torch.zeros(len(ranks), len(ranks), dtype=torch.float64, device=device)
        for block in range(len(self.entries[0])):
            a, b = (x.double() for x in self.stacked(block, unit=True))
            total += member @ ((b.mT @ b) * (a @ a.mT)).sum(0) @ member.mT
        return total

    def fit_last(self) -> tuple[Tensor, float]:
        """Least-squares fit of the newest unit direction by the older ones.

        Returns the coefficients (n - 1,) and the squared residual as a share of the direction's
        squared norm: 0 when the older directions span it, 1 when it is orthogonal to all of them.
        """
        gram = self.gram()
        old, along, whole = gram[:-1, :-1], gram[:-1, -1], gram[-1, -1]
        fit = torch.linalg.pinv(old, hermitian=True) @ along
        rest = whole - 2 * fit @ along + fit @ old @ fit
        return fit, float(rest.clamp_min(0) / whole.clamp_min(1e-300))

    def state_dict(self) -> list[list[list[Tensor]]]:
        """Every A and B, as a tree."""
        return [[list(pair) for pair in entry] for entry in self.entries]

    def load_state_dict(self, state: list[list[list[Tensor]]]) -> None:
        """Continue from `state`."""
        self.entries = [[(a, b) for a, b in entry] for entry in state]


def _owners(ranks: list[int]) -> Tensor:
    """The number of the entry that each rank-one term belongs to: (R,)."""
    return torch.tensor([entry for entry, rank in enumerate(ranks) for _ in range(rank)])


def _norms(a: Tensor, b: Tensor) -> Tensor:
    """|B|_F |A|_F per target: (P, 1, 1), with 1 in place of 0."""
    size = b.norm(dim=(-2, -1), keepdim=True) * a.norm(dim=(-2, -1), keepdim=True)
    return torch.where(size > 0, size, torch.ones_like(size))
