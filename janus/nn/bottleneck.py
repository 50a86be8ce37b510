"""Bottleneck adapters beside the MLP of every block of a vision transformer.

    h (B, N, D) --> norm2 --> mlp (frozen) ------------------> +   (B, N, D)
      \\-> down (D x K) -> ReLU -> up (K x D), * scale --------^

The adapter reads the residual stream before norm2 and adds beside the MLP, as in the code of
RanPAC and EASE [seen: PILOT]. That code also applies dropout of 0.1 to the hidden units in
training, which we leave out [choice]. The MLP is wrapped and norm2 has a hook; timm's block is not
re-implemented. Several adapters can exist; `use` selects the one that the network runs with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from janus.errors import ConfigError
from janus.keyed_random import generator


class Bottleneck(nn.Module):
    """The adapter of one block: scale * up(relu(down(h))). Zero at first, since `up` is zero."""

    def __init__(self, width: int, size: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.down = nn.utils.skip_init(nn.Linear, width, size)
        self.up = nn.utils.skip_init(nn.Linear, size, width)

    def forward(self, h: Tensor) -> Tensor:
        """The adapter's output, to be added to that of the MLP: (B, N, D) -> (B, N, D)."""
        share: Tensor = self.scale * self.up(functional.relu(self.down(h)))
        return share

    @torch.no_grad()
    def start(self, key: tuple[str | int, ...]) -> None:
        """Draw `down` like kaiming_uniform(a=sqrt 5), bound 1/sqrt(D); all else is 0 [seen]."""
        weight = self.down.weight
        draw = torch.rand(weight.shape, generator=generator("adapter", *key))
        weight.copy_((2 * draw - 1) * weight.shape[1] ** -0.5)
        for value in (self.down.bias, self.up.weight, self.up.bias):
            value.zero_()


class AdaptedMlp(nn.Module):
    """A frozen MLP plus the adapter in use, if any."""

    def __init__(self, block: nn.Module, width: int) -> None:
        super().__init__()
        self.mlp = block.mlp
        self.width = width
        self.adapter: Bottleneck | None = None
        self.stream: Tensor | None = None
        """The input of norm2, kept until the MLP is called; None without an adapter."""
        block.norm2.register_forward_pre_hook(self._listen)  # type: ignore[union-attr, operator]

    def _listen(self, norm: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.stream = inputs[0] if self.adapter is not None else None

    def forward(self, x: Tensor) -> Tensor:
        """mlp(x) plus the adapter's output."""
        out: Tensor = self.mlp(x)  # type: ignore[operator]
        if self.adapter is None:
            return out
        assert self.stream is not None
        out, self.stream = out + self.adapter(self.stream), None
        return out


def attach_bottlenecks(model: nn.Module) -> list[AdaptedMlp]:
    """Wrap the MLP of every block of a timm ViT in place; no adapter is in use yet.

    Raises ConfigError when the model's blocks have no `norm2` and `mlp`.
    """
    blocks = getattr(model, "blocks", None)
    if blocks is None or not all(hasattr(b, "norm2") and hasattr(b, "mlp") for b in blocks):
        raise ConfigError(
            f"{type(model).__name__} has no blocks[i].norm2 and .mlp to adapt; choose a timm ViT "
            "(vit_*) as backbone.model"
        )
    layers = []
    for block in blocks:
        layer = AdaptedMlp(block, int(model.num_features))  # type: ignore[arg-type]
        block.mlp = layer
        layers.append(layer)
    return layers


def new_adapter(
    layers: list[AdaptedMlp],
    size: int,
    scale: float,
    key: tuple[str | int, ...],
    device: torch.device,
) -> nn.ModuleList:
    """A new trainable adapter: one Bottleneck per block, drawn from the generator of `key`."""
    adapter = nn.ModuleList()
    for block, layer in enumerate(layers):
        part = Bottleneck(layer.width, size, scale)
        part.start((*key, block))
        adapter.append(part)
    return adapter.to(device)


class AdapterList(list[nn.ModuleList]):
    """Adapters of all tasks so far, made one by one by `make(index)`."""

    def __init__(self, make: Callable[[int], nn.ModuleList]) -> None:
        super().__init__()
        self.make = make

    def state_dict(self) -> list[dict[str, Tensor]]:
        """The weights of each adapter."""
        return [dict(adapter.state_dict()) for adapter in self]

    def load_state_dict(self, state: list[dict[str, Tensor]]) -> None:
        """Make the adapters again and give them these weights; none is trainable."""
        self.clear()
        for index, weights in enumerate(state):
            adapter = self.make(index)
            adapter.load_state_dict(weights)
            self.append(adapter.requires_grad_(False))


def use(layers: list[AdaptedMlp], adapter: nn.ModuleList | None) -> None:
    """Run the network with this adapter from now on; None: without any adapter."""
    for block, layer in enumerate(layers):
        part = None if adapter is None else adapter[block]
        assert part is None or isinstance(part, Bottleneck)
        layer.adapter = part
