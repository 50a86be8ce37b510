"""Bases of past inputs: estimators against oracles, growth, thresholds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from janus.algorithms.subspace import (
    Basis,
    Covariance,
    FrequentDirections,
    GramSchmidt,
    energy_at,
    stacked_bases,
)
from janus.errors import RunError

WIDTH = 24


def stream(batches: int = 40, rows: int = 64, seed: int = 0) -> list[Tensor]:
    """A stationary stream with a decaying spectrum."""
    g = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=g))[0]
    scale = 0.7 ** torch.arange(WIDTH)
    return [(torch.randn(rows, WIDTH, generator=g) * scale) @ rotation.T for _ in range(batches)]


def gpm(rows: Tensor, old: Tensor, energy: float) -> Tensor:
    """Gradient Projection Memory as published: SVD of the residual of all inputs at once."""
    rows = rows.double()
    rest = rows - rows @ old.double() @ old.double().mT
    total = rows.square().sum()
    _, singular, right = torch.linalg.svd(rest, full_matrices=False)
    captured = (total - rest.square().sum() + singular.square().cumsum(0)) / total
    need = int((captured < energy).sum()) + 1
    return torch.cat([old.double(), right[:need].mT], 1)


def same_span(x: Tensor, y: Tensor) -> float:
    """Largest difference of the two projectors."""
    x, y = x.double(), y.double()
    return float((x @ x.mT - y @ y.mT).abs().max())


def test_online_covariance_equals_second_pass_gpm():
    batches = stream()
    collector, basis = Covariance(WIDTH), Basis(WIDTH)
    for batch in batches:
        collector.update(batch, basis.v)
    captured = basis.extend(collector.moment(), 0.97, "variance")
    want = gpm(torch.cat(batches), torch.zeros(WIDTH, 0), 0.97)
    assert basis.size == want.shape[1] and captured >= 0.97
    assert same_span(basis.v, want) < 1e-4


def test_second_task_appends_what_the_first_did_not_cover():
    basis = Basis(WIDTH)
    first = torch.cat(stream(seed=0))
    second = torch.cat(stream(seed=1))
    basis.extend((first.mT @ first).double(), 0.9, "variance")
    old = basis.v.clone()
    basis.extend((second.mT @ second).double(), 0.9, "variance")
    assert torch.equal(basis.v[:, : old.shape[1]], old)
    assert same_span(basis.v, gpm(second, old, 0.9)) < 1e-4
    assert float((basis.v.mT @ basis.v - torch.eye(basis.size)).norm()) < 1e-5


def test_frequent_directions_keeps_its_bound():
    """0 <= X^T X - S^T S <= |X - X_j|_F^2 / (l - j) for every j < l."""
    size = 8
    rows = torch.cat(stream())
    sketch = FrequentDirections(WIDTH, size)
    for batch in stream():
        sketch.update(batch, torch.zeros(WIDTH, 0))
    gap = torch.linalg.eigvalsh((rows.mT @ rows).double() - sketch.moment())
    spectrum = torch.linalg.eigvalsh((rows.mT @ rows).double()).flip(0)
    slack = 1e-4 * float(spectrum[0])
    assert float(gap.min()) > -slack
    for j in range(size):
        assert float(gap.max()) <= float(spectrum[j:].sum()) / (size - j) + slack
    # shrinking halves the sketch: it never holds more than 2l rows between updates
    assert sketch.sketch.shape[0] <= 2 * size


def test_greedy_basis_is_orthonormal_and_finds_the_leading_directions():
    greedy = GramSchmidt(WIDTH, share=0.01, cap=WIDTH)
    for batch in stream():
        greedy.update(batch, torch.zeros(WIDTH, 0))
    v = greedy.directions
    assert float((v.mT @ v - torch.eye(v.shape[1])).norm()) < 1e-5
    rows = torch.cat(stream())
    leading = torch.linalg.svd(rows, full_matrices=False)[2][:3].mT
    assert float((leading - v @ (v.mT @ leading)).norm()) < 0.05


@pytest.mark.parametrize(
    "make",
    [
        lambda: Covariance(WIDTH),
        lambda: FrequentDirections(WIDTH, 8),
        lambda: GramSchmidt(WIDTH, 0.001, WIDTH),
    ],
    ids=["cov", "fd", "gs"],
)
def test_growth_reaches_the_threshold_on_the_true_inputs(make):
    """Also on a second, equal task, where little may be added: the protected part counts."""
    basis, rows = Basis(WIDTH), torch.cat(stream())
    sizes = []
    for _ in range(2):
        collector = make()
        for batch in stream():
            collector.update(batch, basis.v)
        basis.extend(collector.moment(), 0.9, "variance", seen=collector.energy())
        true = float((rows @ basis.v).square().sum() / rows.square().sum())
        assert true >= 0.9 - 1e-6
        sizes.append(basis.size)
    assert sizes[1] <= sizes[0] + 1


@pytest.mark.parametrize(
    ("make", "holds"),
    [(lambda: FrequentDirections(WIDTH, 4), 8), (lambda: GramSchmidt(WIDTH, 0.1, WIDTH), 4)],
    ids=["fd", "gs"],
)
def test_energy_that_a_collector_lost_protects_no_arbitrary_directions(make, holds):
    """The threshold is out of its reach: V takes what it holds, and the share told is true."""
    basis, rows = Basis(WIDTH), torch.cat(stream())
    for _ in range(2):
        collector, before = make(), basis.size
        for batch in stream():
            collector.update(batch, basis.v)
        rank = int(torch.linalg.matrix_rank(collector.moment(), rtol=1e-6))
        told = basis.extend(collector.moment(), 0.9999, "variance", seen=collector.energy())
        true = float((rows @ basis.v).square().sum() / rows.square().sum())
        assert basis.size <= max(rank, before) and basis.size - before <= holds
        assert told <= true + 1e-4 and told < 0.9999
    assert 0 < basis.size < WIDTH


@pytest.mark.parametrize("make", [lambda: FrequentDirections(4, 2), lambda: GramSchmidt(4, 0.1, 4)])
def test_rows_that_are_not_finite_are_a_diverged_run_to_every_collector(make):
    with pytest.raises(RunError, match="diverged") as error:
        make().update(torch.full((8, 4), float("nan")), torch.zeros(4, 0))
    assert error.value.cause == "nan"


def test_collectors_continue_from_their_state():
    for make in (
        lambda: Covariance(WIDTH),
        lambda: FrequentDirections(WIDTH, 8),
        lambda: GramSchmidt(WIDTH, 0.01, WIDTH),
    ):
        whole, half = make(), make()
        none = torch.zeros(WIDTH, 0)
        batches = stream(10)
        for batch in batches:
            whole.update(batch, none)
        for batch in batches[:5]:
            half.update(batch, none)
        resumed = make()
        resumed.load_state_dict(half.state_dict())
        for batch in batches[5:]:
            resumed.update(batch, none)
        assert torch.equal(whole.moment(), resumed.moment())


def test_squared_spectrum_protects_fewer_directions():
    rows = torch.cat(stream())
    moment = (rows.mT @ rows).double()
    sizes = {}
    for spectrum in ("variance", "squared"):
        basis = Basis(WIDTH)
        basis.extend(moment, 0.95, spectrum)
        sizes[spectrum] = basis.size
    assert 0 < sizes["squared"] < sizes["variance"]


def test_squared_growth_equals_dualgpm_in_both_forms():
    """DualGPM's 'retain' form (store the complement, shrink it) is the same subspace."""
    first, second = (torch.cat(stream(seed=s)).double() for s in (0, 1))
    c1, c2 = first.mT @ first, second.mT @ second
    basis = Basis(WIDTH)
    basis.extend(c1, 0.95, "squared", one_sided=True)
    old = basis.v.double()
    basis.extend(c2, 0.99, "squared", one_sided=True)
    # the complement form, following the published steps
    complement = torch.linalg.svd(torch.eye(WIDTH, dtype=torch.float64) - old @ old.mT)[0]
    complement = complement[:, : WIDTH - old.shape[1]]
    left, residual, _ = torch.linalg.svd(complement @ complement.mT @ c2)
    total = torch.linalg.svdvals(c2).square().sum()
    outside, take = float(residual.square().sum() / total), 0
    while outside >= 1 - 0.99:
        outside -= float(residual[take].square() / total)
        take += 1
    grown = torch.cat([old, left[:, :take]], 1)
    assert take == basis.size - old.shape[1]
    assert same_span(basis.v, torch.linalg.qr(grown)[0]) < 1e-4


