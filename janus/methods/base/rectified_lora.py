"""Gradient Rectification in the training step of a LoRA method.

`janus/algorithms/rectification.py` holds the algebra. `Rectifier` gets B^T D and D A^T from the
factor gradients, adds gradient taps where A reads what is protected, and says where Adam acts.
`RectifiedLora` is the base class of the methods that have the setting `rectify`: Janus-LoRA, and as
the plug-in of the paper's Figure 6 LoRA-GPM and LoRA-DRS [seen: the figure; derived: how it joins
them]. Each says what is protected (`make_rectifier`) and what it does to gradients otherwise
(`project_gradients`).

Shapes: A (blocks, targets, r, D), B (blocks, targets, D, r), V (blocks, 1, D, q), zero-padded.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from janus.algorithms.rectification import blind_rows, rectify, relative_damping, without
from janus.data.stream import Batch, Task
from janus.errors import ConfigError, RunError
from janus.methods.base.lora_method import LoraMethod
from janus.methods.base.method import Context
from janus.methods.base.optimizer import DenseAdam, TaskOptimizer
from janus.nn.lora import LoraQKV


def in_weight_space(settings: Mapping[str, Any]) -> bool:
    """Whether rectification steps the factors itself, Adam acting on full-weight directions.

    Raises ConfigError where another optimiser is asked for at the same time.
    """
    inside = bool(settings["rectify"]) and settings["precondition"] != "factors"
    if inside and settings["optimizer"] != "adam":
        raise ConfigError(
            f"method.precondition={settings['precondition']} is Adam in full-weight space; with "
            f"optimizer={settings['optimizer']} use precondition=factors"
        )
    return inside


class Rectifier:
    """Replaces the factor gradients of one task by rectified ones.

    D = G (I - V V^T) with V fixed during the task. Made anew for each task: moments and row
    filters belong to one V.
    """

    def __init__(
        self,
        layers: list[LoraQKV],
        settings: Mapping[str, Any],
        bases: Tensor,
        start: Tensor,
        constrained: bool,
    ) -> None:
        """`bases`: V; `start`: A at the task's start, whose A V never changes within the task.

        `constrained`: where A reads V, use only the rows blind to V; else the plain closed form,
        which leaks.
        """
        self.layers, self.settings, self.bases = layers, settings, bases
        self.dense = DenseAdam()
        reads = bases.shape[-1] > 0 and bool((start @ bases).norm() > 1e-4 * start.norm())
        self.leaks = reads and not constrained
        self.row_filter = blind_rows(start, bases) if reads and constrained else None
        """Projector on the rows of A that do not read V (constrained rectification)."""
        self.in_weight_space = in_weight_space(settings)
        for layer in layers:
            # the explicit weight gradient is paid for only where it is asked for
            layer.linear.weight.requires_grad_(settings["precondition"] == "weight")

    def watch(self) -> None:
        """Before a forward pass: ask its backward for G V, where A reads V and G is not formed."""
        if self.leaks and self.settings["precondition"] != "weight":
            for layer, basis in zip(self.layers, self.bases, strict=True):
                layer.tap_gradient(basis[0])

    # ---- steps ---------------------------------------------------------------------------------
    @torch.no_grad()
    def replace_gradients(self, optimizer: TaskOptimizer) -> None:
        """Replace (or, in weight space, apply) the factor gradients by the rectified ones.

        Raises RunError (cause `nan`) where the factors have stopped being finite.
        """
        try:
            d_a, d_b = self._solve(optimizer)
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise RunError(f"rectification met non-finite factors: {error}", "nan") from error
        rate = self.settings["lr"] * optimizer.factor
        for layer, new_a, new_b in zip(self.layers, d_a, d_b, strict=True):
            if self.in_weight_space:
                layer.a.sub_(rate * new_a)
                layer.b.sub_(rate * new_b)
                layer.a.grad = layer.b.grad = layer.linear.weight.grad = None
            else:
                layer.a.grad, layer.b.grad = new_a, new_b

    @torch.no_grad()
    def filter_step(self, before: Tensor) -> None:
        """After the optimiser's step, which mixed B's columns: only blind rows of A may be used.

        `before`: B (blocks, targets, D, r) before the step.
        """
        if self.row_filter is None:
            return
        for layer, b, rows in zip(self.layers, before, self.row_filter, strict=True):
            layer.b.copy_(b + (layer.b - b) @ rows)

    def _solve(self, optimizer: TaskOptimizer) -> tuple[Tensor, Tensor]:
        """dA, dB. In weight space Adam takes the full gradient: that is what is clipped."""
        s = self.settings
        scale = s["scale"]
        a = torch.stack([x.a for x in self.layers])
        b = torch.stack([x.b for x in self.layers])
        filtered = a if self.row_filter is None else self.row_filter @ a
        damping = relative_damping(a, s["damping"])
        if s["precondition"] == "weight":
            gradient = self.weight_gradient()
            optimizer.clip(gradient)
            d = without(self.dense.direction(gradient), self.bases)
            return rectify(filtered, b, b.mT @ d, d @ filtered.mT, scale, damping)
        bt_d, d_at = self.factor_products()
        d_a, d_b = rectify(filtered, b, bt_d, d_at, scale, damping)
        if s["precondition"] == "composite":
            gradient = scale * (b @ d_a + d_b @ a)
            optimizer.clip(gradient)
            d = without(self.dense.direction(gradient), self.bases)
            d_a, d_b = rectify(filtered, b, b.mT @ d, d @ filtered.mT, scale, damping)
        return d_a, d_b

    def factor_products(self) -> tuple[Tensor, Tensor]:
        """B^T D and D A^T of D = G (I - V V^T) from the factor gradients alone: G is never formed.

        g_A = s B^T G gives B^T D = g_A P / s. g_B = s G A^T gives D A^T = g_B / s when A V = 0 or
        after filtering A's rows; else (G V)(A V)^T is taken off, G V coming from the gradient tap.
        """
        scale = self.settings["scale"]
        g_a = torch.stack([_gradient(x.a) for x in self.layers])
        g_b = torch.stack([_gradient(x.b) for x in self.layers])
        bt_d, d_at = without(g_a, self.bases) / scale, g_b / scale
        if self.row_filter is not None:
            d_at = d_at @ self.row_filter
        if self.leaks:
            for i, layer in enumerate(self.layers):
                assert layer.gradient_tap is not None
                basis, zero = layer.gradient_tap
                d_at[i] -= _gradient(zero) @ (layer.a @ basis).mT
        return bt_d, d_at

    def weight_gradient(self) -> Tensor:
        """The explicit G of every target: (blocks, targets, D, D)."""
        return torch.stack(
            [
                torch.stack([_gradient(x.linear.weight)[x.rows(t)] for t in range(len(x.targets))])
                for x in self.layers
            ]
        )

    # ---- state ---------------------------------------------------------------------------------
    def state_dict(self) -> dict[str, Any]:
        """Full-weight moments; the rest follows from V and A's start."""
        return self.dense.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.dense.load_state_dict(state)


