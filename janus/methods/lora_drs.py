"""LoRA-DRS: training in a drift-resistant space from subtracted LoRA (Liu and Chang, CVPR 2025).

Before task t > 1 the new images pass through W0 - sum_{j<t} B_j A_j, the pretrained weights with
the old tasks' adapters *taken off*. U_k spans the leading directions of its block inputs, the
fewest that hold 99 % of their energy (sigma^2); the finished optimiser step is projected onto it.
Published with two quirks [seen: authors' code], each a setting here:
* T = U_k U_k^T / |U_k U_k^T|_F: the step also shrinks by sqrt(k) (`sqrt_scaling`);
* the input-space T is applied to B's output dimension too (`both_sides`).
Local cross-entropy plus the augmented triplet loss; prediction by nearest class mean. Adam is the
source's own, which adds epsilon before the bias correction [seen].
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from janus.algorithms.losses import augmented_triplet
from janus.algorithms.subspace import complement, leading_span, padded
from janus.data.stream import Batch, Task
from janus.errors import ConfigError
from janus.keyed_random import generator
from janus.methods.base.classifier import Classifier
from janus.methods.base.method import Context
from janus.methods.base.rectified_lora import RectifiedLora, Rectifier
from janus.methods.base.whole_batch import WholeBatch
from janus.nn.heads import Prototypes
from janus.nn.lora import LoraQKV


class LoraDrs(WholeBatch, RectifiedLora):
    """Fresh adapters, their steps kept inside span(U_k).

    With `rectify` (Figure 6 of Janus-LoRA) the safe gradient is D = G U_k U_k^T: what is protected
    is the complement of span(U_k), V = U_k^perp, and the closed form applies as it stands. A then
    starts inside span(U_k), so that A V = 0 and the whole update is blind to V [derived].
    """

    state = "prototypes classes spans"
    keeps = f"{RectifiedLora.keeps} prototypes"  # W0 is the backbone's own weight file
    passes_beside_training = 2.0
    epsilon_hat = True  # as the source; B starts sparse, so that A's first gradients are tiny

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        s = context.settings
        self.pristine = [[w.clone() for w in x.slices()] for x in self.layers]
        """W0 of every layer and target; the weight file gives it back after a restart."""
        self.spans: list[Tensor] = []
        """U_k (D, k) per block; empty in the first task, which is not projected [seen]."""
        self.prototypes = Prototypes(context.width, context.device)
        self.classes = 0
        self.whole: tuple[Tensor, Tensor] | None = None
        """The triplet loss of the step's batch and its gradient (B, D) by the features, where the
        batch comes in parts."""
        if context.cell.train.accumulate > 1:
            self.passes_beside_training += context.cell.train.epochs  # see `begin_step`
        if s["rectify"] and (s["both_sides"] or s["sqrt_scaling"]):
            raise ConfigError(
                "method.rectify=true chooses both factors' steps itself; with it set "
                "method.both_sides=false and method.sqrt_scaling=false"
            )

    # ---- tasks ---------------------------------------------------------------------------------
    def begin_task(self, task: Task) -> None:
        """Merge, find the drift-resistant space, start an adapter."""
        self.classes = task.seen
        for layer in self.layers:
            layer.merge()
        self.spans = self._find_spans(task) if task.index else []
        super().begin_task(task)
        # B starts sparse, not zero: the jump it makes is part of the task's update
        self.before = [(a, torch.zeros_like(b)) for a, b in self.before]

    def _find_spans(self, task: Task) -> list[Tensor]:
        batches = task.train_batches("pass")
        with self.subtracted_network(), self.context.autocast():
            moments = self.input_moments(batch.images for batch in batches)
        energy = self.context.settings["subspace_energy"]
        return [leading_span(m.moment(), energy) for m in moments]

    @contextmanager
    def subtracted_network(self) -> Iterator[None]:
        """The network with weights W0 - (W - W0), W holding all finished adapters merged."""
        merged = [[w.clone() for w in x.slices()] for x in self.layers]
        try:
            for layer, start in zip(self.layers, self.pristine, strict=True):
                for own, first in zip(layer.slices(), start, strict=True):
                    own.copy_(2 * first - own)
            yield
        finally:
            for layer, kept in zip(self.layers, merged, strict=True):
                for own, value in zip(layer.slices(), kept, strict=True):
                    own.copy_(value)

    @torch.no_grad()
    def start_adapter(self, layer: LoraQKV, task: Task) -> None:
        """Random A (inside span(U_k) with a_init=projected); B with one N(0, 0.01^2) per column.

        The source draws B with torch's sparse_ at sparsity 1 - 1/D [seen].
        """
        super().start_adapter(layer, task)
        if self.spans and self.context.settings["a_init"] == "projected":
            span = self.spans[layer.block]
            layer.a.copy_(layer.a @ span @ span.mT)
        draw = generator("lora-b", *self.context.key, task.index, layer.block)
        targets, width, rank = layer.b.shape
        row = torch.randint(width, (targets, 1, rank), generator=draw)
        value = 0.01 * torch.randn(targets, 1, rank, generator=draw)
        layer.b.copy_(torch.zeros(layer.b.shape).scatter_(1, row, value))

    def make_rectifier(self, start: Tensor) -> Rectifier:
        """Protects what span(U_k) leaves out; A starts inside it, so no constraint is needed."""
        return Rectifier(
            self.layers, self.context.settings, self.protected(), start, constrained=False
        )

    def protected(self) -> Tensor:
        """V (blocks, 1, D, q): what span(U_k) leaves out; empty in the first task."""
        if not self.spans:
            return torch.zeros(
                len(self.layers), 1, self.context.width, 0, device=self.context.device
            )
        return padded([complement(span) for span in self.spans]).unsqueeze(1)

    # ---- steps ---------------------------------------------------------------------------------
    def begin_step(self, parts: list[Batch]) -> list[Batch]:
        """The triplet loss pairs all images of a batch: what it asks of each one's features.

        One more forward pass over the batch, which keeps no activations. A part then moves its
        features along the gradient of the whole batch's loss: exact, since the weights are the
        same in both passes.
        """
        with torch.no_grad():
            features = torch.cat([self.features(part.images) for part in parts])
        features.requires_grad_()
        term = self._triplet(features, torch.cat([part.labels for part in parts]))
        with torch.autocast(features.device.type, enabled=False):  # else backward rounds to bf16
            (gradient,) = torch.autograd.grad(term, features)
        self.whole = term.detach(), gradient
        return parts

    def extra_loss(self, features: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The augmented triplet loss against the batch and all old prototypes."""
        if self.whole is None:
            return {"atl": self._triplet(features, batch.labels)}
        value, gradient = self.whole
        mine = gradient[batch.start : batch.start + len(features)]
        # a part counts by its share of the batch: the gradient is of the whole, not of the share
        pull = len(gradient) / len(features) * (features.float() * mine.float()).sum()
        return {"atl": value + pull - pull.detach()}

    def _triplet(self, features: Tensor, labels: Tensor) -> Tensor:
        """The weighted loss among features (B, D)."""
        s = self.context.settings
        own = self.prototypes.own_class(labels)
        means = self.prototypes.means
        term = augmented_triplet(features, labels, means, own, s["triplet_margin"])
        weighted: Tensor = s["triplet_weight"] * term
        return weighted

    @torch.no_grad()
    def update(self) -> None:
        """Step, then keep the finished step inside span(U_k)."""
        self.whole = None
        before = self.step()
        if not self.spans:
            return
        s = self.context.settings
        for layer, span, a, b in zip(self.layers, self.spans, *before, strict=True):
            shrink = span.shape[1] ** -0.5 if s["sqrt_scaling"] else 1.0
            layer.a.copy_(a + shrink * ((layer.a - a) @ span @ span.mT))
            if s["both_sides"]:
                layer.b.copy_(b + shrink * (span @ (span.mT @ (layer.b - b))))

    @torch.no_grad()
    def end_task(self, task: Task) -> None:
        """Store the prototypes of the new classes; they are never updated."""
        self.prototypes.add(*self.task_features(task))
        super().end_task(task)

    def make_classifier(self) -> Classifier | None:
        """The class means are `prototypes`, which the triplet loss needs, too."""
        by_means = self.context.settings["classifier"] == "ncm"
        return None if by_means else super().make_classifier()

    def classify(self, features: Tensor) -> Tensor:
        """Cosine to the class means, or what `method.classifier` asks for."""
        if self.context.settings["classifier"] == "ncm":
            return self.prototypes.logits(features, self.classes)
        return super().classify(features)

    # ---- diagnostics ---------------------------------------------------------------------------
    @torch.no_grad()
    def diagnose(self, past: list[Tensor]) -> dict[str, Any]:
        """Adds k per block, and |dW V|_F / |dW|_F against V = span(U_k)^perp."""
        facts = super().diagnose(past)
        if self.spans:
            facts["span_size"] = [span.shape[1] for span in self.spans]
            delta = self.task_update().double()
            outside = (delta @ self.protected().double()).norm(dim=(-2, -1))
            ratio = outside / delta.norm(dim=(-2, -1)).clamp_min(1e-30)
            facts["violation_span"] = self._by_target(ratio)
        return facts
