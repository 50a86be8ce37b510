"""RanPAC (McDonnell et al., NeurIPS 2023): a ridge classifier on random projections.

1. First-session adaptation: in the first task a bottleneck adapter is trained under a proxy head,
   then the network is frozen for good. 2. h = ReLU(f W_rand), W_rand (D, M) ~ N(0, 1).
3. After every task G += H^T H, Q += H^T Y with one-hot Y. 4. W = (G + lambda I)^-1 Q, lambda from
   10^{-8..8} by squared error on a fifth of the current task. [seen: RanPAC's code]

The source takes the least error, in float32. In float64 that rule fails: with fewer images in a
task than projections the error is flat below about 10^3, the least one lies there by its last
digits, and where all images seen are about as many as projections such a penalty ruins the
classifier. So by default the largest penalty within 1 % of the least error is taken [choice].

G and Q are sums over images: with nothing adapted and a fixed lambda the classifier does not
depend on the order of the classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from janus.algorithms.ridge import choose_penalty, solve_directly, solve_ridge
from janus.data.stream import Task
from janus.keyed_random import generator
from janus.methods.base.adapter_method import AdapterMethod
from janus.methods.base.method import Context
from janus.methods.base.precomputable import FixedFeatures, Network


class RanPac(FixedFeatures, AdapterMethod):
    """Trains in the first task only; afterwards one pass per task."""

    state = "gram moment weights penalty classes"
    keeps = "adapters projection gram moment"
    passes_beside_training = 1.0

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        size = context.settings["projection"]
        # of the seed alone: the classifier must not depend on the order of the classes
        source = generator("ranpac", context.cell.seed)
        draw = torch.randn(context.width, size, generator=source)
        self.projection = draw.to(context.device)
        self.as_source = context.settings["ridge_rule"] == "float32"
        self.dtype = torch.float32 if self.as_source else torch.float64
        self.gram = torch.zeros(size, size, dtype=self.dtype, device=context.device)
        self.moment = torch.zeros(size, 0, dtype=self.dtype, device=context.device)
        self.weights = torch.zeros(size, 0, device=context.device)
        self.penalty = 0.0
        self.classes = 0

    @property
    def frozen_features(self) -> Network | None:
        """For good once the first task has adapted it; from the start with `adapt` off."""
        if not self.context.settings["adapt"]:
            return "pretrained"
        return "adapted" if self.adapters and self.proxy is None else None

    def epochs(self, task: Task) -> int:
        """The adapter is trained in the first task, and not at all with `adapt` off."""
        return task.epochs if task.index == 0 and self.context.settings["adapt"] else 0

    def begin_task(self, task: Task) -> None:
        """Start the adapter in the first task; make room for new classes."""
        self.classes = task.seen
        self.moment = functional.pad(self.moment, (0, task.seen - self.moment.shape[1]))
        if self.epochs(task):
            self.add_adapter(task)

    def project(self, features: Tensor) -> Tensor:
        """ReLU(f W_rand): (B, D) -> (B, M), in float32."""
        with torch.autocast(features.device.type, enabled=False):
            return functional.relu(features.float() @ self.projection)

    @torch.no_grad()
    def end_task(self, task: Task) -> None:
        """Freeze what was adapted, add the task's moments, choose the penalty, solve."""
        if self.epochs(task):
            self.freeze_adapter()
        features, labels = self.task_features(task)
        rows = self.project(features).to(self.dtype)
        targets = functional.one_hot(labels, self.classes).to(self.dtype)
        self.gram.addmm_(rows.mT, rows)
        self.moment.addmm_(rows.mT, targets)
        self.penalty = self.context.settings["ridge"] or self._chosen(rows, targets, task)
        solve = solve_directly if self.as_source else solve_ridge
        self.weights = solve(self.gram, self.moment, self.penalty).float()

    def _chosen(self, rows: Tensor, targets: Tensor, task: Task) -> float:
        """The penalty by squared error on a random fifth of the task, under `ridge_rule`."""
        key = (*self.context.key, task.index)
        order = torch.randperm(len(rows), generator=generator("ranpac-held-out", *key))
        return choose_penalty(rows, targets, order, self.context.settings["ridge_rule"])

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """(h W (B, classes seen), features)."""
        features = self.features(images)
        projected = self.project(features)
        with torch.autocast(features.device.type, enabled=False):
            return projected @ self.weights, features

    def diagnose(self, past: list[Tensor]) -> dict[str, Any]:
        """The penalty in use."""
        return {"ridge_penalty": self.penalty}
