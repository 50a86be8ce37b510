"""Which operators a training step's time goes to, in per cent: `python -m tests.perf.operators`.

By torch's profiler, at ViT-B with 16 images, SeqLoRA, both precisions. A benchmark, not a test.
"""

from __future__ import annotations

import argparse

from torch.profiler import ProfilerActivity, profile

from janus.machine.allocator import reuse_large_blocks
from tests.helpers.bed import SHAPES, Bed

GROUPS = {
    "large products": ("mkldnn::_linear_pointwise", "aten::addmm", "aten::linear"),
    "attention and products by head": ("dot_product", "aten::bmm", "aten::baddbmm"),
    "other products": ("aten::mm", "aten::addmm_"),
    "softmax": ("softmax",),
    "GELU": ("gelu",),
    "norms": ("layer_norm",),
    "sums, factors": ("aten::add", "aten::mul", "aten::sum", "aten::div", "aten::sub"),
    "copies, casts, layouts": ("aten::copy_", "aten::clone", "aten::cat", "aten::stack", "to_copy"),
    "memory": ("aten::zero", "aten::fill", "aten::empty", "slice_backward", "select_backward"),
}
"""Which group an operator belongs to: the first with a part of its name (all of it for aten::x)."""


def group(name: str) -> str:
    """The group of an operator, or other."""
    for title, parts in GROUPS.items():
        if any(name == p if p.startswith("aten::") else p in name for p in parts):
            return title
    return "other"


def main() -> None:
    """One table per precision."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="base")
    parser.add_argument("--method", default="seqlora")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=3)
    given = parser.parse_args()
    reuse_large_blocks()
    for precision in ("fp32", "bf16"):
        bed = Bed(given.method, given.shape, given.batch, "cpu", precision)
        bed.finish_tasks(1)
        bed.step()
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            for _ in range(given.steps):
                bed.step()
        spent: dict[str, float] = {}
        for event in seen.key_averages():
            title = group(event.key)
            spent[title] = spent.get(title, 0.0) + event.self_cpu_time_total
        whole = sum(spent.values())
        print(f"{given.shape} {precision}, {given.method}, {given.batch} images")
        for title, micros in sorted(spent.items(), key=lambda entry: -entry[1]):
            print(f"  {title:<32}{100 * micros / whole:5.1f} %")


if __name__ == "__main__":
    main()
