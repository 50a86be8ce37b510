"""Ridge regression from accumulated moments, and the choice of its penalty on held-out rows.

Shapes: N rows, M features, C targets. Use float64, since penalties go down to 1e-8. The exceptions
are `solve_directly` and `direct_errors`, which repeat in float32 what RanPAC's own code computes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from janus.errors import RunError

PENALTIES = [10.0**power for power in range(-8, 9)]
"""Penalties that are tried [seen: RanPAC]."""
FITTED = 0.8
"""Share of the rows, rounded down, that are fitted to choose the penalty on the rest [seen:
RanPAC]."""
MARGIN = 0.01
"""How far above the least error a larger penalty may lie [choice]."""


def solve_ridge(gram: Tensor, moment: Tensor, penalty: float) -> Tensor:
    """W = (G + penalty I)^-1 Q for G = H^T H (M, M) and Q = H^T Y (M, C): (M, C).

    Solved by Cholesky. If the penalty is below the rounding error of G (M eps tr G), or rounding
    has made the sum indefinite, solved by eigenvectors without those below that level: these span
    the null space of H, where Q holds only rounding errors, which a penalty of 1e-8 would amplify.
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
    """Like `solve_ridge`, by one LU solve in the dtype of G with all directions kept: (M, C).

    The result is not finite where G + penalty I is singular.
    """
    shifted = gram.clone()
    shifted.diagonal().add_(penalty)
    solved: Tensor = torch.linalg.solve_ex(shifted, moment)[0]
    return solved


def held_out_errors(
    rows: Tensor, targets: Tensor, held: Tensor, wanted: Tensor, penalties: Sequence[float]
) -> list[float]:
    """For each penalty the mean squared error on (held, wanted) of the fit on (rows, targets).

    rows: (N, M); targets: (N, C). One eigendecomposition of the smaller of H H^T and H^T H serves
    all penalties p: H_v H^T (H H^T + p I)^-1 Y = H_v (H^T H + p I)^-1 H^T Y.
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
    """Like `held_out_errors`, by one direct solve of M equations per penalty, in the dtype of rows.

    In float32 a penalty below the rounding error of G gives an error that is itself rounding.
    """
    gram, moment = rows.mT @ rows, rows.mT @ targets
    fits = (solve_directly(gram, moment, penalty) for penalty in penalties)
    return [float((held @ fit - wanted).square().mean()) for fit in fits]


def choose_penalty(rows: Tensor, targets: Tensor, order: Tensor, rule: str) -> float:
    """The one of PENALTIES that predicts a fifth of the rows best from the rest.

    order: a permutation of the N rows; the last fifth is held out. rule: `within_1_percent` (the
    largest penalty whose error is within MARGIN of the least), `least` (the least error), `float32`
    (the same, by direct solves). Raises RunError (cause `nan`) where no error is finite.
    """
    fit, held = order.to(rows.device).tensor_split([int(FITTED * len(rows))])
    measure = direct_errors if rule == "float32" else held_out_errors
    errors = measure(rows[fit], targets[fit], rows[held], targets[held], PENALTIES)
    if rule == "within_1_percent":
        return largest_within(PENALTIES, errors, MARGIN)
    return least(PENALTIES, errors)


def least(penalties: Sequence[float], errors: Sequence[float]) -> float:
    """The penalty with the least error; among equal errors the first."""
    return penalties[errors.index(_least(errors))]


def largest_within(penalties: Sequence[float], errors: Sequence[float], share: float) -> float:
    """The largest penalty whose error is at most (1 + share) times the least.

    With fewer rows than features the fit interpolates: the error is flat for all penalties below
    the least eigenvalue of H H^T, so the position of its minimum would depend on rounding.
    """
    allowed = (1 + share) * _least(errors)
    return max(p for p, error in zip(penalties, errors, strict=True) if error <= allowed)


def _least(errors: Sequence[float]) -> float:
    """The least finite error. Raises RunError (cause `nan`) where none is finite."""
    finite = [error for error in errors if math.isfinite(error)]
    if not finite:
        raise RunError(
            "no ridge penalty has a finite held-out error: training diverged", cause="nan"
        )
    return min(finite)