def _gradient(parameter: Tensor) -> Tensor:
    """The gradient that the last backward left, zero where nothing reached the parameter."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


class RectifiedLora(LoraMethod):
    """A LoRA method that can step along rectified gradients; the rectifier is made per task."""

    training_state = "rectifier"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.rectifier: Rectifier | None = None
        """The Gradient Rectification of the current task."""
        self.in_weight_space = in_weight_space(context.settings)

    @abstractmethod
    def make_rectifier(self, start: Tensor) -> Rectifier:
        """The rectifier of a task that begins with A = `start` (blocks, targets, r, D)."""

    def project_gradients(self) -> None:
        """What is done to the factor gradients without rectification; by default nothing."""

    def _start_training(self, task: Task) -> None:
        super()._start_training(task)
        if self.context.settings["rectify"]:
            self.rectifier = self.make_rectifier(torch.stack([a for a, _ in self.before]))

    def optimized_parameters(self) -> Sequence[nn.Parameter]:
        """None when the rectifier steps the factors itself, in full-weight space."""
        return [] if self.in_weight_space else super().optimized_parameters()

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The method's loss; its backward also gives what rectification needs."""
        if self.rectifier is not None:
            self.rectifier.watch()
        return super().loss(batch)

    @torch.no_grad()
    def step(self) -> tuple[Tensor, Tensor]:
        """Rectify or project the gradients, then one optimiser step.

        Returns A (blocks, targets, r, D) and B (blocks, targets, D, r) from before the step, for
        what is done to finished steps.
        """
        assert self.optimizer is not None
        before_a = torch.stack([x.a for x in self.layers])
        before_b = torch.stack([x.b for x in self.layers])
        if self.rectifier is not None:
            self.rectifier.replace_gradients(self.optimizer)
        else:
            self.project_gradients()
        for layer in self.layers:
            layer.gradient_tap = None
        self.optimizer.step()
        return before_a, before_b
