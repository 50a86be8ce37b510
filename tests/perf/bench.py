"""Seconds of a training step, its parts, and its share of what the machine's products allow.

    python -m tests.perf.bench                                all shapes, precisions, LoRA methods
    python -m tests.perf.bench --shapes base --methods seqlora janus --batch 16 --steps 5
    python -m tests.perf.bench --device cuda                  the same on a GPU

Before and after every step the products of one block are timed at its shapes and precision; a
share of the limit is (FLOP of tests/helpers/flops.py / FLOP per second of those products) / seconds
of the step; `of torch` is the naive share of what torch's own choice of products reaches. `timm`
is a frozen network as it comes (plain.py). Shares, not seconds, are compared with the committed
figures (figures.json): other work on the machine slows both sides. A benchmark, not a test.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from janus.machine.allocator import reuse_large_blocks
from janus.machine.determinism import make_deterministic
from janus.machine.provenance import machine, numerics, peak_memory_bytes, reset_peak_memory
from tests.helpers import flops
from tests.helpers.bed import BUSY, SHAPES, Bed, clock, lora_methods
from tests.perf.parts import STEP, Parts
from tests.perf.plain import NAMES as PLAIN
from tests.perf.plain import Plain

FIGURES = Path(__file__).with_name("figures.json")
BATCH = {
    "cpu": {"bundled": 64, "tiny": 16, "small": 8, "base": 4},
    "cuda": dict.fromkeys(SHAPES, 128),
}
"""Images a step: on a CPU few, so that all of it takes minutes."""


def measure(name: str, shape: str, precision: str, given: argparse.Namespace) -> dict[str, Any]:
    """One row: medians over the steps. What is no method has no parts and no tasks."""
    gc.collect()  # the last row's network hangs in cycles, and would count in this one's peak
    device = torch.device(given.device)
    batch = given.batch or BATCH[device.type][shape]
    bed: Bed | Plain
    if name in PLAIN:
        bed = Plain(name, shape, batch, given.device, precision)
        model, ends = bed.model, {}
    else:
        bed = Bed(name, shape, batch, given.device, precision)
        bed.finish_tasks(1)
        ends = dict(bed.ends)
        model = bed.method.backbone
    bed.step()
    reset_peak_memory(device)
    bed.step()
    peak = peak_memory_bytes(device)
    limit = flops.Multiplier(flops.Shape.of(model), batch, precision, device)
    naive = flops.Shape.of(model).naive(batch)
    need = flops.needed(bed.method, batch) if isinstance(bed, Bed) else naive
    seconds, speeds, usual = [], [], []
    for _ in range(given.steps):
        before = limit.speed()
        seconds.append(bed.step())
        usual.append(limit.speed(functional.linear))
        speeds.append((before + limit.speed()) / 2)
    parts: list[dict[str, float]] = []
    if isinstance(bed, Bed):
        timed = Parts(bed)
        parts = [timed.step() for _ in range(given.steps + 1)][1:]
    median = statistics.median(seconds)
    ideal = [speed * s for speed, s in zip(speeds, seconds, strict=True)]
    return {
        "batch": batch,
        "seconds": median,
        "seconds_range": [min(seconds), max(seconds)],
        "images_per_s": batch / median,
        "parts": {k: statistics.median(p[k] for p in parts) for k in (parts[0] if parts else ())},
        "ends": ends,
        "peak_memory_bytes": peak,
        "gflops": statistics.median(speeds) / 1e9,
        "share_needed": statistics.median(need / work for work in ideal),
        "share_naive": statistics.median(naive / work for work in ideal),
        "share_naive_of_torch": statistics.median(
            naive / (speed * s) for speed, s in zip(usual, seconds, strict=True)
        ),
    }


def rows(given: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """(key, figures) of everything asked for, as it is measured."""
    for shape in given.shapes:
        for precision in given.precisions:
            for name in given.methods:
                yield f"{shape}/{precision}/{name}", measure(name, shape, precision, given)


# ---- output ------------------------------------------------------------------------------------
HEAD = (
    f"{'shape/precision/method':<32}{'batch':>6}{'s/step':>9}{'images/s':>10}{'GB':>6}"
    f"{'of limit':>10}{'of naive':>10}{'of torch':>10}{'committed':>11}  % of the step: "
    + " ".join(name for name in STEP)
    + " | data evaluation | task begins, ends"
)


def line(key: str, row: dict[str, Any], committed: dict[str, Any]) -> str:
    """One row of the table; `committed`: its share of the naive limit over that of figures.json.

    What a task costs beside its steps, with one batch of images, is given in steps.
    """
    parts = row["parts"]
    whole = sum(parts[name] for name in STEP) if parts else 0.0
    percent = [f"{100 * parts[name] / whole:.1f}" for name in STEP if parts]
    beside = [f"{100 * parts[name] / whole:.1f}" for name in ("data", "evaluation") if parts]
    old = committed.get(key)
    alike = old is not None and old["batch"] == row["batch"]
    ratio = f"x{row['share_naive'] / old['share_naive']:.2f}" if alike else "--"
    ends = [f"{seconds / row['seconds']:.1f}" for seconds in row["ends"].values()]
    return (
        f"{key:<32}{row['batch']:>6}{row['seconds']:>9.3f}{row['images_per_s']:>10.1f}"
        f"{row['peak_memory_bytes'] / 1e9:>6.1f}{row['share_needed']:>10.2f}"
        f"{row['share_naive']:>10.2f}{row['share_naive_of_torch']:>10.2f}{ratio:>11}  "
        + " | ".join(" ".join(group) for group in (percent, beside, ends))
    )


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["tiny", "small", "base"])
    parser.add_argument(
        "--precisions", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"]
    )
    every = [*PLAIN, *lora_methods()]
    parser.add_argument("--methods", nargs="+", choices=every, default=every)
    parser.add_argument("--batch", type=int, help="images a step; default: by shape and device")
    parser.add_argument("--steps", type=int, default=5, help="steps timed for each row")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--busy", action="store_true", help=BUSY)
    parser.add_argument("--json", type=Path, help="write the figures here, beside others like them")
    return parser.parse_args()


def main() -> None:
    """Print rows as they come; write them with hardware and versions."""
    given = arguments()
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("DEVICE=cuda: torch sees no GPU on this machine")
    if given.busy:
        clock.use_cpu_time()
    reuse_large_blocks()
    hardware = {key: machine()[key] for key in ("cpu", "cores", "gpus", "python", "packages")}
    make_deterministic(torch.device(given.device))
    record = {"numerics": numerics(torch.device(given.device)), "machine": hardware, "rows": {}}
    committed = rows_of(FIGURES, record)
    if given.json:
        record["rows"] = rows_of(given.json, record)
    print(json.dumps(record["numerics"]), HEAD, sep="\n", flush=True)
    for key, row in rows(given):
        record["rows"][key] = row
        print(line(key, row, committed), flush=True)
        if given.json:
            given.json.write_text(json.dumps(record, indent=1) + "\n")


def rows_of(path: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Rows written earlier under the same processor, threads and versions; none otherwise."""
    found = json.loads(path.read_text()) if path.exists() else {}
    return found["rows"] if found.get("numerics") == record["numerics"] else {}


if __name__ == "__main__":
    main()
