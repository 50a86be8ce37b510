"""E2-LoRA's adapted layers: a frozen Linear plus one pair of factors per task, sorted by energy.

    y = W0 x + b + sum over tasks t of B_t A_t x        W0 (O, D), A_t (r_t, D), B_t (O, r_t)

After a task the columns of its B are turned to the principal directions of what the pair adds to
the output, largest energy first. Columns of low energy can then be taken from old tasks and given
to the next one: `release`. Shapes: D input width, O output width.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from janus.errors import ConfigError


class Pair(NamedTuple):
    """The factors of a finished task."""

    a: Tensor
    """(k, D)."""
    b: Tensor
    """(O, k), orthonormal columns."""
    energies: Tensor
    """Variance of the output along each direction when the task ended, largest first; also those
    of directions that were released since."""


def kept_ranks(pairs: list[Pair], most: int, energy: float) -> list[int]:
    """How many leading directions each pair keeps, so that all together keep at most `most`.

    A pair keeps one direction more than hold the share `energy` of its own energy, at least one,
    and at most those that it has. If that is too many in sum, the share falls for all pairs alike
    in steps of 1 - `energy` until they fit [seen: E2-LoRA's code; derived: at most those left].
    """
    totals = [pair.energies.sum() for pair in pairs]
    cumulated = [pair.energies.cumsum(0) for pair in pairs]

    def ranks(steps: int) -> list[int]:
        share = 1 - steps * (1 - energy)
        wanted = [int((c <= share * t).sum()) + 1 for c, t in zip(cumulated, totals, strict=True)]
        return [min(w, len(pair.a)) for w, pair in zip(wanted, pairs, strict=True)]

    low, high = 1, int(1 / (1 - energy)) + 1
    while low < high:  # the ranks fall with the number of steps: the first number that fits
        middle = (low + high) // 2
        low, high = (low, middle) if sum(ranks(middle)) <= most else (middle + 1, high)
    return ranks(low)


class EnergyLinear(nn.Module):
    """A frozen Linear plus the pairs of all tasks; the current pair is trained."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear
        out, width = linear.weight.shape
        self.a = nn.Parameter(linear.weight.new_zeros(0, width))
        self.b = nn.Parameter(linear.weight.new_zeros(out, 0))
        self.finished: list[Pair] = []
        self.fixed = linear.weight.detach()
        """W0 plus the pairs of finished tasks (O, D)."""
        self.without_current = False
        """True: the network as it was before the current task (the teacher)."""
        self.moment: Tensor | None = None
        """While not None: adds up [sum x x^T, sum x, n] of the inputs, as (D + 1, D + 1)."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., O)."""
        if self.moment is not None:
            rows = functional.pad(x.detach().flatten(0, -2).double(), (0, 1), value=1.0)
            self.moment += rows.mT @ rows
        weight = self.fixed if self.without_current else self.fixed + self.b @ self.a
        return functional.linear(x, weight, self.linear.bias)

    # ---- tasks ---------------------------------------------------------------------------------
    @torch.no_grad()
    def start(self, a: Tensor, b: Tensor) -> None:
        """Begin a task with these factors; A is trained, and B where nothing is finished yet."""
        self.a, self.b = nn.Parameter(a), nn.Parameter(b, requires_grad=False)
        self._sum_up()

    @torch.no_grad()
    def release(self, most: int, energy: float) -> Tensor:
        """Cut the finished pairs to `kept_ranks`; returns the columns (O, r) that are free now."""
        ranks = kept_ranks(self.finished, most, energy)
        free = [pair.b[:, k:] for pair, k in zip(self.finished, ranks, strict=True)]
        self.finished = [
            Pair(pair.a[:k].clone(), pair.b[:, :k].clone(), pair.energies)
            for pair, k in zip(self.finished, ranks, strict=True)
        ]
        return torch.cat(free, dim=1)

    @torch.no_grad()
    def finish(self, orthonormal: bool) -> None:
        """Turn the current pair to its principal directions and count it among the finished.

        Uses the inputs in `moment`. B A stays the same. `orthonormal`: whether B has orthonormal
        columns; the directions are then sought inside their span, also those without any energy
        [choice: the source takes whatever directions its SVD returns for these, which may be ones
        that old tasks keep].
        """
        assert self.moment is not None
        count, mean = self.moment[-1, -1], self.moment[-1, :-1] / self.moment[-1, -1]
        spread = (self.moment[:-1, :-1] - count * torch.outer(mean, mean)) / (count - 1)
        self.moment = None
        a, b = self.a.double(), self.b.double()
        inside = b if orthonormal else torch.eye(len(b), dtype=b.dtype, device=b.device)
        drift = inside.mT @ b @ a
        values, vectors = torch.linalg.eigh(drift @ spread @ drift.mT)
        values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
        rank = self.a.shape[0]
        pair = Pair(
            (vectors.mT @ drift)[:rank].to(self.a),
            (inside @ vectors)[:, :rank].to(self.b),
            values[:rank],
        )
        self.finished.append(pair)
        self.a, self.b = nn.Parameter(self.a[:0]), nn.Parameter(self.b[:, :0])
        self._sum_up()

    def _sum_up(self) -> None:
        update = sum((pair.b @ pair.a for pair in self.finished), torch.zeros_like(self.fixed))
        self.fixed = self.linear.weight.detach() + update

    # ---- state ---------------------------------------------------------------------------------
    def factors(self) -> dict[str, Any]:
        """The current pair and the finished ones, as a tree of tensors."""
        pairs = [list(pair) for pair in self.finished]
        return {"a": self.a.detach(), "b": self.b.detach(), "finished": pairs}

    @torch.no_grad()
    def set_factors(self, stored: dict[str, Any]) -> None:
        """Continue from what `factors` returned."""
        self.finished = [Pair(*(t.clone() for t in pair)) for pair in stored["finished"]]
        self.start(stored["a"].clone(), stored["b"].clone())


def attach_energy(model: nn.Module) -> list[EnergyLinear]:
    """Wrap `attn.qkv` and `mlp.fc1` of every block of a timm ViT in place [seen: E2-LoRA's code].

    Raises ConfigError when the model's blocks have no such layers.
    """
    blocks = getattr(model, "blocks", None) or []
    places = [
        (part, name)
        for block in blocks
        for part, name in (
            (getattr(block, "attn", None), "qkv"),
            (getattr(block, "mlp", None), "fc1"),
        )
    ]
    if not places or not all(isinstance(getattr(p, n, None), nn.Linear) for p, n in places):
        raise ConfigError(
            f"{type(model).__name__} has no blocks[i].attn.qkv and .mlp.fc1 to adapt; choose a "
            "timm ViT (vit_*) as backbone.model"
        )
    layers = []
    for part, name in places:
        layer = EnergyLinear(getattr(part, name))
        setattr(part, name, layer)
        layers.append(layer)
    return layers
