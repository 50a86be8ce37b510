"""The optimiser of one task: Adam or SGD with the schedules of this literature, checkpointable."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from janus.data.tasks import Task


class TaskOptimizer:
    """Made anew for each task: old momentum would point into the newly protected span."""

    def __init__(
        self,
        groups: Iterable[tuple[Iterable[nn.Parameter], float]],
        settings: Mapping[str, Any],
        task: Task,
    ) -> None:
        """`groups`: (parameters, base learning rate); `settings`: conf/method/_training.yaml."""
        self.schedule, self.drop_at = str(settings["schedule"]), float(settings["drop_at"])
        self.epochs, self.steps_per_epoch = task.epochs, task.steps_per_epoch
        self.steps = 0
        made = [{"params": list(p), "lr": lr, "base": lr} for p, lr in groups]
        made = [group for group in made if group["params"]]
        decay = settings["weight_decay"]
        if settings["optimizer"] == "adam":
            self.inner: torch.optim.Optimizer = torch.optim.Adam(made, weight_decay=decay)
        else:
            self.inner = torch.optim.SGD(made, momentum=settings["momentum"], weight_decay=decay)

    @property
    def factor(self) -> float:
        """Share of the base learning rate at the current step.

        cosine: cos(99 pi e / (200 (K - 1))) at epoch e of K, stepped per epoch [seen: InfLoRA];
        cosine_step: the same curve over single steps; drop: a tenth from `drop_at` of the epochs
        on; constant: 1.
        """
        if self.schedule == "constant":
            return 1.0
        if self.schedule == "drop":
            late = self.steps // self.steps_per_epoch >= round(self.drop_at * self.epochs)
            return 0.1 if late else 1.0
        if self.schedule == "cosine":
            at, last = self.steps // self.steps_per_epoch, self.epochs - 1
        else:
            at, last = self.steps, self.epochs * self.steps_per_epoch - 1
        return math.cos(99 * math.pi * at / (200 * last)) if last > 0 else 1.0

    def step(self) -> None:
        """Step with the scheduled rate, then clear gradients."""
        for group in self.inner.param_groups:
            group["lr"] = group["base"] * self.factor
        self.inner.step()
        self.inner.zero_grad(set_to_none=True)
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        """Step count and per-parameter moments."""
        state = self.inner.state_dict()["state"]
        return {"steps": self.steps, "moments": {str(k): dict(v) for k, v in state.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`, on the same groups."""
        self.steps = state["steps"]
        whole = self.inner.state_dict()
        whole["state"] = {int(k): v for k, v in state["moments"].items()}
        self.inner.load_state_dict(whole)


class DenseAdam:
    """Adam's direction for full-weight gradients (blocks, targets, D, D), without a step.

    For preconditioning before the gradient is made safe: doing it after would break the safety.
    """

    def __init__(self) -> None:
        self.first: Tensor | None = None
        self.second: Tensor | None = None
        self.steps = 0

    def direction(self, gradient: Tensor) -> Tensor:
        """Bias-corrected m / (sqrt(v) + eps) after taking in `gradient`."""
        if self.first is None or self.second is None:
            self.first, self.second = torch.zeros_like(gradient), torch.zeros_like(gradient)
        self.steps += 1
        self.first.lerp_(gradient, 0.1)
        self.second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        scale = (self.second / (1 - 0.999**self.steps)).sqrt_().add_(1e-8)
        return self.first / (1 - 0.9**self.steps) / scale

    def state_dict(self) -> dict[str, Any]:
        """Moments and step count."""
        return {"first": self.first, "second": self.second, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.first, self.second, self.steps = state["first"], state["second"], state["steps"]
