"""EASE (Zhou et al., CVPR 2024): one adapter per task, one subspace each, prototypes in all.

1. Task t trains a fresh adapter under a cosine proxy head with local cross-entropy; all adapters
   are frozen afterwards. 2. Features of all adapters are kept side by side (T D numbers, T forward
   passes). 3. New classes get mean features in every subspace. A class of an earlier task i has no
   images left for a later subspace t, so its prototype there is synthesised: softmax over classes c
   of cos(p_old,i , p_c,i) weighs the sum of p_c,t, with c all classes of tasks >= t so far.
4. logit_c = cos in c's own subspace + (alpha / (T - 1)) * sum of cos in the others. [seen: PILOT]

`resynthesise`: after every task the synthesised prototypes of all subspaces are made again, as all
configurations of the public code have it (recalc_sim) [seen]. Off: each once, when its subspace
appears, from the classes of that one task. In domain streams prototypes are keyed (class, domain)
and a class scores its best one [choice].
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from janus.data.stream import Task
from janus.methods.base.adapter_method import AdapterMethod
from janus.methods.base.method import Context
from janus.methods.base.precomputable import SideBySide
from janus.nn.bottleneck import use


def synthesise(prototypes: Tensor, tasks: Tensor, subspace: int) -> Tensor:
    """Prototypes in one subspace of all rows whose task is earlier: (R, D).

    prototypes (P, T, D); tasks (P,): the task of each row, whose own subspace bears its number. The
    sums run over the rows of tasks >= `subspace`, which have means there and in all earlier ones.
    """
    old, own, new = prototypes[tasks < subspace], tasks[tasks < subspace], tasks >= subspace
    at_home = functional.normalize(old[torch.arange(len(own), device=own.device), own], dim=-1)
    there = functional.normalize(prototypes[new][:, own], dim=-1)  # (C, R, D)
    weights = torch.einsum("rd,crd->rc", at_home, there).softmax(dim=-1)
    return weights @ prototypes[new, subspace]


class Ease(SideBySide, AdapterMethod):
    """Expandable subspaces. T forward passes a test image, t passes at the end of task t."""

    state = "prototypes row_classes row_tasks classes"
    keeps = "adapters prototypes row_classes row_tasks"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.passes_beside_training = (context.cell.bench.tasks + 1) / 2
        device = context.device
        self.prototypes = torch.zeros(0, 0, context.width, device=device)
        """(R, T, D): one row per (class, task), its means in every subspace."""
        self.row_classes = torch.zeros(0, dtype=torch.long, device=device)
        self.row_tasks = torch.zeros(0, dtype=torch.long, device=device)
        self.classes = 0

    def begin_task(self, task: Task) -> None:
        """A fresh adapter."""
        self.classes = task.seen
        self.add_adapter(task)

    @torch.no_grad()
    def end_task(self, task: Task) -> None:
        """Freeze the adapter; means of the new classes everywhere, earlier ones synthesised."""
        self.freeze_adapter()
        features, labels = self.task_features(task)
        each = features.float().unflatten(-1, (len(self.adapters), -1))
        present = labels.unique()
        new = torch.stack([each[labels == c].mean(0) for c in present])
        newest = len(self.adapters) - 1
        # earlier classes get a place in the new subspace, which is filled below
        old = functional.pad(self.prototypes, (0, 0, 0, 1))
        self.row_classes = torch.cat([self.row_classes, present])
        self.row_tasks = torch.cat([self.row_tasks, torch.full_like(present, newest)])
        self.prototypes = torch.cat([old, new])
        first = 1 if self.context.settings["resynthesise"] else max(newest, 1)
        for subspace in range(first, newest + 1):
            made = synthesise(self.prototypes, self.row_tasks, subspace)
            self.prototypes[self.row_tasks < subspace, subspace] = made

    @property
    def finished_networks(self) -> int:
        """All adapters but the one in training."""
        return len(self.adapters) - (self.proxy is not None)

    def features_under(self, images: Tensor, network: int) -> Tensor:
        """CLS features (B, D) under one adapter. Leaves the last one in use."""
        use(self.layers, self.adapters[network])
        found: Tensor = self.backbone(images)
        use(self.layers, self.adapters[-1])
        return found

    def classify(self, features: Tensor) -> Tensor:
        """Own-subspace cosine plus alpha times the mean of the others: (B, classes seen)."""
        tasks = len(self.adapters)
        share = self.context.settings["alpha"] / max(tasks - 1, 1)
        weight = torch.full((len(self.row_tasks), tasks), share, device=features.device)
        weight.scatter_(1, self.row_tasks[:, None], 1.0)
        with torch.autocast(features.device.type, enabled=False):
            unit = functional.normalize(features.float().unflatten(-1, (tasks, -1)), dim=-1)
            rows = functional.normalize(self.prototypes, dim=-1) * weight[..., None]
            scores = unit.flatten(1) @ rows.flatten(1).mT
        out = scores.new_full((len(scores), self.classes), float("-inf"))
        return out.scatter_reduce(1, self.row_classes.expand(len(scores), -1), scores, "amax")

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits; there is no single feature space."""
        return self.classify(self.features(images)), None
