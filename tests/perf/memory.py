"""What a step takes in memory when its batch is passed in parts (`train.accumulate`).

    python -m tests.perf.memory                            ViT-S, 32 images, in 1, 2, 4 and 8 parts
    python -m tests.perf.memory --shape base --batch 128 --device cuda

On a CPU, by how much a step raises the process's largest resident size, each in a process of its
own; on a GPU, the largest size that torch allocated beyond what it held. A benchmark, not a test.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys

import torch

from janus.machine.provenance import peak_memory_bytes, reset_peak_memory
from tests.helpers.bed import SHAPES, Bed


def step_bytes(given: argparse.Namespace, parts: int) -> int:
    """Bytes that a step takes beyond what the process held before it."""
    bed = Bed(given.method, given.shape, given.batch, given.device, accumulate=parts)
    bed.begin(0)
    if given.device == "cpu":
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        bed.step()
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    reset_peak_memory(bed.device)
    held = torch.cuda.memory_allocated(bed.device)
    bed.step()
    return peak_memory_bytes(bed.device) - held


def main() -> None:
    """One line per number of parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--method", default="seqlora")
    parser.add_argument("--shape", default="small", choices=list(SHAPES))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--parts", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        torch.set_num_threads(1)
        sys.stdout.write(f"{step_bytes(given, given.parts[0])}\n")
        return
    first = 0
    for parts in given.parts:
        words = ["--one", "--method", given.method, "--shape", given.shape, "--device"]
        words += [given.device, "--batch", str(given.batch), "--parts", str(parts)]
        command = [sys.executable, "-m", "tests.perf.memory", *words]
        found = int(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        first = first or found
        line = f"{parts} parts of {given.batch} images: {found / 2**20:.0f} MiB"
        sys.stdout.write(f"{line}, x{found / first:.2f}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
