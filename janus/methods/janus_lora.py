"""Janus-LoRA (ICML 2026): Online Estimation, Gradient Rectification, Decoupled Margin Loss.

Each part can be switched off on its own (`estimate`, `rectify`, `margin_loss`), which makes the
seven ablation rows of the paper seven configurations. Known from the paper's public material: the
three ideas, their ablation and figures [seen]. Its equations were not available: the algebra of
`rectification.py` (put into the step by `rectified_lora.py`), the estimators of `subspace.py` (put
into the method by `subspace_lora.py`) and the margin loss below are derived here.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from janus.algorithms.losses import cosines, nearest_old_cosine
from janus.algorithms.rectification import without
from janus.algorithms.subspace import Collector, make_collector
from janus.data.stream import Batch, Task
from janus.methods.base.method import Context
from janus.methods.base.rectified_lora import RectifiedLora, Rectifier
from janus.methods.base.subspace_lora import SubspaceLora
from janus.methods.base.whole_batch import WholeBatch
from janus.nn.heads import Prototypes


def decoupled_margin(
    features: Tensor,
    prototypes: Tensor,
    margin: float,
    smooth: bool,
    skip: Tensor | None = None,
    sharpness: float = 16.0,
) -> Tensor:
    """Decoupled Margin Loss: pushes new features away from old class prototypes.

    mean_i [ max_c cos(f_i, p_c) - margin ]_+ over old prototypes c, separate from cross-entropy
    and from any pull towards the own class. The paper's formula was not available: this reading
    matches its published statistic, the mean cosine to the nearest old prototype [derived].
    smooth: (1/g) log(1 + sum_c exp(g (cos - margin))), g = `sharpness`. Zero without prototypes.
    """
    if prototypes.shape[0] == 0:
        return features.sum() * 0.0
    if not smooth:
        return (nearest_old_cosine(features, prototypes, skip) - margin).clamp_min(0).mean()
    over = sharpness * (cosines(features, prototypes, skip) - margin)
    return torch.logsumexp(functional.pad(over, (0, 1)), dim=-1).mean() / sharpness


class JanusLora(WholeBatch, RectifiedLora, SubspaceLora):
    """Janus-LoRA (docs/janus-lora.md).

    A step: cross-entropy and margin loss, rectified gradients, a projected step of A. The inputs of
    the same forward passes are collected, and extend the protected bases V at the task's end.
    """

    state = "prototypes"
    training_state = "collectors"
    keeps = f"{SubspaceLora.keeps} prototypes"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        s = context.settings
        self.prototypes = Prototypes(context.width, context.device)
        self.collectors: list[Collector] = []
        self.collecting = False
        self.held: list[list[Tensor]] = []
        """Rows of each block that wait for the other parts of the step's batch."""
        self.passes_beside_training += float(s["margin_loss"])

    @property
    def a_in_null_space(self) -> bool:
        """True for `a_init=projected`."""
        return bool(self.context.settings["a_init"] == "projected")

    def make_collectors(self) -> list[Collector]:
        """One estimator per block."""
        s = self.context.settings
        steps = s["estimate_memory"]
        decay = 1.0 - 1.0 / steps if steps else 1.0
        sketch, share = s["sketch_size"], s["batch_share"]
        return [make_collector(s["estimator"], x.width, sketch, share, decay) for x in self.layers]

    # ---- tasks ---------------------------------------------------------------------------------
    def _start_training(self, task: Task) -> None:
        """Optimiser and rectifier, and a fresh estimate of the task's own subspace."""
        s = self.context.settings
        super()._start_training(task)
        self.collectors = self.make_collectors() if s["estimate"] else []
        last = task.steps_per_epoch * (task.epochs - 1)
        self.collect_from = last if s["estimator"] == "gs" else 0

    def make_rectifier(self, start: Tensor) -> Rectifier:
        """With `constrained`, only combinations of A's rows that do not read V are used."""
        s = self.context.settings
        return Rectifier(self.layers, s, self.all_bases, start, constrained=s["constrained"])

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy and margin loss; the forward pass hands its inputs to the collectors."""
        assert self.optimizer is not None
        self.collecting = bool(self.collectors) and self.optimizer.steps >= self.collect_from
        for layer in self.layers:
            layer.tap = self._collect if self.collecting else None
        terms = super().loss(batch)
        for layer in self.layers:
            layer.tap = None
        return terms

    def begin_step(self, parts: list[Batch]) -> list[Batch]:
        """Hold the inputs until all parts have passed: an estimator takes those of a step at once.

        Not needed for a plain sum over rows (`cov`), which adds up part by part.
        """
        s = self.context.settings
        plain = s["estimator"] == "cov" and not s["estimate_tokens"] and not s["estimate_memory"]
        self.held = [] if plain else [[] for _ in self.layers]
        return parts

    def _collect(self, block: int, rows: Tensor) -> None:
        if self.held:
            self.held[block].append(rows)
        else:
            self._estimate(block, rows)

    @torch.no_grad()
    def _estimate(self, block: int, rows: Tensor) -> None:
        tokens = self.context.settings["estimate_tokens"]
        if tokens and rows.shape[0] > tokens:
            # spread over images and, by the added step, over token positions
            at = torch.arange(tokens, device=rows.device)
            rows = rows[(at * rows.shape[0] // tokens + at) % rows.shape[0]]
        with torch.autocast(rows.device.type, enabled=False):
            self.collectors[block].update(rows, self.bases[block].v)

    def extra_loss(self, features: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The Decoupled Margin Loss against the prototypes of earlier tasks."""
        s = self.context.settings
        if not s["margin_loss"] or not len(self.prototypes.classes):
            return {}
        term = decoupled_margin(
            features,
            self.prototypes.means,
            s["margin"],
            s["margin_form"] == "smooth",
            self.prototypes.own_class(batch.labels),
        )
        return {"dml": s["margin_weight"] * term}

    # ---- steps ---------------------------------------------------------------------------------
    @torch.no_grad()
    def update(self) -> None:
        """Rectify the gradients, step, and project what the optimiser made of the step."""
        for block, rows in enumerate(self.held):
            if rows:
                self._estimate(block, torch.cat(rows))
        self.held = []
        before_a, before_b = self.step()
        if self.protects and not (self.rectifier is not None and self.rectifier.leaks):
            self.project_step(before_a)
        if self.rectifier is not None:
            self.rectifier.filter_step(before_b)

    def project_gradients(self) -> None:
        """Without rectification: g_A loses its part along V."""
        if self.protects:
            for layer, basis in zip(self.layers, self.bases, strict=True):
                assert layer.a.grad is not None
                layer.a.grad = without(layer.a.grad, basis.v)

    # ---- task ends -----------------------------------------------------------------------------
    @torch.no_grad()
    def end_task(self, task: Task) -> None:
        """Extend V by the collected inputs; store the prototypes of the new classes."""
        if self.collectors:
            self.grow_bases(self.collectors, task)
            self.collectors = []
        if self.context.settings["margin_loss"]:
            self.prototypes.add(*self.task_features(task))
        super().end_task(task)
