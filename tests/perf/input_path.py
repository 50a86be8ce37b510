"""Images per second of our input path against Pillow + DataLoader(2 workers), on the same images.

    python -m tests.perf.input_path                    both kinds of images, in turn, in one run
    python -m tests.perf.input_path --step             share of a ViT-S training step spent waiting
    python -m tests.perf.input_path --memory 1 2 4     so many processes on one CIFAR-shaped bench

Rounds of both pipelines alternate, so that a slow moment of the machine hits both; only ratios
within one run mean anything. A benchmark, not a test.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from janus.config.cell import BackboneConfig, BenchConfig, Cell, MethodConfig, TrainConfig
from janus.data.files import memory_mapped
from janus.data.files.decoded import ImageFiles
from janus.data.images.flat_images import FlatImages
from janus.data.images.images import Bench, Images
from janus.data.stream import Task
from janus.machine.allocator import reuse_large_blocks

BATCH = 64
CPU = torch.device("cpu")
Paths = dict[str, Callable[[int], Iterable]]
"""What gives the batches of a round, by name."""


class PerImage(Dataset):
    """The usual pipeline: one Pillow image at a time, cropped, flipped, made a tensor."""

    def __init__(self, arrays: np.ndarray | None, paths: list[Path]) -> None:
        self.arrays, self.paths = arrays, paths
        self.transform = transforms.Compose(
            [
                transforms.RandomResizedCrop(224),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths) if self.arrays is None else len(self.arrays)

    def __getitem__(self, at: int) -> tuple[torch.Tensor, int]:
        if self.arrays is None:
            with Image.open(self.paths[at]) as image:
                return self.transform(image.convert("RGB")), 0
        return self.transform(Image.fromarray(self.arrays[at])), 0


def task_of(store: torch.Tensor | FlatImages | ImageFiles, count: int, batch: int = BATCH) -> Task:
    """A task whose training images are all of `store`."""
    labels = torch.arange(count) % 10
    zeros = torch.zeros(count, dtype=torch.long)
    cell = Cell(
        bench=BenchConfig(name="perf", source="none", classes=10, tasks=1, augment="crop"),
        backbone=BackboneConfig(name="perf", model="vit_small_patch16_224", weights="random"),
        method=MethodConfig(name="seqlora"),
        train=TrainConfig(epochs=1, batch_size=batch),
    )
    return Task(
        index=0,
        count=1,
        first=0,
        classes=10,
        seen=10,
        fresh=10,
        epochs=1,
        cell=cell,
        train=Images(store, labels, zeros, zeros),
        device=CPU,
    )


def rate(batches: Iterable, images: int) -> float:
    """Images per second of one pass over float batches."""
    start = time.perf_counter()
    for _ in batches:
        pass
    return images / (time.perf_counter() - start)


def compare(
    name: str, count: int, paths: dict[str, Callable[[int], Iterable]], rounds: int
) -> None:
    rates: dict[str, list[float]] = {key: [] for key in paths}
    for turn in range(rounds + 1):
        for key, make in paths.items():
            found = rate(make(turn), count)
            if turn:
                rates[key].append(found)
    base = rates["pillow + DataLoader(2)"]
    print(f"{name}: {count} images, batch {BATCH}, {rounds} rounds in turn")
    for key, values in rates.items():
        ratios = [a / b for a, b in zip(values, base, strict=True)]
        middle = f"{statistics.median(values):8.0f} images/s  x{statistics.median(ratios):.1f}"
        print(f"  {key:<34} {middle} [{min(ratios):.1f}, {max(ratios):.1f}]")


def loader(arrays: np.ndarray | None, files: list[Path]) -> DataLoader:
    data = PerImage(arrays, files)
    return DataLoader(data, BATCH, shuffle=True, num_workers=2, persistent_workers=True)


def smooth(height: int, width: int, seed: int) -> np.ndarray:
    """An image that compresses like a photograph."""
    draw = np.random.default_rng(seed)
    small = draw.normal(128, 45, (height // 8, width // 8, 3)).clip(0, 255).astype(np.uint8)
    large = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    return (large + draw.normal(0, 6, large.shape)).clip(0, 255).astype(np.uint8)


def jpegs(folder: Path, count: int) -> list[Path]:
    """`count` JPEG files with a shorter side of 256."""
    made = []
    for n in range(count):
        path = folder / f"{n}.jpg"
        Image.fromarray(smooth(256, 256 + 8 * (n % 16), n)).save(path, quality=90)
        made.append(path)
    return made


def stored_jpegs(folder: Path, files: list[Path]) -> tuple[FlatImages, ImageFiles]:
    """The same images prepared (memory-mapped) and as files."""
    sizes = torch.tensor([Image.open(p).size[::-1] for p in files])
    from_disk = ImageFiles(folder, tuple(p.name for p in files), sizes, None)
    labels = torch.arange(len(files)) % 10
    zeros = torch.zeros_like(labels)
    images = Images(from_disk, labels, zeros, zeros)
    config = BenchConfig(name="perf", source="perf", classes=10, tasks=1, root=str(folder))
    names = tuple("0123456789")
    memory_mapped.write_prepared(
        Bench(images, images.take(labels[:10]), names, ("all",), "0" * 64), config
    )
    found = memory_mapped.find_prepared(config)
    assert found is not None and isinstance(found.train.store, FlatImages)
    return found.train.store, from_disk


def under(threads: int, task: Task) -> Callable[[int], Iterable]:
    """The task's batches of a round, with so many threads of torch."""

    def make(turn: int) -> Iterable:
        torch.set_num_threads(threads)
        return task.train_batches(turn)

    return make


