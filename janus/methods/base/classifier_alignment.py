"""Classifier alignment: heads re-trained on features drawn from stored class Gaussians.

SLCA (Zhang et al., ICCV 2023) stores the mean and full covariance of every class's features and,
after each task, trains all heads together on samples of them: old classes need no images. Shared by
SLCA and InfLoRA+CA.

Shapes: D feature width, P stored Gaussians (one per class, and per domain in domain streams).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from janus.data.stream import Task
from janus.errors import RunError
from janus.keyed_random import generator
from janus.nn.heads import LinearHeads


class ClassGaussians:
    """N(mean, covariance + jitter I) of each class's features, as its own task saw them."""

    def __init__(self, width: int, jitter: float) -> None:
        self.jitter = jitter
        self.means = torch.zeros(0, width)
        self.roots = torch.zeros(0, width, width)
        """Lower Cholesky factors: root root^T is the covariance, jitter included."""
        self.classes = torch.zeros(0, dtype=torch.long)
        self.tasks = torch.zeros(0, dtype=torch.long)
        """Task that brought the entry."""

    @torch.no_grad()
    def add(self, features: Tensor, labels: Tensor, task: int) -> None:
        """Append one Gaussian per class of `labels` (N,) from its raw features (N, D).

        Unbiased covariance (ddof 1) [seen]; a class with a single image gets jitter I. The factor
        is stored instead of the covariance: as large, and made once, in float64. Raises RunError
        (cause `nan`) for features beside whose spread the jitter is lost to rounding.
        """
        present = labels.unique()
        means, roots = [], []
        for label in present:
            own = features[labels == label].double()
            centred = own - own.mean(0)
            covariance = centred.mT @ centred / max(len(own) - 1, 1)
            covariance.diagonal().add_(self.jitter)
            means.append(own.mean(0).float())
            root, failed = torch.linalg.cholesky_ex(covariance)
            if bool(failed):
                largest = float(own.abs().max())
                raise RunError(
                    f"the features of class {int(label)} (up to {largest:.1e}) have no Gaussian: "
                    "training diverged",
                    cause="nan",
                )
            roots.append(root.float())
        device = features.device
        self.means = torch.cat([self.means.to(device), torch.stack(means)])
        self.roots = torch.cat([self.roots.to(device), torch.stack(roots)])
        self.classes = torch.cat([self.classes.to(device), present])
        self.tasks = torch.cat([self.tasks.to(device), torch.full_like(present, task)])

    def sample(self, count: int, now: int, key: tuple[str | int, ...]) -> tuple[Tensor, Tensor]:
        """(features (P * count, D), labels): `count` draws of every Gaussian at task `now`.

        Means are scaled by 0.9 + 0.1 (t_c + 1) / (now + 1), t_c the task of the class: older
        classes are drawn in towards the origin [seen].
        """
        shrink = 0.9 + 0.1 * (self.tasks + 1) / (now + 1)
        drawn = []
        for entry, (mean, root) in enumerate(zip(self.means, self.roots, strict=True)):
            noise = torch.randn(count, len(mean), generator=generator("align", *key, entry))
            drawn.append(mean * shrink[entry] + noise.to(mean.device) @ root.mT)
        return torch.cat(drawn), self.classes.repeat_interleave(count)

    def state_dict(self) -> dict[str, Any]:
        """Means, factors, classes and tasks."""
        return {n: getattr(self, n) for n in ("means", "roots", "classes", "tasks")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        for name, value in state.items():
            setattr(self, name, value)


def aligned_loss(parts: list[Tensor], labels: Tensor, logit_norm: float) -> Tensor:
    """Cross-entropy over all classes of logits divided by their mean norm per head.

    parts: logits of each head (B, C_t). With logit_norm > 0 [seen: SLCA]
    z <- z / (mean_t |z_t|_2 * logit_norm): the loss can then turn logits, not stretch them.
    """
    logits = torch.cat(parts, dim=-1)
    if logit_norm > 0:
        norms = torch.stack([part.norm(dim=-1) + 1e-7 for part in parts]).mean(0)
        logits = logits / norms[:, None] / logit_norm
    return functional.cross_entropy(logits, labels)


class Aligner:
    """What a method keeps and does for alignment; settings: conf/method/_align.yaml."""

    def __init__(self, width: int, settings: Mapping[str, Any], key: tuple[str | int, ...]) -> None:
        self.settings, self.key = settings, key
        self.gaussians = ClassGaussians(width, settings["align_jitter"])
        self.unaligned: dict[str, Any] | None = None
        """The heads as training left them, where the next task starts from those."""

    def begin_task(self, heads: LinearHeads) -> None:
        """Bring back the heads as they were before the last alignment, if so set."""
        if self.unaligned is not None:
            heads.load_state_dict(self.unaligned)
            self.unaligned = None

    def end_task(self, heads: LinearHeads, features: Tensor, labels: Tensor, task: Task) -> None:
        """Store the task's Gaussians; from the second task on align all heads."""
        self.gaussians.add(features.float(), labels, task.index)
        if task.index == 0 or not self.settings["align_epochs"]:
            return
        if self.settings["align_restarts"]:
            self.unaligned = heads.state_dict()
        with torch.enable_grad(), torch.autocast(features.device.type, enabled=False):
            self._train(heads, task)

    def _train(self, heads: LinearHeads, task: Task) -> None:
        """SGD on fresh draws every epoch; the rate falls as (1 + cos(pi e / E)) / 2 [seen]."""
        s = self.settings
        heads.requires_grad_(True)
        optimizer = torch.optim.SGD(
            heads.parameters(), lr=s["align_lr"], momentum=0.9, weight_decay=s["align_decay"]
        )
        for epoch in range(s["align_epochs"]):
            fall = (1 + math.cos(math.pi * epoch / s["align_epochs"])) / 2
            optimizer.param_groups[0]["lr"] = s["align_lr"] * fall
            key = (*self.key, task.index, epoch)
            features, labels = self.gaussians.sample(s["align_samples"], task.index, key)
            order = torch.randperm(len(labels), generator=generator("align-order", *key))
            for batch in order.to(labels.device).split(s["align_samples"]):
                logits = [part(features[batch]) for part in heads.parts]
                loss = aligned_loss(logits, labels[batch], s["logit_norm"])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                task.on_batch()
        optimizer.zero_grad(set_to_none=True)
        heads.requires_grad_(False)
        heads.parts[-1].requires_grad_(True)  # a shared head goes on training

    def state_dict(self) -> dict[str, Any]:
        """Gaussians and the heads to return to; also what is kept between tasks."""
        return {"gaussians": self.gaussians.state_dict(), "unaligned": self.unaligned}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.gaussians.load_state_dict(state["gaussians"])
        self.unaligned = state["unaligned"]
