"""Ridge regression from accumulated moments, and the choice of its penalty on held-out rows.

Shapes: N rows, M features, C targets. Meant for float64, as penalties go down to 1e-8; only what
`solve_directly` and `direct_errors` give in float32 is wanted for itself (RanPAC's own code).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from janus.errors import RunError


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


def solve_directly(gram: Tensor, moment: Tensor, penalty: float) -> Tensor:
    """As `solve_ridge`, by one LU solve in the dtype of G and with nothing left out: (M, C).

    Not finite where G + penalty I is singular.
    """
    shifted = gram.clone()
    shifted.diagonal().add_(penalty)
    solved: Tensor = torch.linalg.solve_ex(shifted, moment)[0]
    return solved


def held_out_errors(
    rows: Tensor, targets: Tensor, held: Tensor, wanted: Tensor, penalties: Sequence[float]
) -> list[float]:
    """Mean squared error on (held, wanted) of the ridge fit on (rows, targets), per penalty.

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
    return [float((left @ (right / (values + p)) - wanted).square().mean()) for p in penalties]


def direct_errors(
    rows: Tensor, targets: Tensor, held: Tensor, wanted: Tensor, penalties: Sequence[float]
) -> list[float]:
    """As `held_out_errors`, by one direct solve of M equations per penalty, in the dtype of rows.

    In float32 the error of a penalty that is lost in the rounding of G is rounding itself.
    """
    gram, moment = rows.mT @ rows, rows.mT @ targets
    fits = (solve_directly(gram, moment, penalty) for penalty in penalties)
    return [float((held @ fit - wanted).square().mean()) for fit in fits]


def least(penalties: Sequence[float], errors: Sequence[float]) -> float:
    """The penalty of the least error; of equal ones the first."""
    return penalties[errors.index(_least(errors))]


def largest_within(penalties: Sequence[float], errors: Sequence[float], share: float) -> float:
    """The largest penalty whose error is at most (1 + share) times the least.

    Where fewer rows than features interpolate, the error is flat from 0 up to the least eigenvalue
    of H H^T, and the least one lies anywhere on the plateau, by its last digits.
    """
    allowed = (1 + share) * _least(errors)
    return max(p for p, error in zip(penalties, errors, strict=True) if error <= allowed)


def _least(errors: Sequence[float]) -> float:
    """Raises RunError (cause `nan`) where no error is finite."""
    finite = [error for error in errors if math.isfinite(error)]
    if not finite:
        raise RunError(
            "no ridge penalty has a finite held-out error: training diverged", cause="nan"
        )
    return min(finite)
