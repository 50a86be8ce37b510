"""The optimiser of one task: Adam or SGD with the schedules of this literature, checkpointable."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from janus.config.method_spec import epoch_numbers
from janus.data.stream import Task


def quarter_cosine(at: int, last: int) -> float:
    """cos(99 pi at / (200 last)): 1 at the start, 0.0157 at `last` and after it."""
    return math.cos(99 * math.pi * min(at, last) / (200 * last)) if last > 0 else 1.0


class TaskOptimizer:
    """Made anew for each task: old momentum would point into the newly protected span."""

    def __init__(
        self,
        groups: Iterable[tuple[Iterable[nn.Parameter], float]],
        settings: Mapping[str, Any],
        task: Task,
        epsilon_hat: bool = False,
    ) -> None:
        """`groups`: (parameters, base learning rate); `settings`: conf/method/_training.yaml.

        epsilon_hat: Adam's step t is lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + 1e-8), the form
        at the end of section 2 of Kingma and Ba (2015). torch adds its epsilon after the bias
        correction, where it counts up to 32 times less in the first steps.
        """
        self.schedule = str(settings["schedule"])
        self.length = task.epochs
        """Epochs K of the schedule."""
        if settings["cosine_over"] == "later":
            self.length = task.cell.train.epochs
        late = round(settings["drop_at"] * task.epochs)
        self.drops = epoch_numbers(settings["milestones"]) or (late,)
        """Epochs, counted from 0, at whose start `drop` multiplies the rate."""
        self.drop_factor: float = settings["drop_factor"]
        self.epsilon_hat = epsilon_hat and settings["optimizer"] == "adam"
        self.steps_per_epoch, self.steps = task.steps_per_epoch, 0
        self.share: float = settings["first_rate"] if task.index == 0 else 1.0
        self.most = task.cell.train.clip
        """Largest norm of a step's gradients; None: any."""
        warmup = task.cell.train.warmup
        self.warm_steps = max(1, round(warmup * self.steps_per_epoch)) if warmup else 0
        """Steps n that take less than the schedule says."""
        made = [{"params": list(p), "lr": lr, "base": lr} for p, lr in groups]
        made = [group for group in made if group["params"]]
        decay = settings["weight_decay"]
        if settings["optimizer"] == "adam":
            self.inner: torch.optim.Optimizer = torch.optim.Adam(made, weight_decay=decay)
        else:
            self.inner = torch.optim.SGD(made, momentum=settings["momentum"], weight_decay=decay)

    @property
    def factor(self) -> float:
        """Share of the base learning rates that the current step takes.

        Warm-up multiplies the schedule by 1/(n + 1), ..., n/(n + 1), then 1: no step is lost to a
        rate of 0, epochs and milestones stay where they are, and the curve is met without a jump
        [choice]. As torch's LinearLR(start_factor=1/(n + 1), total_iters=n) in a ChainedScheduler.
        """
        warm = min(1.0, (self.steps + 1) / (self.warm_steps + 1))
        return self.share * warm * self._curve()

    def _curve(self) -> float:
        """The schedule at the current step. Epochs e count from 0, to K - 1.

        cosine: cos(99 pi max(e - 1, 0) / (200 (K - 1))). The authors' scheduler sets the first rate
        twice, so that the curve begins in the second epoch [seen: InfLoRA, LoRA-DRS, BiLoRA,
        CODA-Prompt]. cosine_step: the same curve over single steps, from the first on [choice].
        cosine_half: (1 + cos(pi e / K)) / 2, torch's CosineAnnealingLR with T_max = K [seen: PILOT,
        InfLoRA+CA, BiLoRA]. drop: `drop_factor` to the number of drops so far. constant: 1.
        """
        epoch = self.steps // self.steps_per_epoch
        if self.schedule == "drop":
            return self.drop_factor ** sum(epoch >= at for at in self.drops)
        if self.schedule == "cosine":
            return quarter_cosine(max(epoch - 1, 0), self.length - 1)
        if self.schedule == "cosine_step":
            return quarter_cosine(self.steps, self.length * self.steps_per_epoch - 1)
        if self.schedule == "cosine_half":
            return (1 + math.cos(math.pi * min(epoch, self.length) / self.length)) / 2
        return 1.0

    @torch.no_grad()
    def clip(self, *others: Tensor) -> None:
        """Scale the gradients, of all groups and `others` together, to a norm of at most `most`.

        In place, by one factor, as torch's clip_grad_norm_ [its 1e-6 included].
        """
        if self.most is None:
            return
        groups = self.inner.param_groups
        found = [p.grad for group in groups for p in group["params"] if p.grad is not None]
        found += others
        norm = torch.nn.utils.get_total_norm(found)
        factor = (self.most / (norm + 1e-6)).clamp_max(1.0)
        for gradient in found:
            gradient.mul_(factor)

    def step(self) -> None:
        """Step with the scheduled rate along the clipped gradients, then clear these."""
        self.clip()
        for group in self.inner.param_groups:
            group["lr"] = group["base"] * self.factor
            if self.epsilon_hat:
                group["eps"] = 1e-8 / math.sqrt(1 - 0.999 ** (self.steps + 1))
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
