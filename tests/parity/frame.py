"""The product's side of a comparison: the loop of janus/training/loop.py on a tiny stream, in
float64.

    bench      10 classes of random patterns (10 train, 4 test images each), tasks of 4, 3, 3; or,
               with bench.scenario=domain, tasks of all classes in one of 3 colours
    backbone   ViT of width 48, 3 blocks, 2 heads, 32 x 32 pixels in patches of 8, random weights
    method     settings of a published bench (CIFAR-100 by default) under a short training

A reference gets `Given`: the weights before any adapter, and of every task the very batches that
the product saw. What both sides tell goes into a `Trace`; `compare` gives the worst relative
error of each quantity. float64 tells an algorithm from its rounding: equal algorithms agree to
1e-12 or so, and the bound is 1e-8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from janus.config.cell import Cell
from janus.config.compose import compose
from janus.data.images.images import Bench, Images
from janus.data.stream import Batch, Task, cut, plain_batches, tasks_of
from janus.methods import make_method
from janus.methods.base.method import Context, Method
from janus.methods.base.precomputable import predict_batch
from janus.nn.vit import build_backbone

BOUND = 1e-8
"""Largest relative error that counts as equal."""

CLASSES, TASKS, TRAIN, TEST = 10, 3, 8, 4
CPU = torch.device("cpu")

SHORT: dict[str, Any] = {
    "bench.source": "glyphs",  # never read: the images come from `patterns`
    "bench.classes": CLASSES,
    "bench.tasks": TASKS,
    "bench.augment": "shift",  # train and test views differ
    "backbone": "toy",
    "backbone.model_kwargs": {"patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 2},
    "backbone.channels": 3,
    "train.epochs": 6,
    "train.batch_size": 24,  # the last batch of an epoch is smaller
}

DOMAINS: dict[str, Any] = {"bench.scenario": "domain", "train.epochs": 3}
"""Overrides for a domain stream: tasks of all classes in one of 3 colours."""

Pair = tuple[Tensor, Tensor]
"""Images (B, C, S, S), or features, and labels (B,)."""


# ---- what a reference gets ---------------------------------------------------------------------
@dataclass
class Data:
    """One task's images as the product saw them."""

    index: int
    count: int
    """Number of tasks T."""
    first: int
    """First label of this task's classes."""
    classes: int
    seen: int
    """Classes seen so far, this task included."""
    fresh: int
    """Classes of this task that no earlier one had: none, from the second domain on."""
    epochs: list[list[Pair]] = field(default_factory=list)
    """Training batches of every epoch."""
    extra: list[list[Pair]] = field(default_factory=list)
    """Batches of passes with the train transform beside training, in the order of asking."""
    plain: list[Pair] = field(default_factory=list)
    """The training images once, under the test transform, in file order."""
    tests: Tensor = field(default_factory=lambda: torch.empty(0))
    """Test images of all classes seen, task after task."""


@dataclass
class Given:
    """All that a reference may know of the product's run."""

    weights: dict[str, Tensor]
    """The ViT before any adapter, under timm's names."""
    tasks: list[Data]
    key: tuple[int, str]
    """(seed, order): the start of every random key, for draws by `janus.keyed_random.generator`."""

    @property
    def width(self) -> int:
        """D."""
        return int(self.weights["cls_token"].shape[-1])

    @property
    def depth(self) -> int:
        """Number of blocks L."""
        return sum(name.endswith("qkv.weight") for name in self.weights)


class Trace(dict[str, list[Tensor]]):
    """Quantities by name, in the order in which a run tells them."""

    def tell(self, **values: Tensor | float | int) -> None:
        """Append a copy of each value under its name."""
        for name, value in values.items():
            self.setdefault(name, []).append(torch.as_tensor(value).detach().clone().double())


Watch = Callable[[Any, Given], Mapping[str, Tensor | float | int]]
"""What a product's method (`Method`) holds, by the names that the reference uses."""


def nothing(method: Any, given: Given) -> dict[str, Tensor]:
    """Where there is nothing to read."""
    return {}


@dataclass(frozen=True)
class Case:
    """One setting of one method, and its reference."""

    name: str
    method: str
    reference: Callable[[Given, Trace], None]
    trained: Watch = nothing
    """Read when training ends, before `end_task`."""
    kept: Watch = nothing
    """Read after `end_task`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Overrides beside SHORT."""
    bench: str = "cifar100"
    """Whose published settings of the method are taken."""
    slow: bool = False


# ---- stream and network ------------------------------------------------------------------------
def cell_of(case: Case) -> Cell:
    """The product's cell."""
    return compose({"bench": case.bench, "method": case.method, **SHORT, **case.options})


def patterns(classes: int = CLASSES, domains: int = 1) -> Bench:
    """Random smooth patterns, one per class, under noise: uint8 (N, 3, 32, 32).

    Images of a class belong to the domains in turn; each domain has a colour of its own.
    """
    draw = torch.Generator().manual_seed(7)
    centres = torch.rand(classes, 3, 4, 4, generator=draw, dtype=torch.float32)
    centres = nn.functional.interpolate(centres, (32, 32), mode="bilinear")

    def part(each: int) -> Images:
        labels = torch.arange(classes).repeat_interleave(each)
        noise = torch.randn(len(labels), 3, 32, 32, generator=draw, dtype=torch.float32)
        place = torch.arange(len(labels)) % domains
        colour = 0.2 * torch.eye(3)[place][..., None, None] * (domains > 1)
        pixels = (255 * (centres[labels] + 0.15 * noise + colour)).clamp(0, 255).to(torch.uint8)
        return Images(pixels, labels, place, torch.zeros_like(labels))

    names = (tuple(map(str, range(classes))), tuple(map(str, range(domains))))
    return Bench(part(TRAIN), part(TEST), *names, "none")


