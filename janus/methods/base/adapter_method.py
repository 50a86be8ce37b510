"""What methods with bottleneck adapters share: training one adapter under a cosine proxy head.

The proxy head only serves to train the adapter and is thrown away at the end of the task; what
classifies is up to the method (see ranpac.py, ease.py).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from janus.algorithms.losses import local_cross_entropy
from janus.data.stream import Batch, Task
from janus.methods.base.method import Context, Method
from janus.methods.base.optimizer import TaskOptimizer
from janus.nn.bottleneck import attach, new_adapter, use
from janus.nn.heads import CosineHead


class AdapterMethod(Method):
    """Adapters in every MLP, local cross-entropy of a cosine proxy head [seen: PILOT]."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.layers = attach(context.backbone)
        self.adapters: list[nn.ModuleList] = []
        """Every adapter trained so far; the last one may be in training."""
        self.proxy: CosineHead | None = None
        self.optimizer: TaskOptimizer | None = None
        self.first_class = 0

    # ---- training one adapter ------------------------------------------------------------------
    def add_adapter(self, task: Task) -> None:
        """A fresh adapter with its proxy head, ready to be trained."""
        self.adapters.append(self._new_adapter(task.index))
        self._start_training(task)

    def _new_adapter(self, index: int) -> nn.ModuleList:
        s, key = self.context.settings, (*self.context.key, index)
        return new_adapter(
            self.layers, s["bottleneck"], s["adapter_scale"], key, self.context.device
        )

    def _start_training(self, task: Task) -> None:
        s, key = self.context.settings, (*self.context.key, task.index)
        self.first_class = task.first
        use(self.layers, self.adapters[-1])
        head = CosineHead(self.context.width, task.classes, s["proxy_scale"], key)
        self.proxy = head.to(self.context.device)
        self.optimizer = TaskOptimizer(
            [
                (self.adapters[-1].parameters(), s["lr"]),
                (self.proxy.parameters(), s["head_lr"]),
            ],
            s,
            task,
        )

    def freeze_adapter(self) -> None:
        """End of the adapter's training: it never changes again, its proxy head goes."""
        self.adapters[-1].requires_grad_(False)
        self.proxy = self.optimizer = None

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the proxy head over the current task's classes."""
        assert self.proxy is not None
        logits = self.proxy(self.backbone(batch.images))
        return {"ce": local_cross_entropy(logits, batch.labels, self.first_class)}

    def update(self) -> None:
        """One optimiser step."""
        assert self.optimizer is not None
        self.optimizer.step()

    def trained_parameters(self) -> int:
        """The adapter in training and its proxy head."""
        if self.proxy is None:
            return 0
        return sum(p.numel() for m in (self.adapters[-1], self.proxy) for p in m.parameters())

    # ---- state ---------------------------------------------------------------------------------
    def state_dict(self) -> dict[str, Any]:
        """All adapters; the proxy head and the optimiser while one is in training."""
        return {
            "adapters": [dict(a.state_dict()) for a in self.adapters],
            "proxy": dict(self.proxy.state_dict()) if self.proxy else None,
            "optimizer": self.optimizer.state_dict() if self.optimizer else None,
        }

    def load_state_dict(self, state: dict[str, Any], task: Task | None) -> None:
        """Restore the adapters, and the proxy head and optimiser inside a task."""
        self.adapters = []
        for index, stored in enumerate(state["adapters"]):
            adapter = self._new_adapter(index)
            adapter.load_state_dict(stored)
            self.adapters.append(adapter.requires_grad_(False))
        use(self.layers, self.adapters[-1] if self.adapters else None)
        if task is not None and state["proxy"] is not None:
            self.adapters[-1].requires_grad_(True)
            self._start_training(task)
            assert self.proxy is not None and self.optimizer is not None
            self.proxy.load_state_dict(state["proxy"])
            self.optimizer.load_state_dict(state["optimizer"])
