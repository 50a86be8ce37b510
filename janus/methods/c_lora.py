"""C-LoRA (arXiv 2502.17920): one shared low-rank pair, and a routing matrix that the tasks fill.

    W_t = W0 + B (sg(R_old) + R_new) A,   R_new (r, r) = 0 at the start of a task
    loss = CE + l (|U^T R_new|_F^2 + |R_new V|_F^2),   then R_old <- R_old + R_new

Known from abstract pages and a formalisation only. There the penalty is |A_old^T R_new|_F^2, whose
shapes do not match; here U and V are the left and right singular vectors of R_old that carry 99 %
of its energy [derived]. A and B stay trainable; their gradients come from R_new alone, because the
paper's theorem compares fresh with old-plus-fresh gradient contributions [derived].
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from janus.data.stream import Batch, Task
from janus.keyed_random import generator
from janus.methods.base.lora_method import LoraMethod
from janus.methods.base.method import Context
from janus.nn.lora import LoraQKV


def carrying(routing: Tensor, energy: float) -> tuple[Tensor, Tensor]:
    """Projectors (..., r, r) on the leading left and right singular vectors of `routing`.

    As few vectors as carry `energy` of the sum of squared singular values; none where R = 0.
    """
    left, sizes, right = torch.linalg.svd(routing.double())
    total = sizes.square().sum(-1, keepdim=True)
    before = sizes.square().cumsum(-1) - sizes.square()
    used = ((before < energy * total) & (total > 0)).double().unsqueeze(-2)
    left, right = left * used, right.mT * used
    return (left @ left.mT).to(routing), (right @ right.mT).to(routing)


class CLora(LoraMethod):
    """A carried pair (A, B) routed by R = R_old + R_new, per block and target projection."""

    state = "old new"
    keeps = "adapters routing heads classifier"  # W0 never changes

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        shape = (len(self.layers), *self.layers[0].a.shape[:2], self.layers[0].a.shape[1])
        self.old = torch.zeros(shape, device=context.device)
        """R_old, (L, P, r, r)."""
        self.new = nn.Parameter(torch.zeros_like(self.old))
        """R_new, (L, P, r, r)."""
        self.tasks_routed = 0
        """Tasks that R_old holds."""
        self.left = self.right = torch.zeros_like(self.old)
        """Projectors on what R_old uses, rows and columns."""

    # ---- tasks ---------------------------------------------------------------------------------
    def begin_task(self, task: Task) -> None:
        """R_old takes over R_new, which leaves the network as it is."""
        with torch.no_grad():
            self.old = self.old + self.new
            self.new.zero_()
        super().begin_task(task)
        self._route()

    def start_adapter(self, layer: LoraQKV, task: Task) -> None:
        """A and B both drawn, as a Linear's weights: with R = 0 the network is the pretrained one.

        B = 0 would leave A, B and R without any gradient.
        """
        super().start_adapter(layer, task)
        draw = generator("c-lora-b", *self.context.key, layer.block)
        bound = layer.b.shape[-1] ** -0.5
        with torch.no_grad():
            layer.b.copy_((2 * torch.rand(layer.b.shape, generator=draw) - 1) * bound)

    def _start_training(self, task: Task) -> None:
        super()._start_training(task)
        self.tasks_routed = task.index
        self.left, self.right = carrying(self.old, self.context.settings["routing_energy"])

    def own_parameters(self) -> list[nn.Parameter]:
        """A, B and R_new."""
        return [*super().own_parameters(), self.new]

    # ---- forward -------------------------------------------------------------------------------
    def features(self, images: Tensor) -> Tensor:
        """CLS features; the part through R_old passes gradients to its input only."""
        self._route()
        return super().features(images)

    @property
    def routing(self) -> Tensor:
        """R = R_old + R_new, (L, P, r, r)."""
        return self.old + self.new

    def _restored(self) -> None:
        super()._restored()
        self._route()

    def _route(self) -> None:
        """Hand every layer its routing; A and B of the old part are today's, detached."""
        stop = self.context.settings["old_gradients"] == "stopped"
        for layer, old, new in zip(self.layers, self.old, self.new, strict=True):
            if stop:
                layer.routing = new
                layer.frozen = (layer.a.detach(), layer.scale * layer.b.detach() @ old)
            else:
                layer.routing = old + new

    def extra_loss(self, features: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The penalty on what R_new shares with R_old."""
        if not self.tasks_routed:
            return {}
        shared = (self.left @ self.new).square().sum() + (self.new @ self.right).square().sum()
        return {"routing": self.context.settings["penalty"] * shared}

    # ---- diagnostics ---------------------------------------------------------------------------
    @torch.no_grad()
    def task_update(self) -> Tensor:
        """s (B R A now - B R A at the task's start): (L, P, D, D)."""
        scale = self.context.settings["scale"]
        now = [x.b @ r @ x.a for x, r in zip(self.layers, self.routing, strict=True)]
        then = [b @ r @ a for (a, b), r in zip(self.before, self.old, strict=True)]
        moved: Tensor = scale * (torch.stack(now) - torch.stack(then))
        return moved

    @contextmanager
    def previous_network(self) -> Iterator[None]:
        """The network as it was when the current task began."""
        learnt = self.new.detach().clone()
        with super().previous_network():
            try:
                self._set_new(torch.zeros_like(learnt))
                yield
            finally:
                self._set_new(learnt)
        self._route()

    @torch.no_grad()
    def _set_new(self, value: Tensor) -> None:
        self.new.copy_(value)
        self._route()
