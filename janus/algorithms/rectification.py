"""Gradient Rectification: the factor updates whose composite is the best safe full-weight update.

Shapes: A (r x k), B (m x r), weight W = W0 + s B A (m x k), D = safe full-weight gradient (m x k),
V (k x q) orthonormal basis of protected inputs. Leading batch dimensions are allowed everywhere:
all blocks and projections are solved in one call.

Source: Janus-LoRA (ICML 2026) gives the idea; its equations were not available, so the algebra
below is derived here (docs/janus-lora.md) and tested against dense float64 least squares.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEAST_SQUARE = 1e-12
"""Mean square length of A's rows, 1/3 where drawn, below which A counts as zero for damping."""


def relative_damping(a: Tensor, strength: float) -> Tensor:
    """Damping lambda = strength * tr(A A^T) / r, one per matrix: (...,).

    Positive also for an A of zeros (all inputs are protected), whose update is then zero, not 0/0.
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
    and rows of dA stay in the row space of D and A, so a D with D V = 0 and an A with A V = 0
    keep the weight update blind to V. Computed in float32 or better, also under autocast.
    """
    with torch.autocast(a.device.type, enabled=False):
        a, b, bt_d, d_at = (x.float() if x.dtype.itemsize < 4 else x for x in (a, b, bt_d, d_at))
        # together: after every call a GPU is asked whether it converged, and waited for
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
    """Projector (..., r, r) on {n : n^T A V = 0}, the combinations of A's rows blind to V.

    Constrained rectification [derived]: replacing A by (this @ A), and D A^T by (D A^T) @ this,
    keeps the composite update exactly blind to V even though A itself reads V. The identity
    when A V = 0; zero when every combination of rows reads V. Singular values below `tolerance`
    times |A| count as zero.
    """
    left, singular, _ = torch.linalg.svd(a @ v, full_matrices=False)
    reads = (singular > tolerance * a.norm(dim=(-2, -1))[..., None]).to(a.dtype)
    eye = torch.eye(a.shape[-2], dtype=a.dtype, device=a.device)
    projector: Tensor = eye - (left * reads[..., None, :]) @ left.mT
    return projector


def without(x: Tensor, v: Tensor) -> Tensor:
    """x (I - V V^T): the part of the rows of x (..., n, k) that is blind to V (..., k, q)."""
    return x - (x @ v) @ v.mT
