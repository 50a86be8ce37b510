"""Ridge regression against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from janus.ridge import choose_penalty, solve_ridge


def data(rows: int, features: int):
    g = torch.Generator().manual_seed(rows)
    h = torch.randn(rows, features, generator=g, dtype=torch.float64)
    y = torch.randn(rows, 3, generator=g, dtype=torch.float64)
    return h, y


def by_least_squares(h, y, penalty: float) -> np.ndarray:
    """Ridge as ordinary least squares on rows extended by sqrt(penalty) I."""
    m = h.shape[1]
    rows = np.concatenate([h.numpy(), np.sqrt(penalty) * np.eye(m)])
    targets = np.concatenate([y.numpy(), np.zeros((m, y.shape[1]))])
    return np.linalg.lstsq(rows, targets, rcond=None)[0]


@pytest.mark.parametrize(("rows", "features"), [(40, 12), (12, 40)])
@pytest.mark.parametrize("penalty", [1e-4, 1.0, 1e3])
def test_solution_is_that_of_the_extended_least_squares_problem(rows, features, penalty):
    h, y = data(rows, features)
    found = solve_ridge(h.mT @ h, h.mT @ y, penalty)
    assert np.allclose(found.numpy(), by_least_squares(h, y, penalty), rtol=1e-6, atol=1e-8)


def test_a_gram_matrix_made_indefinite_by_rounding_is_solved_all_the_same():
    h, y = data(5, 12)
    gram = h.mT @ h - 1e-6 * torch.eye(12, dtype=torch.float64)
    found = solve_ridge(gram, h.mT @ y, 1e-8)
    assert bool(found.isfinite().all()) and torch.allclose(h @ found, y, atol=1e-3)


def test_a_penalty_lost_in_rounding_leaves_the_null_space_alone():
    h, y = data(60, 400)
    h = 300 * h.relu()  # tr G is 1e9 here: rounding is far above the penalty
    gram, moment = h.mT @ h, h.mT @ y
    found = solve_ridge(gram, moment, 1e-8)
    assert torch.allclose(found, torch.linalg.pinv(h) @ y, atol=1e-8)


@pytest.mark.parametrize(("rows", "features"), [(40, 12), (30, 60)])
def test_penalty_is_the_one_that_brute_force_chooses(rows, features):
    h, y = data(rows, features)
    h[:, 3:] *= 0.1  # three strong features, which the targets follow up to noise
    y = h[:, :3] + 0.3 * y
    penalties = [10.0**p for p in range(-8, 9)]
    fit, held = slice(0, rows * 4 // 5), slice(rows * 4 // 5, rows)
    errors = []
    for penalty in penalties:
        w = torch.from_numpy(by_least_squares(h[fit], y[fit], penalty))
        errors.append(float((h[held] @ w - y[held]).square().mean()))
    chosen = choose_penalty(h[fit], y[fit], h[held], y[held], penalties)
    assert chosen == penalties[int(np.argmin(errors))]
    assert penalties[0] < chosen < penalties[-1]
