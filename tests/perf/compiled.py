"""Whether torch.compile pays: blocks compiled against blocks as they are, in one process.

    python -m tests.perf.compiled                         ViT-B, ViT-Ti and the bundled model
    python -m tests.perf.compiled --shapes base --device cuda

The first compiled step holds the compilation, which every process of a sweep would pay for (torch
keeps compiled kernels on disk: the first use of a machine is what is timed). A benchmark, no test.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from unittest.mock import patch

import torch
import torch._dynamo
from torch._dynamo.utils import counters

from janus.machine.allocator import reuse_large_blocks
from tests.helpers.bed import SHAPES, Bed

BATCH = {"base": 8, "small": 16, "tiny": 16, "bundled": 64}


def measure(shape: str, precision: str, given: argparse.Namespace) -> None:
    """One line. Starts from an empty cache, with nothing compiled for another shape."""
    torch._dynamo.reset()
    counters.clear()
    bed = Bed(given.method, shape, given.batch or BATCH[shape], given.device, precision)
    bed.finish_tasks(1)
    bed.step()
    eager = statistics.median(bed.step() for _ in range(given.steps))
    for block in bed.method.backbone.blocks:
        block.compile()
    first = bed.step()
    bed.step()
    compiled = statistics.median(bed.step() for _ in range(given.steps))
    breaks = sum(counters["graph_break"].values())
    print(
        f"{shape}/{precision}/{given.method}: {eager:.3f} s, compiled {compiled:.3f} s: "
        f"x{compiled / eager:.2f}; first compiled step {first:.1f} s, {breaks} graph breaks",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["base", "tiny", "bundled"])
    parser.add_argument(
        "--precisions", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"]
    )
    parser.add_argument("--method", default="seqlora")
    parser.add_argument("--batch", type=int, help="images a step; default: by shape")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    given = parser.parse_args()
    reuse_large_blocks()
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    torch._dynamo.config.recompile_limit = 64  # each of a dozen blocks has its own guards
    for shape in given.shapes:
        for precision in given.precisions:
            with (
                tempfile.TemporaryDirectory() as empty,
                patch.dict("os.environ", {"TORCHINDUCTOR_CACHE_DIR": empty}),
            ):
                measure(shape, precision, given)


if __name__ == "__main__":
    main()
