"""Bases of past inputs, as the references grow them: from the definitions, by plain SVDs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from tests.parity.frame import Pair
from tests.parity.plain import features

Weights = dict[str, Tensor]


def outside(x: Tensor, v: Tensor) -> Tensor:
    """x (I - V V^T)."""
    return x - x @ v @ v.mT


@torch.no_grad()
def second_moments(w: Weights, batches: Iterable[Pair], delta: Sequence[Tensor]) -> list[Tensor]:
    """Sum of x x^T over the input rows of every block's qkv, (D, D) each."""
    total: list[Tensor] = []
    for x, _ in batches:
        rows: list[Tensor] = []
        features(w, x, delta, rows)
        found = [r.mT @ r for r in rows]
        total = found if not total else [a + b for a, b in zip(total, found, strict=True)]
    return total


def threshold(energy: float, index: int, count: int, rises: bool = True) -> float:
    """energy + (1 - energy) t / T, t from 0."""
    return energy + (1 - energy) * index / count if rises else energy


def grown(
    v: Tensor,
    moment: Tensor,
    tau: float,
    power: int = 2,
    one_sided: bool = False,
    seen: float = 0.0,
) -> Tensor:
    """V with the leading residual directions of C appended, until it holds `tau` of the energy.

    Energy: sum of the singular values of C to the `power` (2: sigma^4 of the inputs, 1: sigma^2).
    Residual: P C P, or P C where `one_sided`, whose first task stops one direction short. seen:
    the inputs' true energy, where C holds less of it.
    """
    residual = moment - v @ v.mT @ moment
    if not one_sided:
        residual = residual - residual @ v @ v.mT
    u, s, _ = torch.linalg.svd(residual)
    whole = float(torch.linalg.svdvals(moment).pow(power).sum())
    have, energies = whole - float(s.pow(power).sum()), s.pow(power).tolist()
    whole = max(whole, seen)
    if one_sided and not v.shape[1]:
        shares = torch.tensor(energies).cumsum(0) / whole
        return u[:, : max(1, int((shares < tau).sum()))]
    r, most = 0, int((s > 1e-7 * torch.linalg.matrix_norm(moment)).sum())
    while have < tau * whole and r < most:
        have += energies[r]
        r += 1
    return torch.cat([v, u[:, :r]], 1)


def sketched(rows_of_steps: Sequence[Tensor], v: Tensor, size: int) -> tuple[Tensor, float]:
    """Frequent Directions of l = `size` rows: (estimate of X^T X, true sum of squares).

    What lies outside V is sketched, 8 l rows at a time; more than 2 l rows are shrunk to l, every
    squared singular value less the (l + 1)-th. V's part of the energy is spread over V evenly.
    """
    sketch, inside, seen = torch.zeros(0, v.shape[0]), 0.0, 0.0
    for rows in rows_of_steps:
        inside += float((rows @ v).square().sum())
        seen += float(rows.square().sum())
        for part in outside(rows, v).split(8 * size):
            sketch = torch.cat([sketch, part])
            if len(sketch) > 2 * size:
                _, s, vt = torch.linalg.svd(sketch, full_matrices=False)
                cut = s[size] ** 2 if len(s) > size else 0.0
                sketch = (s[:size] ** 2 - cut).clamp(min=0).sqrt()[:, None] * vt[:size]
    estimate = sketch.mT @ sketch
    if v.shape[1]:
        estimate = estimate + inside / v.shape[1] * v @ v.mT
    return estimate, seen


def greedy(rows_of_steps: Sequence[Tensor], v: Tensor, share: float) -> tuple[Tensor, float]:
    """Batch by batch, directions outside what is held with more than `share` of its energy.

    Returns (sum over directions, kept and protected, of their energy e u u^T, true energy). A
    direction's energy counts from the batch that brought it.
    """
    held, energy = torch.zeros(v.shape[0], 0), torch.zeros(0)
    inside, seen = torch.zeros(v.shape[1]), 0.0
    for rows in rows_of_steps:
        seen += float(rows.square().sum())
        inside = inside + (rows @ v).square().sum(0)
        _, s, vt = torch.linalg.svd(outside(outside(rows, v), held), full_matrices=False)
        fresh = vt[s**2 > share * rows.square().sum()].mT
        held = torch.cat([held, fresh], 1)
        energy = torch.cat([energy, torch.zeros(fresh.shape[1])]) + (rows @ held).square().sum(0)
    return (held * energy) @ held.mT + (v * inside) @ v.mT, seen
