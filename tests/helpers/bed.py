"""One method in the middle of a task, on random images and weights: only its shapes matter."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from janus.config.cell import BackboneConfig, BenchConfig, Cell, MethodConfig, TrainConfig
from janus.config.method_spec import method_spec, spec_names
from janus.data.load_bench import Images
from janus.data.stream import Batch, Task
from janus.methods import make_method
from janus.methods.base.method import Context, Method
from janus.nn.vit import build_backbone
from janus.training.step import take_step

SHAPES = {
    "bundled": "vit_tiny_patch16_224",
    "tiny": "vit_tiny_patch16_224",
    "small": "vit_small_patch16_224",
    "base": "vit_base_patch16_224",
}
CLASSES = 10
TASKS = 20
EPOCHS = 100
"""Of one step each: a schedule longer than any measurement."""


def backbone_config(shape: str) -> BackboneConfig:
    """Random weights in a shape of `SHAPES`; `bundled` is that of the package, `toy` tiny."""
    if shape in ("bundled", "toy"):
        from janus.config.compose import compose

        chosen = {"backbone": "toy"} if shape == "toy" else {}
        return compose({"bench": "glyphs", "method": "seqlora", **chosen}).backbone
    return BackboneConfig(name="random", model=SHAPES[shape], weights="random")


def make_cell(name: str, shape: str, batch: int, precision: str, settings: dict) -> Cell:
    """A cell on random images."""
    spec = method_spec(name)
    values = {n: s.default for n, s in spec.settings.items()} | settings
    return Cell(
        bench=BenchConfig(name="random", source="none", classes=CLASSES * TASKS, tasks=TASKS),
        backbone=backbone_config(shape),
        method=MethodConfig(name=name, values=values),
        train=TrainConfig(epochs=EPOCHS, batch_size=batch, precision=precision),
    )


def lora_methods() -> list[str]:
    """SeqLoRA first, then every other method on low-rank adapters of the qkv."""
    specs = {name: method_spec(name) for name in spec_names("method")}
    found = [n for n, spec in specs.items() if "targets" in spec.settings and n != "joint"]
    return sorted(found, key=lambda name: (name != "seqlora", name))


class Clock:
    """Seconds since some moment: of the wall, or of this process' work (`busy`)."""

    busy = False

    def use_cpu_time(self) -> None:
        """On one thread, count what this process computes: other work on the machine is left out.

        With several threads it would count their waiting for each other.
        """
        torch.set_num_threads(1)
        self.busy = True

    def __call__(self, device: torch.device) -> float:
        """Now, once the device has done what was asked of it."""
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.process_time() if self.busy else time.perf_counter()


clock = Clock()
BUSY = "one thread, its CPU seconds: for a machine that does other work meanwhile"


class Bed:
    """A method that has finished some tasks and can take steps in the next one."""

    def __init__(
        self,
        name: str,
        shape: str,
        batch: int,
        device: str,
        precision: str = "fp32",
        accumulate: int = 1,
        **settings: object,
    ) -> None:
        self.device = torch.device(device)
        cell = make_cell(name, shape, batch, precision, settings)
        self.cell = replace(cell, train=replace(cell.train, accumulate=accumulate))
        draw = torch.Generator().manual_seed(0)
        side, channels = self.cell.backbone.image_size, self.cell.backbone.channels
        pixels = torch.randint(
            0, 256, (batch, channels, side, side), generator=draw, dtype=torch.uint8
        )
        labels = torch.arange(batch) % CLASSES
        zeros = torch.zeros(batch, dtype=torch.long)
        self.images = Images(pixels, labels, zeros, zeros)
        backbone = build_backbone(self.cell.backbone, self.device)
        self.method: Method = make_method(Context(self.cell, backbone, self.device))
        self.tasks_done = 0
        self.batches_taken = 0
        self.ends: dict[str, float] = {}
        """Seconds of the last begin and the last end of a task, of one batch of images."""

    def task(self, index: int) -> Task:
        """Task `index`, of one batch an epoch."""
        first = index * CLASSES
        moved = Images(self.images.pixels, self.images.labels + first, *[self.images.domains] * 2)
        return Task(
            index=index,
            count=TASKS,
            first=first,
            classes=CLASSES,
            seen=first + CLASSES,
            fresh=CLASSES,
            epochs=EPOCHS,
            cell=self.cell,
            train=moved,
            device=self.device,
        )

    def finish_tasks(self, upto: int) -> None:
        """One step in each task before `upto`, then begin that one."""
        for index in range(self.tasks_done, upto):
            self.begin(index)
            self.step()
            self._timed("end", lambda index=index: self.method.end_task(self.task(index)))
            self._protect(index)
        self.tasks_done = upto
        self.begin(upto)

    def _timed(self, name: str, call: Callable[[], None]) -> None:
        start = clock(self.device)
        call()
        self.ends[name] = clock(self.device) - start

    def _protect(self, index: int) -> None:
        """Widen protected bases to what real images leave: noise fills a direction or two."""
        for basis in getattr(self.method, "bases", []):
            width = len(basis.v)
            wanted = width // 8 + width * (index + 1) // (4 * TASKS)
            draw = torch.Generator().manual_seed(index)
            missing = max(0, wanted - basis.size)
            fresh = torch.randn(width, missing, generator=draw).to(basis.v)
            grown, _ = torch.linalg.qr(torch.cat([basis.v, fresh], 1))
            basis.v = grown.contiguous()

    def begin(self, index: int) -> None:
        """Begin task `index` and take its first batch."""
        self.now = self.task(index)
        self._timed("begin", lambda: self.method.begin_task(self.now))
        self.batch = self.take()

    def take(self) -> Batch:
        """The next batch, made as training makes it."""
        self.batches_taken += 1
        return next(iter(self.now.train_batches(self.batches_taken)))

    def loss(self) -> torch.Tensor:
        """The loss of the present batch, at the cell's precision."""
        with self.method.context.autocast():
            terms = self.method.loss(self.batch)
            return sum(terms.values(), torch.zeros((), device=self.device))

    def step(self) -> float:
        """Seconds of one training step, without its data."""
        start = clock(self.device)
        take_step(self.method, self.batch)
        return clock(self.device) - start
