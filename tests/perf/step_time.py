"""Step time of Janus-LoRA, its variants and its rivals as ratios to SeqLoRA, steps taken in turn.

    python -m tests.perf.step_time                     ViT-B/16, batch 16, after one finished task
    python -m tests.perf.step_time --growth            Janus at task 20 against task 2: time, memory
    python -m tests.perf.step_time --growth all        every method with adapters

Only ratios within one run mean anything: methods take turns, step by step, in one process, so
that a slow moment of the machine hits all of them alike. A benchmark, not a test.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import torch

from janus.evaluation.accuracy import tree_bytes
from janus.machine.allocator import reuse_large_blocks
from janus.machine.provenance import numerics, peak_memory_bytes, reset_peak_memory
from tests.helpers.bed import BUSY, SHAPES, Bed, clock, lora_methods


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
            "ratio_of_fastest": min(values) / min(seconds[reference]),
            "ratio_min": min(ratios),
            "ratio_max": max(ratios),
        }
    return table


VARIANTS = {
    "seqlora": ("seqlora", {}),
    "janus": ("janus", {}),
    "janus, no estimation": ("janus", {"estimate": False}),
    "janus, 512 tokens a step": ("janus", {"estimate_tokens": 512}),
    "janus, no rectification": ("janus", {"rectify": False}),
    "janus, adam on full weights": ("janus", {"precondition": "weight"}),
    "inflora": ("inflora", {}),
    "lora_gpm": ("lora_gpm", {}),
}


def grown(name: str, bed: Callable[[str, int], Bed], steps: int) -> None:
    """Print task 20 over task 2: seconds of a step, its peak of memory, what the method keeps."""
    ends = {"task 2": 1, "task 20": 19}
    peaks, kept = [], []
    for upto in ends.values():
        made = bed(name, upto)
        reset_peak_memory(made.device)
        made.step()
        peaks.append(peak_memory_bytes(made.device) / 1e9)
        kept.append(tree_bytes(made.method.kept()) / 1e6)
        del made
    row = compare({k: bed(name, upto) for k, upto in ends.items()}, steps, "task 2")["task 20"]
    print(
        f"{name:<16} x{row['ratio']:.3f} of the time [{row['ratio_min']:.3f}, "
        f"{row['ratio_max']:.3f}], fastest x{row['ratio_of_fastest']:.3f}; peak "
        f"{peaks[0]:.2f} -> {peaks[1]:.2f} GB; keeps {kept[0]:.1f} -> {kept[1]:.1f} MB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="base")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, help="these beside seqlora")
    parser.add_argument("--growth", nargs="*", metavar="METHOD", help="none named: janus")
    parser.add_argument("--busy", action="store_true", help=BUSY)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.busy:
        clock.use_cpu_time()
    reuse_large_blocks()

    def bed(name: str, upto: int, **settings) -> Bed:
        made = Bed(name, given.shape, given.batch, given.device, given.precision, **settings)
        made.finish_tasks(upto)
        return made

    if given.growth is not None:
        names = {"all": lora_methods()}.get(" ".join(given.growth), given.growth or ["janus"])
        for name in names:
            grown(name, bed, given.steps)
        return
    asked = [n for n in VARIANTS if not given.only or n in ("seqlora", *given.only)]
    beds = {n: bed(VARIANTS[n][0], 1, **VARIANTS[n][1]) for n in asked}
    table = compare(beds, given.steps, "seqlora")
    kept = {n: sum(p.numel() for p in b.method.backbone.parameters()) for n, b in beds.items()}
    print(
        f"{given.shape} {given.precision}, batch {given.batch}, {given.steps} steps in turn, "
        f"{given.device}; medians, of the fastest steps, [all]"
    )
    for name, row in table.items():
        print(
            f"{name:<30} {row['seconds']:7.3f} s  x{row['ratio']:.3f}  "
            f"x{row['ratio_of_fastest']:.3f}  [{row['ratio_min']:.3f}, {row['ratio_max']:.3f}]  "
            f"{kept[name] / 1e6:.1f} M parameters"
        )
    record = {"table": table, "numerics": numerics(torch.device(given.device))}
    record["peak_memory_bytes"] = peak_memory_bytes(torch.device(given.device))
    if given.json:
        given.json.write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