def throughput(count: int, rounds: int, threads: list[int]) -> None:
    arrays = np.stack([smooth(32, 32, n) for n in range(count)])
    uniform = task_of(torch.from_numpy(arrays).permute(0, 3, 1, 2).contiguous(), count)
    theirs = loader(arrays, [])
    ways: Paths = {
        "pillow + DataLoader(2)": lambda _: theirs,
    }
    ways |= {f"ours, in memory, {n} thread(s)": under(n, uniform) for n in threads}
    compare("CIFAR-100-shaped, 32 -> 224", count, ways, rounds)
    with tempfile.TemporaryDirectory() as name:
        files = jpegs(Path(name), count // 2)
        ready, from_disk = (task_of(s, len(files)) for s in stored_jpegs(Path(name), files))
        decoding = loader(None, files)
        ways = {
            "pillow + DataLoader(2)": lambda _: decoding,
        }
        ways |= {f"ours, prepared, {n} thread(s)": under(n, ready) for n in threads}
        ways |= {f"ours, decoding files, {n} thread(s)": under(n, from_disk) for n in threads}
        compare("256-pixel JPEGs -> 224", len(files), ways, rounds)


def waiting(steps: int) -> None:
    """Share of a SeqLoRA step of a ViT-S in which the loop waits for its next batch."""
    from tests.helpers.bed import Bed

    with tempfile.TemporaryDirectory() as name:
        files = jpegs(Path(name), 16 * (steps + 2))
        arrays = np.stack([smooth(32, 32, n) for n in range(len(files))])
        uniform = torch.from_numpy(arrays).permute(0, 3, 1, 2).contiguous()
        ready, from_disk = stored_jpegs(Path(name), files)
        for key, store in (
            ("CIFAR-100-shaped, in memory", uniform),
            ("256-pixel JPEGs, prepared", ready),
            ("256-pixel JPEGs, decoding files", from_disk),
        ):
            bed = Bed("seqlora", "small", 16, "cpu")
            bed.finish_tasks(0)
            batches = iter(task_of(store, len(files), 16).train_batches(0))
            next(batches)
            waited = worked = 0.0
            for _ in range(steps):
                start = time.perf_counter()
                batch = next(batches)
                waited += time.perf_counter() - start
                bed.batch = batch
                worked += bed.step()
            print(f"  {key:<32} waits {100 * waited / (waited + worked):.2f} % of a step")


READER = """
import sys, torch
from janus.config.cell import BenchConfig
from janus.data.files import memory_mapped
from tests.perf.input_path import task_of, held
config = BenchConfig(name="perf", source="perf", classes=10, tasks=1, root=sys.argv[1])
import janus.training.loop  # what any run has imported
before = held()
bench = memory_mapped.find_prepared(config)
for images in (bench.train, bench.test):
    for rows in torch.randperm(len(images)).split(256):
        images.take(rows).pixels
for say in ("ready", None):  # measure once all have read everything, leave once all have measured
    print(say or held() - before, flush=True)
    sys.stdin.readline()
"""


def held() -> int:
    """Bytes that this process holds in memory of its own and in the mapped pixels.

    Pages that several processes map are split among them; libraries, which they share with every
    other python, do not count.
    """
    total, counts = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            counts = len(words) < 6 or words[5].startswith("[") or words[5].endswith(".u8")
        elif words[0] == "Pss:" and counts:
            total += 1024 * int(words[1])
    return total


def memory(counts: list[int]) -> None:
    """What so many processes that read all of one prepared bench hold between them."""
    with tempfile.TemporaryDirectory() as name:
        config = BenchConfig(name="perf", source="perf", classes=10, tasks=1, root=name)
        draw = np.random.default_rng(0)

        def images(count: int) -> Images:
            pixels = draw.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
            labels = torch.arange(count) % 10
            return Images(torch.from_numpy(pixels), labels, torch.zeros_like(labels), labels)

        bench = Bench(images(50_000), images(10_000), tuple("0123456789"), ("all",), "0" * 64)
        memory_mapped.write_prepared(bench, config)
        size = 60_000 * 3 * 32 * 32
        for count in counts:
            total = _held_by(count, name)
            text = f"{count} process(es) hold {total / 1e6:.0f} MB between them"
            print(f"{text} for {size / 1e6:.0f} MB of pixels: x{total / size:.2f}")


def _held_by(count: int, root: str) -> int:
    """Bytes that `count` readers hold once all of them have read everything."""
    start = [sys.executable, "-c", READER, root]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    readers = [subprocess.Popen(start, text=True, **pipes) for _ in range(count)]
    for reader in readers:
        reader.stdout.readline()
    for reader in readers:
        reader.stdin.write("\n")
        reader.stdin.flush()
    total = sum(int(reader.stdout.readline()) for reader in readers)
    for reader in readers:
        reader.communicate("\n")
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--step", action="store_true")
    parser.add_argument("--memory", type=int, nargs="+", metavar="PROCESSES")
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[1], help="of torch; several are timed in turn"
    )
    given = parser.parse_args()
    torch.set_num_threads(given.threads[0])
    kept = reuse_large_blocks()
    print(f"torch threads {given.threads}; freed memory is {'' if kept else 'not '}reused")
    if given.step:
        waiting(given.rounds * 4)
    elif given.memory:
        memory(given.memory)
    else:
        throughput(given.images, given.rounds, given.threads)


if __name__ == "__main__":
    main()