def fill(model: nn.Module) -> None:
    """Random weights of the size that training leaves: each block changes its input visibly."""
    draw = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for name, value in model.named_parameters():
            noise = torch.randn(value.shape, generator=draw, dtype=torch.float64)
            if value.dim() == 1:
                value.copy_(0.1 * noise + (".norm" in f".{name}" and name.endswith("weight")))
            elif name in ("cls_token", "pos_embed"):
                value.copy_(0.5 * noise)
            else:
                value.copy_(noise / value[0].numel() ** 0.5)


@contextmanager
def in_float64() -> Iterator[None]:
    """New tensors are float64, and `.float()` stays there: the product computes in float64."""
    before, cast = torch.get_default_dtype(), torch.Tensor.float
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.set_default_dtype(before)
        torch.Tensor.float = cast  # type: ignore[method-assign]


@dataclass(frozen=True)
class Watched(Task):
    """A task that notes which batches it hands out: in the epochs of training, and beside them."""

    trained: list[list[Pair]] = field(default_factory=list)
    extra: list[list[Pair]] = field(default_factory=list)

    def train_batches(self, epoch: int | str, start: int = 0) -> Iterator[Batch]:
        """As of every task."""
        seen: list[Pair] = []
        (self.trained if isinstance(epoch, int) else self.extra).append(seen)
        for batch in super().train_batches(epoch, start):
            seen.append((batch.images.clone(), batch.labels.clone()))
            yield batch


def watched(task: Task) -> Watched:
    """The same task, watched."""
    return Watched(**{f.name: getattr(task, f.name) for f in fields(task)})


def pairs(batches: Iterator[Batch]) -> list[Pair]:
    """Images and labels of each batch."""
    return [(b.images.clone(), b.labels.clone()) for b in batches]


# ---- the two runs ------------------------------------------------------------------------------
def drive(case: Case) -> tuple[Trace, Given]:
    """The product's run of `case`, as the training loop does it, and what a reference needs."""
    cell, told = cell_of(case), Trace()
    with in_float64():
        domains = TASKS if cell.bench.scenario == "domain" else 1
        stream = cut(patterns(domains=domains), cell, CPU)
        backbone = build_backbone(cell.backbone, CPU)
        fill(backbone)
        weights = {name: value.clone() for name, value in backbone.state_dict().items()}
        given = Given(weights, [], (cell.seed, cell.order))
        method: Method = make_method(Context(cell, backbone, CPU))
        for plain in tasks_of(stream, method.joint):
            task = watched(plain)
            data = Data(
                task.index,
                task.count,
                task.first,
                task.classes,
                task.seen,
                task.fresh,
                epochs=task.trained,
                extra=task.extra,
            )
            given.tasks.append(data)
            method.begin_task(task)
            for epoch in range(method.epochs(task)):
                for batch in task.train_batches(epoch):
                    total = sum(method.loss(batch).values(), torch.zeros(()))
                    total.backward()  # type: ignore[no-untyped-call]
                    told.tell(loss=total)
                    method.update()
            told.tell(**case.trained(method, given))
            method.end_task(task)
            told.tell(**case.kept(method, given))
            tests = stream.tests if method.joint else stream.tests[: task.index + 1]
            seen = [b for part in tests for b in plain_batches(part, cell, CPU)]
            data.tests = torch.cat([b.images for b in seen])
            data.plain = pairs(task.plain_batches())
            both = replace(
                seen[0],
                images=data.tests,
                labels=torch.cat([b.labels for b in seen]),
                domains=torch.cat([b.domains for b in seen]),
            )
            with torch.no_grad():
                told.tell(logits=predict_batch(method, both)[0])
    return told, given


def refer(case: Case, given: Given) -> Trace:
    """The reference's run."""
    told = Trace()
    with in_float64():
        case.reference(given, told)
    return told


def error(found: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the largest expected entry; infinite for unlike shapes."""
    if found.shape != expected.shape:
        return float("inf")
    if not expected.numel():
        return 0.0
    finite = expected.isfinite()
    if not torch.equal(finite, found.isfinite()) or not torch.equal(
        found[~finite], expected[~finite]
    ):
        return float("inf")
    if not finite.any():
        return 0.0
    far = float((found - expected)[finite].abs().max())
    size = float(expected[finite].abs().max())
    return far / size if size else (0.0 if far == 0 else float("inf"))


def compare(found: Trace, expected: Trace) -> dict[str, float]:
    """Worst relative error of each quantity; infinite where only one side tells it."""
    worst = {}
    for name in [*expected, *(n for n in found if n not in expected)]:
        ours, theirs = found.get(name, []), expected.get(name, [])
        each = [error(a, b) for a, b in zip(ours, theirs, strict=False)]
        worst[name] = max(each, default=0.0) if len(ours) == len(theirs) else float("inf")
    return worst


def check(case: Case) -> dict[str, float]:
    """Both runs of `case`, compared."""
    found, given = drive(case)
    return compare(found, refer(case, given))


def slow_but(cases: list[Case], *quick: str) -> list[Case]:
    """The same cases, all slow but those of these names."""
    return [replace(case, slow=case.name not in quick) for case in cases]


def all_cases() -> list[Case]:
    """The cases of every `ref_*.py` beside this file, in the order of their names."""
    from importlib import import_module

    found: list[Case] = []
    for path in sorted(Path(__file__).parent.glob("ref_*.py")):
        found += import_module(f"{__package__}.{path.stem}").CASES
    names = [case.name for case in found]
    assert len(set(names)) == len(names), sorted(n for n in names if names.count(n) > 1)
    return found
