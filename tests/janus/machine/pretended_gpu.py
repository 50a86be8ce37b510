"""Steps, task ends and predictions on a pretended GPU: what would wait for it, or mix devices.

Tensors have shapes and devices but no values (torch's FakeTensorMode), so every product, copy and
gradient is asked for as on a GPU, without one. torch itself refuses an operator whose tensors lie
on several devices. Recorded is what makes the processor wait until a GPU has done all that it was
asked for: numbers read back, shapes that depend on values, decompositions that look for errors,
copies. Which kernels a GPU would choose, and in which order they add, is not to be seen here.

What torch is taught here lasts as long as the process: `python -m tests.janus.machine.pretended_gpu
[base] METHOD ...` prints one JSON line a method.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _pytree as pytree
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode

from janus.config.cell import Cell
from janus.data.images.images import Images
from janus.methods import make_method
from janus.methods.base.method import Context, Method
from janus.methods.base.precomputable import predict_batch
from janus.nn.vit import build_backbone
from janus.training import checkpoint
from janus.training.step import take_step
from tests.helpers.bed import SHAPES, Bed

NAME = "pretended"
OWN = Path(checkpoint.__file__).parents[1]
"""The package, wherever it lies."""
READS = ("_local_scalar_dense", "nonzero", "_unique2", "unique_dim", "masked_select", "equal")
"""Their result, or its shape, is a value."""
CHECKS = ("_linalg_eigh", "_linalg_svd", "_linalg_solve_ex", "linalg_inv_ex", "linalg_cholesky_ex")
"""torch reads back whether they failed (of those with _ex where it is told to)."""
REFUSED = (
    *("histc", "put_", "median", "nanmedian", "kthvalue", "nll_loss2d_forward", "_ctc_loss"),
    *("adaptive_avg_pool2d_backward", "_adaptive_avg_pool2d_backward", "max_unpool2d"),
    *("adaptive_max_pool2d_backward", "reflection_pad2d_backward", "grid_sampler_2d_backward"),
    *("upsample_bilinear2d_backward", "upsample_bicubic2d_backward"),
    *("_upsample_bilinear2d_aa_backward", "_upsample_bicubic2d_aa_backward"),
)
"""Operators without a repeatable kernel on a GPU, by the list of `use_deterministic_algorithms`:
with what janus/machine/determinism.py asks for, they raise."""
CLUSTERS = ("color", "color_pp")
"""Their task ends with scikit-learn's k-means, which wants values."""
FREE = ("empty", "detach", "alias", "_unsafe_view", "lift_fresh", "_local_scalar_dense")
"""Operators besides views that run no kernel of their own."""


@dataclass
class Asked:
    """What was asked of the device."""

    kernels: int = 0
    """Operators that compute something."""
    waits: Counter[str] = field(default_factory=Counter)
    """'file.py operator' of janus/ that would wait for the device, and how often."""


class Recorder(TorchDispatchMode):
    """Counts operators and notes those that wait.

    Values are made up: a number read back is 1, all of a mask is true, no two are equal.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked = Asked()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        tensors = [x for x in pytree.arg_tree_leaves(*args, **kwargs) if isinstance(x, Tensor)]
        on_device = any(x.device.type == NAME for x in tensors)
        if on_device and name in REFUSED:
            raise RuntimeError(f"{name} has no repeatable kernel on a GPU ({_place()})")
        if func.namespace == "aten" and on_device and not func.is_view:
            self.asked.kernels += not name.startswith(FREE)
        if (on_device and _waits(name, args)) or _crosses(name, args, kwargs):
            self.asked.waits[f"{_place()} {name}"] += 1
        made_up = _made_up(name, args)
        return func(*args, **kwargs) if made_up is None else made_up


def _waits(name: str, args: tuple[Any, ...]) -> bool:
    if name == "repeat_interleave":
        return isinstance(args[-1], Tensor)  # how often is a tensor
    if name in ("index", "index_put", "index_put_"):
        return any(i is not None and i.dtype == torch.bool for i in args[1])
    return name in READS + CHECKS


def _made_up(name: str, args: tuple[Any, ...]) -> Any:
    """A result that depends on values; None for other operators."""
    first = args[0] if args else None
    if name == "_local_scalar_dense":
        # 32 bits are how decompositions say what went wrong: nothing
        return 1.0 if first.dtype.is_floating_point else int(first.dtype != torch.int32)
    if name == "nonzero":
        return first.new_empty((first.numel(), first.dim()), dtype=torch.long)
    if name in ("_unique2", "unique_dim"):
        values = first.flatten() if name == "_unique2" else first
        return values, *(first.new_empty(len(values), dtype=torch.long) for _ in "12")
    if name == "index" and _waits(name, args):
        return first.flatten(0, args[1][0].dim() - 1)
    return None


def _crosses(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether this is a copy between the processor and the device."""
    if name == "copy_":
        return bool(args[0].device != args[1].device)
    wanted = kwargs.get("device")
    return name == "_to_copy" and wanted is not None and wanted != args[0].device


