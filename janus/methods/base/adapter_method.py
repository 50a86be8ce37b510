"""What methods with bottleneck adapters share: training one adapter under a cosine proxy head.

The proxy head only serves to train the adapter and is thrown away at the end of the task; what
classifies is up to the method (see ranpac.py, ease.py).
"""

from __future__ import annotations

from torch import Tensor, nn

from janus.algorithms.losses import local_cross_entropy
from janus.data.stream import Batch, Task
from janus.methods.base.method import Context, Method
from janus.methods.base.optimizer import TaskOptimizer
from janus.nn.bottleneck import AdapterList, attach_bottlenecks, new_adapter, use
from janus.nn.heads import CosineHead


class AdapterMethod(Method):
    """Adapters in every MLP, local cross-entropy of a cosine proxy head [seen: PILOT]."""

    state = "adapters"
    training_state = "proxy optimizer"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.layers = attach_bottlenecks(context.backbone)
        self.adapters = AdapterList(self._new_adapter)
        """Every adapter trained so far; the last one may be in training."""
        self.proxy: CosineHead | None = None
        self.optimizer: TaskOptimizer | None = None
        self.first_class = 0

    def _restored(self) -> None:
        super()._restored()
        use(self.layers, self.adapters[-1] if self.adapters else None)

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
        use(self.layers, self.adapters[-1].requires_grad_(True))
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
