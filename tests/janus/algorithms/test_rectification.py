"""Gradient Rectification against dense float64 oracles."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from janus.algorithms.rectification import blind_rows, rectify, relative_damping, without

F64 = torch.float64


def problem(kind: str, m: int = 13, k: int = 11, r: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """(A, B, D) with B generic, zero, tiny or rank-deficient."""
    g = torch.Generator().manual_seed(3)
    a = torch.randn(r, k, generator=g, dtype=F64) / k**0.5
    b = torch.randn(m, r, generator=g, dtype=F64)
    if kind == "zero":
        b.zero_()
    elif kind == "tiny":
        b *= 1e-5
    elif kind == "deficient":
        b[:, 1], b[:, 2] = b[:, 0], 0
    return a, b, torch.randn(m, k, generator=g, dtype=F64)


def ridge(a: Tensor, b: Tensor, d: Tensor, s: float, lam: float) -> tuple[Tensor, Tensor]:
    """The same damped problem as one dense linear system over all entries of (dA, dB)."""
    (r, k), m = a.shape, b.shape[0]
    eye_k, eye_m = torch.eye(k, dtype=F64), torch.eye(m, dtype=F64)
    # row-major vec: vec(B dA) = (B kron I) vec(dA); vec(dB A) = (I kron A^T) vec(dB)
    jacobian = s * torch.cat([torch.kron(b, eye_k), torch.kron(eye_m, a.mT.contiguous())], 1)
    damp = s * s * lam * torch.eye(jacobian.shape[1], dtype=F64)
    x = torch.linalg.solve(jacobian.mT @ jacobian + damp, jacobian.mT @ d.reshape(-1))
    return x[: r * k].reshape(r, k), x[r * k :].reshape(m, r)


@pytest.mark.parametrize("kind", ["generic", "zero", "tiny", "deficient"])
@pytest.mark.parametrize("lam", [1.0, 1e-2, 1e-4])
def test_equals_dense_ridge_solve(kind, lam):
    a, b, d = problem(kind)
    got = rectify(a, b, b.mT @ d, d @ a.mT, 0.7, torch.tensor(lam, dtype=F64))
    want = ridge(a, b, d, 0.7, lam)
    for mine, dense in zip(got, want, strict=True):
        assert (mine - dense).norm() <= 1e-6 * max(float(dense.norm()), 1e-9)


def test_where_every_input_is_protected_nothing_moves():
    """A = 0 and D = 0: the relative damping must not leave 0/0."""
    _, b, d = problem("generic")
    for start in (b, torch.zeros_like(b)):
        a = torch.zeros(4, 11, dtype=F64)
        damping = relative_damping(a, 1e-2)
        assert float(damping) > 0
        d_a, d_b = rectify(a, start, start.mT @ (0 * d), d @ a.mT, 0.7, damping)
        assert not d_a.any() and not d_b.any()


@pytest.mark.parametrize("kind", ["generic", "deficient"])
def test_reaches_the_least_squares_composite_as_damping_vanishes(kind):
    a, b, d = problem(kind)
    s = 0.7
    d_a, d_b = rectify(a, b, b.mT @ d, d @ a.mT, s, torch.tensor(1e-9, dtype=F64))
    composite = s * (b @ d_a + d_b @ a)
    p_b = b @ torch.linalg.pinv(b)
    p_a = torch.linalg.pinv(a) @ a
    best = p_b @ d + (d - p_b @ d) @ p_a
    assert (composite - best).norm() < 1e-6 * best.norm()


def test_composite_is_the_best_in_the_tangent_space():
    """No other pair of factor steps comes nearer to D (checked on random competitors)."""
    a, b, d = problem("generic")
    d_a, d_b = rectify(a, b, b.mT @ d, d @ a.mT, 1.0, torch.tensor(1e-9, dtype=F64))
    ours = (b @ d_a + d_b @ a - d).norm()
    g = torch.Generator().manual_seed(0)
    for size in (1e-3, 1e-2, 1e-1, 1.0):
        for _ in range(50):
            other_a = d_a + size * torch.randn(d_a.shape, generator=g, dtype=F64)
            other_b = d_b + size * torch.randn(d_b.shape, generator=g, dtype=F64)
            assert (b @ other_a + other_b @ a - d).norm() >= ours - 1e-9


def test_batched_equals_one_by_one():
    problems = [problem(k) for k in ("generic", "zero", "tiny")]
    a, b, d = (torch.stack(x) for x in zip(*problems, strict=True))
    damping = relative_damping(a, 1e-2)
    d_a, d_b = rectify(a, b, b.mT @ d, d @ a.mT, 1.0, damping)
    for i, (a1, b1, d1) in enumerate(problems):
        one = rectify(a1, b1, b1.mT @ d1, d1 @ a1.mT, 1.0, damping[i])
        assert torch.allclose(d_a[i], one[0]) and torch.allclose(d_b[i], one[1])


def test_first_step_from_zero_b_moves_only_b():
    a, b, d = problem("zero")
    d_a, d_b = rectify(a, b, b.mT @ d, d @ a.mT, 1.0, relative_damping(a, 1e-2))
    assert float(d_a.abs().max()) == 0 and float(d_b.norm()) > 0


def test_float32_stays_close_for_tiny_b():
    a, b, d = problem("tiny")
    lam = relative_damping(a, 1e-2)
    exact = rectify(a, b, b.mT @ d, d @ a.mT, 1.0, lam)
    a, b, d, lam = (x.float() for x in (a, b, d, lam))
    single = rectify(a, b, b.mT @ d, d @ a.mT, 1.0, lam)
    for x, y in zip(single, exact, strict=True):
        assert (x.double() - y).norm() < 1e-4 * y.norm()


def basis(k: int, q: int) -> Tensor:
    g = torch.Generator().manual_seed(9)
    return torch.linalg.qr(torch.randn(k, q, generator=g, dtype=F64))[0]


def test_plain_closed_form_leaks_unless_a_is_blind_to_v():
    """The leak theorem: composite V = (I - P_B) D P_A V, not zero for a random A."""
    a, b, g = problem("generic", m=64, k=48, r=6)
    v = basis(48, 12)
    d = without(g, v)
    tiny = torch.tensor(1e-9, dtype=F64)

    def leak(a: Tensor) -> float:
        d_a, d_b = rectify(a, b, b.mT @ d, d @ a.mT, 1.0, tiny)
        composite = b @ d_a + d_b @ a
        return float((composite @ v).norm() / composite.norm())

    assert leak(a) > 0.05
    assert leak(without(a, v)) < 1e-12


def test_constrained_form_is_blind_to_v_for_any_a():
    a, b, g = problem("generic", m=20, k=16, r=5)
    v = basis(16, 3)  # rank(A V) = 3 of 5 rows: two blind combinations are left
    d = without(g, v)
    rows = blind_rows(a, v)
    assert round(float(rows.trace())) == 2
    filtered = rows @ a
    # D A^T rows: g_B rows suffice, because the filtered A does not read V
    d_a, d_b = rectify(filtered, b, b.mT @ d, (g @ a.mT) @ rows, 1.0, relative_damping(a, 1e-2))
    composite = b @ d_a + d_b @ a
    assert float((composite @ v).norm() / composite.norm()) < 1e-10
    assert float((d_b - d_b @ rows).norm()) < 1e-10


def test_constrained_form_keeps_only_directions_in_col_b_when_every_row_reads_v():
    a, b, g = problem("generic", m=20, k=16, r=4)
    v = basis(16, 9)
    rows = blind_rows(a, v)
    assert float(rows.abs().max()) < 1e-10
    d = without(g, v)
    lam = torch.tensor(1e-8, dtype=F64)
    d_a, d_b = rectify(rows @ a, b, b.mT @ d, (d @ a.mT) @ rows, 1.0, lam)
    p_b = b @ torch.linalg.pinv(b)
    assert (b @ d_a + d_b @ a - p_b @ d).norm() < 1e-6 * d.norm()
