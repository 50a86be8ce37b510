"""BiLoRA's defining properties: sparse spectra, the fast transform, orthogonal updates."""

from __future__ import annotations

import pytest
import torch

from janus.nn.fourier_update import HalfSpectrum, dense
from tests.janus.methods.by_hand import started, train

FAST = {"method__lr": 1e-2, "method__head_lr": 1e-2, "method__coefficients": 60}


def support(width: int, count: int, seed: int) -> torch.Tensor:
    return torch.randperm(width**2, generator=torch.Generator().manual_seed(seed))[:count]


@pytest.mark.parametrize("width", [4, 5, 8, 9, 32])
def test_half_spectrum_equals_the_dense_form(width):
    """Also where a position is its own mirror image: every position is used once."""
    at = support(width, width**2, 0)
    c = torch.randn(2, 3, width**2, generator=torch.Generator().manual_seed(1))
    c = c.double().requires_grad_()
    fast, slow = HalfSpectrum(at, width).update(c, 7.0), dense(c, at, width, 7.0)
    assert torch.allclose(fast, slow, atol=1e-12)
    weights = torch.randn(fast.shape, generator=torch.Generator().manual_seed(2)).double()
    ours, theirs = (torch.autograd.grad((y * weights).sum(), c)[0] for y in (fast, slow))
    assert torch.allclose(ours, theirs, atol=1e-12)


def test_updates_with_disjoint_supports_are_orthogonal():
    """Disjoint also of each other's mirror images, which the real part couples."""
    width = 8
    grid = torch.arange(width**2)
    mirror = (-(grid // width)) % width * width + (-(grid % width)) % width
    first = support(width, 20, 3)
    taken = torch.cat([first, mirror[first]]).unique()
    second = grid[~torch.isin(grid, taken)]
    g = torch.Generator().manual_seed(4)
    one = HalfSpectrum(first, width).update(torch.randn(len(first), generator=g).double(), 3.0)
    two = HalfSpectrum(second, width).update(torch.randn(len(second), generator=g).double(), 3.0)
    assert abs(float((one * two).sum())) < 1e-12 * float(one.norm() * two.norm())
    free = first[(first != mirror[first]) & ~torch.isin(mirror[first], first)]
    coupled = HalfSpectrum(mirror[free], width).update(torch.ones(len(free)).double(), 3.0)
    own = HalfSpectrum(free, width).update(torch.ones(len(free)).double(), 3.0)
    assert torch.allclose(own, coupled)


@pytest.mark.slow
def test_all_blocks_share_a_support_and_tasks_do_not():
    method, stream = started("bilora", **FAST)
    supports = []
    for task in stream.tasks[:2]:
        train(method, task)
        spectra = torch.fft.fft2(method.task_update().double()).abs().amax((0, 1)).flatten()
        supports.append(set((spectra > 1e-4 * spectra.max()).nonzero()[:, 0].tolist()))
        mirrored = {(-(p // 32) % 32) * 32 + (-(p % 32)) % 32 for p in method.positions.tolist()}
        assert supports[-1] <= mirrored | set(method.positions.tolist())
    assert len(supports[0] & supports[1]) < 0.5 * len(supports[0])


@pytest.mark.slow
def test_network_is_pretrained_plus_the_sum_of_updates():
    method, stream = started("bilora", **FAST)
    pretrained = torch.stack([torch.stack(x.slices()) for x in method.layers]).clone()
    total = torch.zeros_like(pretrained)
    for task in stream.tasks[:3]:
        train(method, task)
        total += method.task_update()
    images = next(stream.tasks[0].plain_batches()).images
    with torch.no_grad():
        found = method.features(images)
        for layer in method.layers:
            layer.merge()
        assert torch.allclose(method.backbone(images), found, atol=1e-5)
    now = torch.stack([torch.stack(x.slices()) for x in method.layers])
    assert torch.allclose(now, pretrained + total, atol=1e-5)
    assert float(total.norm()) > 1e-2


def test_support_leaves_room_for_every_task_on_a_narrow_backbone():
    method, stream = started("bilora", method__coefficients=10_000)
    method.begin_task(stream.tasks[0])
    assert len(method.positions) == 32 * 32 // 4
