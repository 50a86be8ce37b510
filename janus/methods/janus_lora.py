"""Janus-LoRA (ICML 2026): Online Estimation, Gradient Rectification, Decoupled Margin Loss.

Each part can be switched off on its own (`estimate`, `rectify`, `margin_loss`), which makes the
seven ablation rows of the paper seven configurations. Known from the paper's public material: the
three ideas, their ablation and figures [seen]. Its equations were not available: the algebra of
`rectify.py`, the estimators of `subspace.py` and the loss of `losses.py` are derived here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from janus.data.tasks import Batch, Task
from janus.errors import ConfigError, RunError
from janus.heads import Prototypes
from janus.losses import decoupled_margin
from janus.methods.base import Context
from janus.methods.optim import DenseAdam
from janus.methods.protected import ProtectedLora
from janus.rectify import blind_rows, rectify, relative_damping, without
from janus.subspace import Collector


class JanusLora(ProtectedLora):
    """The recipe of docs/janus-lora.md: per step CE (+ DML), rectify, step; OE for free."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        s = context.settings
        self.prototypes = Prototypes(context.width)
        self.prototypes.means = self.prototypes.means.to(context.device)
        self.collectors: list[Collector] = []
        self.collecting = False
        self.row_filter: Tensor | None = None
        """Projector on the rows of A that do not read V (constrained rectification)."""
        self.dense = DenseAdam()
        self.in_weight_space = s["rectify"] and s["precondition"] != "factors"
        if self.in_weight_space and s["optimizer"] != "adam":
            raise ConfigError(
                f"method.precondition={s['precondition']} is Adam in full-weight space; with "
                f"optimizer={s['optimizer']} use precondition=factors"
            )
        self.passes_beside_training = float(s["margin_loss"])

    # ---- tasks ---------------------------------------------------------------------------------
    def begin_task(self, task: Task) -> None:
        """New adapter (A blind to V by default), fresh estimate of the task's own subspace."""
        if self.context.settings["estimate"]:
            self.collectors = self.make_collectors(self.context.settings["estimator"])
        super().begin_task(task)

    def _start_training(self, task: Task) -> None:
        s = self.context.settings
        super()._start_training(task)
        self.dense = DenseAdam()
        self.row_filter = None
        last = task.steps_per_epoch * (task.epochs - 1)
        self.collect_from = last if s["estimator"] == "gs" else 0
        a = torch.stack([start for start, _ in self.before])  # A V never changes within a task
        reads = self.protects and bool((a @ self.all_bases()).norm() > 1e-4 * a.norm())
        self.leaks = reads and s["rectify"] and not s["constrained"]
        if reads and s["rectify"] and s["constrained"]:
            self.row_filter = blind_rows(a, self.all_bases())
        for layer in self.layers:
            # the explicit weight gradient is paid for only where it is asked for
            layer.linear.weight.requires_grad_(s["rectify"] and s["precondition"] == "weight")

    def adapter_parameters(self) -> list[torch.nn.Parameter]:
        """None when this class steps the factors itself, in full-weight space."""
        return [] if self.in_weight_space else super().adapter_parameters()

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy, the margin loss, and (for free) the estimate's look at the inputs."""
        assert self.optimizer is not None
        self.collecting = bool(self.collectors) and self.optimizer.steps >= self.collect_from
        for layer in self.layers:
            layer.tap = self._collect if self.collecting else None
            if self.leaks and not self.in_weight_space:
                layer.start_probe(self.bases[layer.block].v)
        terms = super().loss(batch)
        for layer in self.layers:
            layer.tap = None
        return terms

    @torch.no_grad()
    def _collect(self, block: int, rows: Tensor) -> None:
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
        """Make the gradients safe and jointly optimal, step, and keep the finished step safe."""
        assert self.optimizer is not None
        bases = self.all_bases()
        before = [(x.a.detach().clone(), x.b.detach().clone()) for x in self.layers]
        if self.context.settings["rectify"]:
            try:
                self._rectify(bases)
            except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
                raise RunError(f"rectification met non-finite factors: {error}", "nan") from error
        elif self.protects:
            for layer, basis in zip(self.layers, self.bases, strict=True):
                assert layer.a.grad is not None
                layer.a.grad = without(layer.a.grad, basis.v)
        self.optimizer.step()
        if self.protects and not self.leaks:
            self.project_step([a for a, _ in before], bases)
        if self.row_filter is not None:
            # the optimiser mixed B's columns: only rows of A that are blind to V may be used
            for layer, (_, b), rows in zip(self.layers, before, self.row_filter, strict=True):
                layer.b.copy_(b + (layer.b - b) @ rows)

    def _rectify(self, bases: Tensor) -> None:
        """Replace (or, in weight space, apply) the factor gradients by the rectified ones."""
        s = self.context.settings
        scale = s["scale"]
        a = torch.stack([x.a for x in self.layers])
        b = torch.stack([x.b for x in self.layers])
        filtered = a if self.row_filter is None else self.row_filter @ a
        damping = relative_damping(a, s["damping"])
        if s["precondition"] == "weight":
            d = without(self.dense.direction(self._weight_gradient()), bases)
            d_a, d_b = rectify(filtered, b, b.mT @ d, d @ filtered.mT, scale, damping)
        else:
            bt_d, d_at = self._factor_products(bases)
            d_a, d_b = rectify(filtered, b, bt_d, d_at, scale, damping)
        if s["precondition"] == "composite":
            d = without(self.dense.direction(scale * (b @ d_a + d_b @ a)), bases)
            d_a, d_b = rectify(filtered, b, b.mT @ d, d @ filtered.mT, scale, damping)
        rate = s["lr"] * self.optimizer.factor if self.optimizer else 0.0
        for layer, new_a, new_b in zip(self.layers, d_a, d_b, strict=True):
            if self.in_weight_space:
                layer.a.sub_(rate * new_a)
                layer.b.sub_(rate * new_b)
                layer.a.grad = layer.b.grad = layer.linear.weight.grad = None
            else:
                layer.a.grad, layer.b.grad = new_a, new_b

    def _factor_products(self, bases: Tensor) -> tuple[Tensor, Tensor]:
        """B^T D and D A^T of D = G (I - V V^T) from the factor gradients alone: G is never formed.

        g_A = s B^T G gives B^T D = g_A P / s. g_B = s G A^T gives D A^T = g_B / s when A V = 0 or
        after filtering A's rows; else (G V)(A V)^T is taken off, G V coming from a probe.
        """
        scale = self.context.settings["scale"]
        g_a = torch.stack([_gradient(x.a) for x in self.layers])
        g_b = torch.stack([_gradient(x.b) for x in self.layers])
        bt_d, d_at = without(g_a, bases) / scale, g_b / scale
        if self.row_filter is not None:
            d_at = d_at @ self.row_filter
        if self.leaks:
            for i, layer in enumerate(self.layers):
                assert layer.probe is not None
                basis, zero = layer.probe
                d_at[i] -= _gradient(zero) @ (layer.a @ basis).mT
                layer.probe = None
        return bt_d, d_at

    def _weight_gradient(self) -> Tensor:
        """The explicit G of every target: (blocks, targets, D, D)."""
        return torch.stack(
            [
                torch.stack([_gradient(x.linear.weight)[x.rows(t)] for t in range(len(x.targets))])
                for x in self.layers
            ]
        )

    # ---- task ends -----------------------------------------------------------------------------
    @torch.no_grad()
    def end_task(self, task: Task) -> None:
        """Commit the estimate to V; store the prototypes of the new classes."""
        if self.collectors:
            self.grow_bases(self.collectors, task)
            self.collectors = []
        if self.context.settings["margin_loss"]:
            self.prototypes.add(*self.task_features(task))

    def kept(self) -> dict[str, Any]:
        """Merged weights, heads, bases, prototypes."""
        return super().kept() | {"prototypes": self.prototypes.state_dict()}

    def state_dict(self) -> dict[str, Any]:
        """Adds the running estimate, prototypes and full-weight moments."""
        return super().state_dict() | {
            "collectors": [c.state_dict() for c in self.collectors],
            "prototypes": self.prototypes.state_dict(),
            "dense": self.dense.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any], task: Task | None) -> None:
        """See LoraMethod."""
        super().load_state_dict(state, task)
        self.prototypes.load_state_dict(state["prototypes"], self.context.device)
        self.collectors = []
        if state["collectors"]:
            self.collectors = self.make_collectors(self.context.settings["estimator"])
            for collector, stored in zip(self.collectors, state["collectors"], strict=True):
                collector.load_state_dict(stored)
        self.dense.load_state_dict(state["dense"])


def _gradient(parameter: Tensor) -> Tensor:
    """The gradient that the last backward left, zero where nothing reached the parameter."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