def _place() -> str:
    """The innermost file of janus/ that is being run."""
    files = [Path(f.filename) for f in traceback.extract_stack()]
    own = [f.relative_to(OWN).as_posix() for f in files if f.is_relative_to(OWN)]
    return own[-1] if own else "torch"


# ---- the device ----------------------------------------------------------------------------------
def teach() -> torch.device:
    """A device that torch knows by name only; once a process."""
    backend_registration._setup_privateuseone_for_python_backend(NAME)
    getattr(torch, NAME).get_amp_supported_dtype = lambda: [torch.bfloat16]
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=...) makes a fake one too
    # modules exchange their parameters' memory, which these have not
    nn.Module.to = _moved  # type: ignore[method-assign, assignment]
    nn.utils.skip_init = lambda kind, *args: kind(*args)  # type: ignore[assignment]
    return torch.device(NAME, 0)


def _moved(module: nn.Module, device: torch.device) -> nn.Module:
    for part in module.modules():
        for name, value in part._parameters.items():
            if value is not None and value.device != device:
                empty = torch.empty(value.shape, dtype=value.dtype, device=device)
                part._parameters[name] = nn.Parameter(empty, value.requires_grad)
        for name, value in part._buffers.items():
            if value is not None and value.device != device:
                part._buffers[name] = torch.empty(value.shape, dtype=value.dtype, device=device)
    return module


# ---- one method ----------------------------------------------------------------------------------
def dry_run(name: str, device: torch.device, shape: str = "toy") -> dict[str, Asked]:
    """The first task's begin and a step; steps and end of the third, resumed; a prediction.

    One step is of a batch in parts, and clipped.
    """
    bed = Bed(name, shape, 4, "cpu")
    bed.finish_tasks(2)
    bed.step()
    inside = bed.method.state_dict()
    bed.method.end_task(bed.now)
    after = bed.method.state_dict()
    with FakeTensorMode(allow_non_fake_inputs=True) as fake, Recorder():

        def faked(tree: Any) -> Any:
            copies = pytree.tree_map_only(Tensor, lambda t: fake.from_tensor(t.detach()), tree)
            return checkpoint.tree_to_device(copies, device)

        names = ("images", "labels", "domains")
        batch = replace(bed.batch, **faked({n: getattr(bed.batch, n) for n in names}))

        def fresh(cell: Cell = bed.cell) -> Method:
            model = build_backbone(cell.backbone, torch.device("cpu"))
            return make_method(Context(cell, _moved(model, device), device))

        method, found = fresh(), {}
        method.begin_task(replace(bed.task(0), device=device))
        take_step(method, replace(batch, labels=batch.labels - bed.now.first))
        names = ("store", "labels", "domains", "groups")
        images = {n: fake.from_tensor(getattr(bed.now.train, n)) for n in names}
        task = replace(bed.now, device=device, train=Images(**images))
        in_parts = replace(bed.cell, train=replace(bed.cell.train, accumulate=2, clip=1.0))
        method = fresh(in_parts)
        method.load_state_dict(faked(inside), task)
        found["step in parts"] = recorded(lambda: take_step(method, batch))
        method = fresh()
        method.load_state_dict(faked(inside), task)
        take_step(method, batch)  # makes the optimiser's state
        found["step"] = recorded(lambda: take_step(method, batch))
        if name not in CLUSTERS:
            method.end_task(task)
            method.diagnose([batch.images])
            first = task.first + task.classes
            method.begin_task(replace(task, index=3, first=first, seen=first + task.classes))
        method = fresh()
        method.load_state_dict(faked(after), None)
        with torch.no_grad():
            found["predict"] = recorded(lambda: method.predict(batch.images))
            queries = torch.zeros(len(batch.images), method.context.width, device=device)
            with_queries = replace(batch, queries=queries)
            found["predict_batch"] = recorded(lambda: predict_batch(method, with_queries))
    return found


def recorded(call: Callable[[], Any]) -> Asked:
    """What `call` asks of the device."""
    with Recorder() as recorder:
        call()
    return recorder.asked


def main(words: list[str]) -> None:
    device, shape = teach(), "toy"
    if words[0] in SHAPES:
        shape, *words = words
    for name in words:
        try:
            found = {k: vars(asked) for k, asked in dry_run(name, device, shape).items()}
        except Exception as error:  # the other methods are of interest too
            found = {"error": "".join(traceback.format_exception(error)[-6:])}
        print(json.dumps({"method": name, **found}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
