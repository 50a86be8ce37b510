"""BiLoRA (CVPR 2025): each task trains a few Fourier coefficients of the weight update.

    dW_t = alpha Re(IFFT2(Theta_t)),  W = W0 + sum_i dW_i

Theta_t has n real coefficients at random fixed positions, the same for all blocks and projections,
with values of their own for each; they start at 0. There is no projection and no regulariser:
updates with disjoint supports are orthogonal by Parseval, and sparse random supports are nearly
disjoint [seen: authors' code].
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from janus.data.stream import Task
from janus.keyed_random import generator
from janus.methods.base.lora_method import LoraMethod
from janus.methods.base.method import Context
from janus.nn.fourier_update import DenseQKV, HalfSpectrum
from janus.nn.lora import LoraQKV, wrap


class BiLora(LoraMethod):
    """LoraMethod's loop with sparse spectra (L, P, n) instead of low-rank pairs."""

    state = "finished positions coefficients"
    keeps = "finished coefficients heads classifier"  # supports are drawn again from their keys

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.finished: list[Tensor] = []
        """Coefficients of earlier tasks; their updates are merged."""
        self._set_support(torch.zeros(0, dtype=torch.long))

    def make_layers(self, context: Context) -> list[LoraQKV]:
        """Layers that take a full-weight update."""
        targets = context.settings["targets"]
        make = partial(DenseQKV, targets=targets)
        return list(wrap(context.backbone, make))

    # ---- tasks ---------------------------------------------------------------------------------
    def begin_task(self, task: Task) -> None:
        """Merge the last update; a new support, all coefficients 0."""
        if task.index:
            self.finished.append(self.coefficients.detach().clone())
            self._transform()
        size = self.context.width**2
        draw = generator("bilora-support", *self.context.key, task.index)
        support = torch.randperm(size, generator=draw)
        # cut so that T disjoint supports could exist on a narrow backbone too
        count = min(self.context.settings["coefficients"], size // task.count)
        for layer in self.layers:
            layer.merge()
        self._set_support(support[:count].to(self.context.device))
        super().begin_task(task)

    def _restored(self) -> None:
        super()._restored()
        self.spectrum = HalfSpectrum(self.positions, self.context.width)
        self._transform()

    def _set_support(self, positions: Tensor) -> None:
        """Zero coefficients at `positions` (n,) of the flat D x D grid."""
        self.positions = positions
        self.spectrum = HalfSpectrum(positions, self.context.width)
        shape = (len(self.layers), len(self.context.settings["targets"]), len(positions))
        self.coefficients = nn.Parameter(torch.zeros(shape, device=self.context.device))

    def start_adapter(self, layer: LoraQKV, task: Task) -> None:
        """Nothing to draw."""

    def own_parameters(self) -> list[nn.Parameter]:
        """The coefficients."""
        return [self.coefficients]

    # ---- forward -------------------------------------------------------------------------------
    def features(self, images: Tensor) -> Tensor:
        """CLS features under the current coefficients."""
        self._transform()
        return super().features(images)

    def _transform(self) -> None:
        """Give every layer its update: one batched inverse FFT for all."""
        deltas = self.spectrum.update(self.coefficients, self.context.settings["alpha"])
        for layer, delta in zip(self.layers, deltas, strict=True):
            assert isinstance(layer, DenseQKV)
            layer.delta = delta

    # ---- diagnostics ---------------------------------------------------------------------------
    @torch.no_grad()
    def task_update(self) -> Tensor:
        """dW_t: (L, P, D, D)."""
        self._transform()
        return torch.stack([x.update() for x in self.layers])

    @contextmanager
    def previous_network(self) -> Iterator[None]:
        """The network without the current update."""
        for layer in self.layers:
            layer.enabled = False
        try:
            yield
        finally:
            for layer in self.layers:
                layer.enabled = True
