"""Ridge regression from accumulated moments, and the choice of its penalty on held-out rows.

Shapes: N rows, M features, C targets. Everything in float64: penalties go down to 1e-8.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def solve_ridge(gram: Tensor, moment: Tensor, penalty: float) -> Tensor:
    """W = (G + penalty I)^-1 Q for G = H^T H (M, M) and Q = H^T Y (M, C): (M, C).

    Cholesky, unless the penalty is lost in the rounding of G (M eps tr G), or rounding has made the
    sum indefinite: then eigenvectors, those below that level left out. They span the null space of
    H, where Q is nothing but rounding, which a penalty of 1e-8 would blow up.
    """
    noise = len(gram) * torch.finfo(gram.dtype).eps * float(gram.trace())
    shifted = gram.clone()
    shifted.diagonal().add_(penalty)
    factor, failed = torch.linalg.cholesky_ex(shifted)
    if penalty > noise and not int(failed):
        solved: Tensor = torch.cholesky_solve(moment, factor)
        return solved
    values, vectors = torch.linalg.eigh(gram)
    kept = values > noise
    values, vectors = values[kept], vectors[:, kept]
    weights: Tensor = vectors @ ((vectors.mT @ moment) / (values + penalty)[:, None])
    return weights


def choose_penalty(
    rows: Tensor, targets: Tensor, held: Tensor, wanted: Tensor, penalties: Sequence[float]
) -> float:
    """The penalty whose ridge fit on (rows, targets) has the least squared error on (held, wanted).

    rows (N, M), targets (N, C). One eigendecomposition of the smaller of H H^T and H^T H serves
    all penalties: H_v H^T (H H^T + p I)^-1 Y = H_v (H^T H + p I)^-1 H^T Y.
    """
    if rows.shape[0] <= rows.shape[1]:
        values, vectors = torch.linalg.eigh(rows @ rows.mT)
        left, right = (held @ rows.mT) @ vectors, vectors.mT @ targets
    else:
        values, vectors = torch.linalg.eigh(rows.mT @ rows)
        left, right = held @ vectors, vectors.mT @ (rows.mT @ targets)
    values = values.clamp_min(0)[:, None]
    errors = [float((left @ (right / (values + p)) - wanted).square().mean()) for p in penalties]
    return penalties[min(range(len(penalties)), key=errors.__getitem__)]
