"""Step time of every LoRA method against SeqLoRA, on a ViT-B/16-shaped model with random weights.

    python -m tests.perf.step_time                     ViT-B/16, batch 16, after one finished task
    python -m tests.perf.step_time --growth            Janus at task 2 against task 20

Only ratios within one run mean anything: methods take turns, step by step, in one process, so
that a slow moment of the machine hits all of them alike. A benchmark, not a test.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch

from janus.config import BackboneConfig, BenchConfig, Cell, MethodConfig, TrainConfig
from janus.data.bench import Images
from janus.data.tasks import Batch, Task
from janus.methods import make
from janus.methods.base import Context, Method
from janus.provenance import numerics, peak_memory_bytes
from janus.settings import method_spec

SHAPES = {
    "tiny": "vit_tiny_patch16_224",
    "small": "vit_small_patch16_224",
    "base": "vit_base_patch16_224",
}
CLASSES = 10


def make_cell(name: str, model: str, batch: int, settings: dict) -> Cell:
    """A cell on random weights; only its shapes matter."""
    spec = method_spec(name)
    values = {n: s.default for n, s in spec.settings.items()} | settings
    return Cell(
        bench=BenchConfig(name="random", source="none", classes=CLASSES * 20, tasks=20),
        backbone=BackboneConfig(name="random", model=model, weights="random"),
        method=MethodConfig(name=name, values=values),
        train=TrainConfig(epochs=10, batch_size=batch),
    )


class Bed:
    """One method in the middle of a task, on random images."""

    def __init__(self, name: str, model: str, batch: int, device: str, **settings) -> None:
        from janus.backbone import build

        self.device = torch.device(device)
        self.cell = make_cell(name, model, batch, settings)
        draw = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (batch, 3, 224, 224), generator=draw, dtype=torch.uint8)
        labels = torch.randint(0, CLASSES, (batch,), generator=draw)
        zeros = torch.zeros(batch, dtype=torch.long)
        self.images = Images(pixels, labels, zeros, zeros)
        backbone = build(self.cell.backbone, self.device)
        self.method: Method = make(Context(self.cell, backbone, self.device))
        self.tasks_done = 0

    def task(self, index: int) -> Task:
        first = index * CLASSES
        moved = Images(self.images.pixels, self.images.labels + first, *[self.images.domains] * 2)
        return Task(
            index=index,
            count=20,
            first=first,
            classes=CLASSES,
            seen=first + CLASSES,
            fresh=CLASSES,
            epochs=10,
            cell=self.cell,
            train=moved,
            device=self.device,
        )

    def finish_tasks(self, upto: int) -> None:
        """One step in each task before `upto`, then begin that one."""
        for index in range(self.tasks_done, upto):
            task = self.task(index)
            self.method.begin_task(task)
            self.batch = next(iter(task.train_batches(0)))
            self.step()
            self.method.end_task(task)
        self.tasks_done = upto
        task = self.task(upto)
        self.method.begin_task(task)
        self.batch: Batch = next(iter(task.train_batches(0)))

    def step(self) -> float:
        """Seconds of one training step."""
        start = time.perf_counter()
        sum(self.method.loss(self.batch).values()).backward()
        self.method.update()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start


def compare(beds: dict[str, Bed], steps: int, reference: str) -> dict[str, dict[str, float]]:
    """Median seconds and median ratio to the reference, steps taken in turn."""
    for bed in beds.values():
        bed.step()
    seconds = {name: [] for name in beds}
    for _ in range(steps):
        for name, bed in beds.items():
            seconds[name].append(bed.step())
    table = {}
    for name, values in seconds.items():
        ratios = [a / b for a, b in zip(values, seconds[reference], strict=True)]
        table[name] = {
            "seconds": statistics.median(values),
            "ratio": statistics.median(ratios),
            "ratio_min": min(ratios),
            "ratio_max": max(ratios),
        }
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="base")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--json")
    given = parser.parse_args()
    model = SHAPES[given.shape]

    def bed(name: str, upto: int, **settings) -> Bed:
        made = Bed(name, model, given.batch, given.device, **settings)
        made.finish_tasks(upto)
        return made

    if given.growth:
        beds = {"task 2": bed("janus", 1), "task 20": bed("janus", 19)}
        reference = "task 2"
    else:
        beds = {
            "seqlora": bed("seqlora", 1),
            "janus": bed("janus", 1),
            "janus, no estimation": bed("janus", 1, estimate=False),
            "janus, 512 tokens a step": bed("janus", 1, estimate_tokens=512),
            "janus, no rectification": bed("janus", 1, rectify=False),
            "janus, adam on full weights": bed("janus", 1, precondition="weight"),
            "inflora": bed("inflora", 1),
            "lora_gpm": bed("lora_gpm", 1),
        }
        reference = "seqlora"
    table = compare(beds, given.steps, reference)
    kept = {n: sum(p.numel() for p in b.method.backbone.parameters()) for n, b in beds.items()}
    print(f"{given.shape} batch {given.batch}, {given.steps} steps in turn, {given.device}")
    for name, row in table.items():
        print(
            f"{name:<30} {row['seconds']:7.3f} s  x{row['ratio']:.3f} "
            f"[{row['ratio_min']:.3f}, {row['ratio_max']:.3f}]  {kept[name] / 1e6:.1f} M parameters"
        )
    record = {"table": table, "numerics": numerics(torch.device(given.device))}
    record["peak_memory_bytes"] = peak_memory_bytes(torch.device(given.device))
    if given.json:
        from pathlib import Path

        Path(given.json).write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