def test_first_task_of_inflora_stops_one_direction_short():
    """The authors' first task takes sum(captured < threshold) directions, later ones one more."""
    rows = torch.cat(stream()).double()
    moment = rows.mT @ rows
    shares = torch.linalg.svdvals(moment).square()
    short = int(((shares.cumsum(0) / shares.sum()) < 0.99).sum())
    basis = Basis(WIDTH)
    basis.extend(moment, 0.99, "squared", one_sided=True)
    assert basis.size == max(short, 1)


def test_nothing_is_added_when_enough_is_captured():
    rows = torch.cat(stream())
    moment = (rows.mT @ rows).double()
    basis = Basis(WIDTH)
    basis.extend(moment, 0.95, "variance")
    size = basis.size
    assert basis.extend(moment, 0.95, "variance") >= 0.95 and basis.size == size


def test_basis_never_exceeds_the_width():
    basis = Basis(4)
    basis.extend(torch.eye(4), 1.0, "variance")
    assert basis.size == 4
    basis.extend(torch.eye(4), 1.0, "variance")
    assert basis.size == 4


def test_diverged_inputs_are_an_error_not_a_basis():
    with pytest.raises(RunError, match="diverged"):
        Basis(4).extend(torch.full((4, 4), float("nan")), 0.9, "variance")


def test_threshold_rises_linearly_towards_one():
    assert energy_at(0, 10, 0.95, True) == 0.95
    assert energy_at(5, 10, 0.95, True) == pytest.approx(0.975)
    assert energy_at(5, 10, 0.95, False) == 0.95


def test_stacking_pads_with_columns_that_change_nothing():
    narrow, wide = Basis(4), Basis(4)
    wide.v = torch.eye(4)[:, :2]
    padded = stacked_bases([narrow, wide])
    assert padded.shape == (2, 4, 2) and float(padded[0].abs().sum()) == 0
