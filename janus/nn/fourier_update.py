"""BiLoRA's weight updates from few Fourier coefficients: Re(IFFT2(Theta)), Theta sparse and real.

For real Theta the real part is the inverse transform of the Hermitian mean of Theta(u, v) and
Theta(-u, -v). So only half the spectrum is filled, and one batched `irfft2` serves all blocks and
projections of a step. `dense` computes the same without this shortcut, for tests.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from janus.nn import matmul
from janus.nn.lora import LoraQKV, linear_rows


class HalfSpectrum:
    """Maps coefficients at `positions` (n,) of a flat D x D grid to places in the half spectrum."""

    def __init__(self, positions: Tensor, width: int) -> None:
        self.width, self.columns = width, width // 2 + 1
        u, v = positions // width, positions % width
        mirrored_u, mirrored_v = (-u) % width, (-v) % width
        direct, mirrored = v < self.columns, mirrored_v < self.columns
        self.source = torch.cat([direct.nonzero()[:, 0], mirrored.nonzero()[:, 0]])
        self.target = torch.cat(
            [
                (u * self.columns + v)[direct],
                (mirrored_u * self.columns + mirrored_v)[mirrored],
            ]
        )

    def update(self, coefficients: Tensor, alpha: float) -> Tensor:
        """alpha Re(IFFT2(Theta)) for coefficients (..., n): (..., D, D)."""
        half = coefficients.new_zeros(*coefficients.shape[:-1], self.width * self.columns)
        half = half.index_add(-1, self.target, 0.5 * coefficients[..., self.source])
        half = half.unflatten(-1, (self.width, self.columns))
        spectrum = torch.complex(half, torch.zeros_like(half))
        updates: Tensor = torch.fft.irfft2(spectrum, s=(self.width, self.width))
        return alpha * updates


def dense(coefficients: Tensor, positions: Tensor, width: int, alpha: float) -> Tensor:
    """alpha Re(IFFT2(Theta)) through the full complex spectrum (..., D, D)."""
    theta = coefficients.new_zeros(*coefficients.shape[:-1], width * width)
    theta[..., positions] = coefficients
    spectrum = theta.unflatten(-1, (width, width))
    updates: Tensor = torch.fft.ifft2(spectrum.to(torch.complex128)).real
    return alpha * updates.to(coefficients)


class DenseQKV(LoraQKV):
    """A frozen `qkv` whose target thirds get a full-weight update instead of a low-rank pair."""

    def __init__(self, linear: nn.Linear, block: int, targets: str) -> None:
        super().__init__(linear, block, targets, 0, 1.0)
        self.delta: Tensor | None = None
        """(targets, D, D); may carry a gradient."""

    def part(self, x: Tensor, rows: slice) -> Tensor:
        """Output of the updated projection for `rows`, which are whole thirds (q, k, v)."""
        if self.delta is None or not self.enabled:
            return linear_rows(self.linear, x, rows)
        thirds = list(self.linear.weight.split(self.width))
        for target, name in enumerate(self.targets):
            thirds["qkv".index(name)] = thirds["qkv".index(name)] + self.delta[target]
        mine = thirds[rows.start // self.width : rows.stop // self.width]
        bias = None if self.linear.bias is None else self.linear.bias[rows]
        return matmul.linear(x, torch.cat(mine), bias)

    @torch.no_grad()
    def update(self) -> Tensor:
        """The weight update (targets, D, D); zero when none is set."""
        nothing = torch.zeros(len(self.targets), self.width, self.width, device=self.a.device)
        return nothing if self.delta is None else self.delta.detach()

    @torch.no_grad()
    def merge(self) -> None:
        """Add the update to the frozen weight and drop it."""
        super().merge()
        self.delta = None
