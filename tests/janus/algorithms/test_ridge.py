"""Ridge regression against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from janus.algorithms.ridge import (
    direct_errors,
    held_out_errors,
    largest_within,
    least,
    solve_directly,
    solve_ridge,
)
from janus.errors import RunError

PENALTIES = [10.0**power for power in range(-8, 9)]


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
@pytest.mark.parametrize("measure", [held_out_errors, direct_errors])
def test_penalty_is_the_one_that_brute_force_chooses(rows, features, measure):
    h, y = data(rows, features)
    h[:, 3:] *= 0.1  # three strong features, which the targets follow up to noise
    y = h[:, :3] + 0.3 * y
    fit, held = slice(0, rows * 4 // 5), slice(rows * 4 // 5, rows)
    expected = []
    for penalty in PENALTIES:
        w = torch.from_numpy(by_least_squares(h[fit], y[fit], penalty))
        expected.append(float((h[held] @ w - y[held]).square().mean()))
    errors = measure(h[fit], y[fit], h[held], y[held], PENALTIES)
    well_posed = slice(3 if measure is direct_errors and features > rows else 0, None)
    assert errors[well_posed] == pytest.approx(expected[well_posed], rel=1e-5)
    chosen = least(PENALTIES, errors)
    assert chosen == PENALTIES[int(np.argmin(expected))]
    assert PENALTIES[0] < chosen < PENALTIES[-1]


def test_on_a_flat_curve_the_largest_penalty_within_a_share_is_taken():
    """The curve of one task of 200 glyphs: flat below 1e3, its least value at 1e-8 by a hair."""
    errors = [0.00139455274472 + 1e-13 * n for n in range(10)]  # 1e-8 .. 1e1
    errors += [0.00139478, 0.001396, 0.00140342, 0.0025, 0.007, 0.0099, 0.0099]  # 1e2 .. 1e8
    assert least(PENALTIES, errors) == 1e-8
    assert largest_within(PENALTIES, errors, 0.01) == 1e4
    assert largest_within(PENALTIES, errors, 0.001) == 1e2
    assert largest_within(PENALTIES, errors, 0.0) == 1e-8


def test_a_clear_minimum_is_taken_by_both_rules():
    errors = [abs(n - 6) + 1.0 for n in range(17)]
    assert least(PENALTIES, errors) == largest_within(PENALTIES, errors, 0.01) == PENALTIES[6]


def test_errors_that_are_not_finite_are_never_chosen():
    errors = [float("nan"), float("inf"), 2.0, 1.0, float("nan")]
    assert least(PENALTIES[:5], errors) == largest_within(PENALTIES[:5], errors, 0.01) == 1e-5
    with pytest.raises(RunError, match="diverged") as error:
        least(PENALTIES[:1], [float("nan")])
    assert error.value.cause == "nan"


def test_a_direct_solve_equals_numpys_in_its_own_precision():
    h, y = data(40, 12)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        gram, moment = (h.mT @ h).to(dtype), (h.mT @ y).to(dtype)
        found = solve_directly(gram, moment, 0.5)
        expected = np.linalg.solve(gram.numpy() + 0.5 * np.eye(12), moment.numpy())
        assert found.dtype == dtype
        assert np.allclose(found.numpy(), expected, rtol=tolerance, atol=tolerance)
