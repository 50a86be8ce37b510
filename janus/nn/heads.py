"""Classifiers on features (B, D): linear heads that grow, a cosine head, nearest class mean."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from janus.keyed_random import generator


class LinearHeads(nn.Module):
    """One Linear per task; logits of all heads seen are concatenated, without task identity."""

    def __init__(
        self,
        width: int,
        bound: float | None = None,
        zero_bias: bool = False,
        deviation: float | None = None,
    ) -> None:
        """Weights start uniform in +-`bound` (default 1/sqrt(D), as torch's Linear), or normal with
        standard `deviation`; so do biases, which `zero_bias` sets to 0 instead.
        """
        super().__init__()
        self.width = width
        self.bound = width**-0.5 if bound is None else bound
        self.zero_bias, self.deviation = zero_bias, deviation
        self.parts = nn.ModuleList()

    def grow(self, classes: int, key: tuple[str | int, ...], device: torch.device) -> nn.Linear:
        """Freeze the existing heads and append one for `classes` new classes; returns it.

        Its start values are drawn from the generator of `key`.
        """
        for last in self.parts[-1:]:  # earlier heads are already frozen
            last.requires_grad_(False)
        head: nn.Linear = nn.utils.skip_init(nn.Linear, self.width, classes)
        draw = generator("head", *key, len(self.parts))
        with torch.no_grad():
            for value in head.parameters():
                if self.deviation is None:
                    value.copy_((2 * torch.rand(value.shape, generator=draw) - 1) * self.bound)
                else:
                    value.copy_(torch.randn(value.shape, generator=draw) * self.deviation)
            if self.zero_bias:
                head.bias.zero_()
        self.parts.append(head.to(device))
        return head

    def forward(self, features: Tensor) -> Tensor:
        """Logits over all classes seen: (B, C), by one product for all heads."""
        if len(self.parts) == 1:
            only: Tensor = self.parts[0](features)
            return only
        return functional.linear(features, *self._joined())

    def _joined(self) -> tuple[Tensor, Tensor]:
        """Weights (C, D) and biases (C,) of all heads."""
        heads = [part for part in self.parts if isinstance(part, nn.Linear)]
        return torch.cat([h.weight for h in heads]), torch.cat([h.bias for h in heads])

    @torch.no_grad()
    def state_dict(self) -> dict[str, Any]:  # type: ignore[override]
        """All weights and biases, and how many classes each head has: a few tensors, not two a
        task."""
        if not self.parts:
            return {"classes": []}
        weight, bias = self._joined()
        sizes = [part.out_features for part in self.parts]
        return {"weight": weight, "bias": bias, "classes": sizes}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # type: ignore[override]
        """Rebuild the heads on the device of `state`; only the last one is trainable."""
        self.parts, sizes = nn.ModuleList(), state["classes"]
        parts = [state[name].split(sizes) for name in ("weight", "bias")] if sizes else [(), ()]
        for size, weight, bias in zip(sizes, *parts, strict=True):
            head = nn.utils.skip_init(nn.Linear, self.width, size)
            head.load_state_dict({"weight": weight, "bias": bias})
            self.parts.append(head.to(weight.device).requires_grad_(False))
        for last in self.parts[-1:]:
            last.requires_grad_(True)


class CosineHead(nn.Module):
    """sigma * cos(f, w_c) with a learned factor sigma: (B, D) -> (B, C)."""

    def __init__(self, width: int, classes: int, sigma: float, key: tuple[str | int, ...]) -> None:
        super().__init__()
        draw = torch.rand(classes, width, generator=generator("cosine-head", *key))
        self.weight = nn.Parameter((2 * draw - 1) * width**-0.5)
        self.sigma = nn.Parameter(torch.tensor([sigma]))

    def forward(self, features: Tensor) -> Tensor:
        """Logits in float32, also under autocast."""
        with torch.autocast(features.device.type, enabled=False):
            unit = functional.normalize(features.float(), dim=-1)
            logits: Tensor = self.sigma * (unit @ functional.normalize(self.weight, dim=-1).mT)
        return logits


class Prototypes:
    """Unit class means, one per (class, domain); computed once and never updated."""

    def __init__(self, width: int, device: torch.device) -> None:
        self.means = torch.zeros(0, width, device=device)
        self.classes = torch.zeros(0, dtype=torch.long, device=device)

    @torch.no_grad()
    def add(self, features: Tensor, labels: Tensor) -> None:
        """Append the normalised mean of the raw features (N, D) of every class in `labels` (N,)."""
        present, sizes = labels.unique(return_counts=True)
        parts = features[labels.argsort(stable=True)].split(sizes.tolist())
        means = torch.stack([part.mean(0) for part in parts])
        means = functional.normalize(means.float(), dim=-1)
        self.means = torch.cat([self.means, means])
        self.classes = torch.cat([self.classes, present])

    def logits(self, features: Tensor, classes: int) -> Tensor:
        """Cosine to the nearest prototype of each class: (B, classes); -inf without a prototype."""
        with torch.autocast(features.device.type, enabled=False):
            cosine = functional.normalize(features.float(), dim=-1) @ self.means.mT
        out = cosine.new_full((features.shape[0], classes), float("-inf"))
        index = self.classes.expand(features.shape[0], -1)
        return out.scatter_reduce(1, index, cosine, reduce="amax")

    def own_class(self, labels: Tensor) -> Tensor:
        """Mask (B, P): true where a prototype belongs to the sample's own class."""
        return labels[:, None] == self.classes[None, :]

    def state_dict(self) -> dict[str, Any]:
        """Means and their classes."""
        return {"means": self.means, "classes": self.classes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.means, self.classes = state["means"], state["classes"]
