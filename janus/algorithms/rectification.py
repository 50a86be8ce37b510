"""Gradient Rectification: finds the updates of A and B whose product best matches a safe update.

A full-weight update is safe when it does not change the outputs for inputs of past tasks.

Shapes: A (r x k), B (m x r), weight W = W0 + s B A (m x k), D = safe full-weight gradient (m x k),
V (k x q) orthonormal basis of protected inputs. All functions accept leading batch dimensions, so
one call solves all blocks and projections.

Source: Janus-LoRA (ICML 2026) gives the idea; its equations were not available, so the algebra
below is derived here (docs/janus-lora.md) and tested against dense float64 least squares.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEAST_SQUARE = 1e-12
"""Mean squared length of A's rows below which A counts as zero for damping (1/3 at its start)."""


def relative_damping(a: Tensor, strength: float) -> Tensor:
    """Damping lambda = strength * tr(A A^T) / r, one number per matrix: (...,).

    It is positive even when A is zero (all inputs are protected), so that the update is then zero
    instead of 0/0.
    """
    mean_square = a.square().sum((-2, -1)) / a.shape[-2]
    return strength * mean_square.clamp_min(LEAST_SQUARE)


def rectify(
    a: Tensor, b: Tensor, bt_d: Tensor, d_at: Tensor, scale: float, damping: Tensor
) -> tuple[Tensor, Tensor]:
    """(dA, dB) that minimise |s (B dA + dB A) - D|^2 + s^2 damping (|dA|^2 + |dB|^2).

    a: (..., r, k); b: (..., m, r); bt_d = B^T D: (..., r, k); d_at = D A^T: (..., m, r);
    damping: (...,), positive. D itself is never needed. Exact for any B, zero and rank-deficient
    included: only two symmetric r x r eigenproblems and divisions by (eigenvalue + damping).

    With B^T B = R_b S_b R_b^T, A A^T = R_a S_a R_a^T, lam = damping, M_ij = 1/(S_b,i + S_a,j + lam)
    and X = R_b^T (B^T D A^T) R_a, the damped closed form [derived] is
        dA = (1/s) R_b (S_b + lam)^-1 (R_b^T B^T D - (M o X) R_a^T A)
        dB = (1/s) (D A^T R_a - B R_b (M o X)) (S_a + lam)^-1 R_a^T
    The rows of dA stay in the row space of D and A. So with D V = 0 and A V = 0 the weight update
    does not act on V. Computed in float32 or better, also under autocast.
    """
    with torch.autocast(a.device.type, enabled=False):
        a, b, bt_d, d_at = (x.float() if x.dtype.itemsize < 4 else x for x in (a, b, bt_d, d_at))
        # in one call: after each call the CPU waits for the GPU to report convergence
        (s_b, s_a), (r_b, r_a) = torch.linalg.eigh(torch.stack([b.mT @ b, a @ a.mT]))
        # rounding can leave eigenvalues of a zero matrix slightly negative
        s_b, s_a = s_b.clamp_min(0), s_a.clamp_min(0)
        lam = damping[..., None]
        mixed = r_b.mT @ (bt_d @ a.mT) @ r_a
        mixed = mixed / (s_b[..., :, None] + s_a[..., None, :] + lam[..., None])
        d_a = r_b @ ((r_b.mT @ bt_d - mixed @ (r_a.mT @ a)) / (s_b + lam)[..., None])
        d_b = ((d_at @ r_a - (b @ r_b) @ mixed) / (s_a + lam)[..., None, :]) @ r_a.mT
        return d_a / scale, d_b / scale


def blind_rows(a: Tensor, v: Tensor, tolerance: float = 1e-4) -> Tensor:
    """Projector P (..., r, r) on {n : n^T A V = 0}: combinations of A's rows orthogonal to V.

    Constrained rectification [derived]: with P A in place of A and D A^T P in place of D A^T the
    update of the weight is exactly zero on V, although A V is not. P is the identity when A V = 0,
    and zero when no combination of rows is orthogonal to V. Singular values below `tolerance`
    times |A| count as zero.
    """
    left, singular, _ = torch.linalg.svd(a @ v, full_matrices=False)
    reads = (singular > tolerance * a.norm(dim=(-2, -1))[..., None]).to(a.dtype)
    eye = torch.eye(a.shape[-2], dtype=a.dtype, device=a.device)
    projector: Tensor = eye - (left * reads[..., None, :]) @ left.mT
    return projector


def without(x: Tensor, v: Tensor) -> Tensor:
    """x (I - V V^T): the rows of x (..., n, k) without their part in the span of V (..., k, q)."""
    return x - (x @ v) @ v.mT
