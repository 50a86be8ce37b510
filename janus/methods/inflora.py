"""InfLoRA (Liang and Li, CVPR 2024): A is designed before the task and frozen; only B is trained.

1. One pass before the task gives C = sum x x^T per block; its part outside the protected space
   is C - V V^T C (one-sided). 2. A_t = first r left singular vectors, transposed, / sqrt(3).
3. Train B_t and the head. 4. After the task a second pass grows V (DualGPM). [seen: authors' code]

DualGPM stores the complement once V is wider than D/2 and then shrinks it. That is the same
subspace in another form: here V is kept, and the tests hold the two forms equal. InfLoRA-b5
(`blocks: 5`, plain GPM) therefore differs in nothing but the adapted blocks. InfLoRA+CA (`align`)
re-trains the heads on class Gaussians after each task (janus/methods/base/classifier_alignment.py);
on CIFAR-100 its source also puts a fresh, untrained LayerNorm in the place of the pretrained final
one (`final_norm`) [seen: authors' code].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from janus.data.stream import Task
from janus.methods.base.classifier_alignment import Aligner
from janus.methods.base.method import Context
from janus.methods.base.subspace_lora import SubspaceLora
from janus.nn.lora import LoraQKV


def designed_a(moment: Tensor, basis: Tensor, rank: int) -> Tensor:
    """A (r, D): leading left singular vectors of C - V V^T C, scaled by 1/sqrt(3).

    The scale gives rows the norm they have under kaiming_uniform(a=sqrt 5) [seen].
    """
    moment, v = moment.double(), basis.double()
    rest = moment - v @ (v.mT @ moment)
    left, _, _ = torch.linalg.svd(rest, full_matrices=False)
    # a singular vector's sign is arbitrary; fix it so that every library gives the same A
    left = left[:, :rank]
    left = left * left.gather(0, left.abs().argmax(0, keepdim=True)).sign()
    rows: Tensor = left.mT / 3**0.5
    return rows.float()


def use_fresh_norm(context: Context) -> None:
    """Put a frozen LayerNorm of torch's (weight 1, bias 0, eps 1e-5) in place of the final norm."""
    fresh = nn.LayerNorm(context.width, device=context.device)
    context.backbone.norm = fresh.requires_grad_(False)


class InfLora(SubspaceLora):
    """Interference-free LoRA. Two extra passes per task, three with alignment."""

    state = "aligner"
    keeps = f"{SubspaceLora.keeps} aligner"
    passes_beside_training = 2.0
    trains_a = False

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        if context.settings["final_norm"] == "fresh":
            use_fresh_norm(context)
        self.aligner: Aligner | None = None
        if context.settings["align"]:
            self.aligner = Aligner(context.width, context.settings, context.key)
            self.passes_beside_training += 1.0

    def begin_task(self, task: Task) -> None:
        """Merge, then design A from a pass through the merged network, with train transforms."""
        if self.aligner is not None:
            self.aligner.begin_task(self.heads)
        super().begin_task(task)
        with torch.no_grad():
            for layer, collector in zip(
                self.layers, self.second_pass(task, augmented=True), strict=True
            ):
                basis = self.bases[layer.block].v
                layer.a.copy_(designed_a(collector.moment(), basis, layer.a.shape[1]))
        self.before = [(x.a.detach().clone(), x.b.detach().clone()) for x in self.layers]

    def start_adapter(self, layer: LoraQKV, task: Task) -> None:
        """B = 0; A follows from the pass."""
        with torch.no_grad():
            layer.a.zero_()
            layer.b.zero_()

    def end_task(self, task: Task) -> None:
        """Second pass; the threshold rises linearly from `subspace_energy` towards 1."""
        self.grow_bases(self.second_pass(task, augmented=True), task, one_sided=True)
        if self.aligner is not None:
            self.aligner.end_task(self.heads, *self.task_features(task), task)
        super().end_task(task)
