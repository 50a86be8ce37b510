"""The choices inside a step, one by one: what was taken against what it replaced, in turn.

    python -m tests.perf.kernels             ratios, fastest of the rounds; one thread
    python -m tests.perf.kernels --threads 2 --rounds 20

Each line times two ways to compute the same thing, forward and backward where there is a backward,
at the shapes of one block of ViT-B (4 images) and of the bundled model (32). A benchmark, no test.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from janus.algorithms.subspace import Covariance
from janus.nn import matmul
from janus.nn.cast_cache import keep_casts
from janus.nn.lora import add_products

SHAPES = {"base": (4, 197, 12, 64), "bundled": (32, 17, 4, 32)}
"""Images, tokens, heads, head width."""
Run = Callable[[], object]


def fastest(runs: dict[str, Run], rounds: int) -> dict[str, float]:
    """Seconds of the fastest round of each, rounds taken in turn."""
    found = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            found[name] = min(found[name], time.perf_counter() - start)
    return found


def attention(shape: str, precision: str) -> dict[str, Run]:
    """timm's two attentions, from a fused qkv to the heads side by side; with backward."""
    images, tokens, heads, width = SHAPES[shape]
    half = precision == "bf16"
    dtype = torch.bfloat16 if half else torch.float32
    qkv = torch.randn(images, tokens, 3, heads, width, dtype=dtype).requires_grad_()
    grad = torch.randn(images, heads, tokens, width, dtype=dtype)

    def run(fused: bool) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
            if fused:
                out = functional.scaled_dot_product_attention(q, k, v)
            else:
                out = (q * width**-0.5 @ k.mT).softmax(-1) @ v
        out.backward(grad)

    return {"unfused": lambda: run(False), "fused": lambda: run(True)}


def second_moment(shape: str) -> dict[str, Run]:
    """One half in strips, against one whole product."""
    images, tokens, heads, width = SHAPES[shape]
    rows, none = torch.randn(images * tokens, heads * width), torch.zeros(heads * width, 0)
    collector, whole = Covariance(heads * width), torch.zeros(heads * width, heads * width)
    return {
        "strips": lambda: collector.update(rows, none),
        "one product": lambda: whole.addmm_(rows.mT, rows),
    }


def adapters(shape: str) -> dict[str, Run]:
    """B A x added to K and V, written out, against slices added to with +=; with backward."""
    images, tokens, heads, width = SHAPES[shape]
    d, rank = heads * width, 10
    base = torch.randn(images * tokens, 3 * d).requires_grad_()
    hidden = torch.randn(images * tokens, 2 * rank).requires_grad_()
    up = torch.randn(2, d, rank).requires_grad_()
    grad = torch.randn(images * tokens, 3 * d)

    def slices() -> Tensor:
        out = base * 1
        for target in (0, 1):
            low = hidden[:, target * rank : (target + 1) * rank]
            out[:, (1 + target) * d : (2 + target) * d] += functional.linear(low, up[target])
        return out

    return {
        "written out": lambda: add_products(base * 1, hidden, up, [d, 2 * d]).backward(grad),
        "+= on slices": lambda: slices().backward(grad),
    }


def casts(shape: str) -> dict[str, Run]:
    """A frozen qkv under autocast, its cast kept, against cast in every forward; no backward."""
    images, tokens, heads, width = SHAPES[shape]
    x = torch.randn(images * tokens, heads * width, dtype=torch.bfloat16)
    plain = torch.nn.Linear(heads * width, 3 * heads * width).requires_grad_(False)
    kept = keep_casts(torch.nn.Sequential(plain.__class__(heads * width, 3 * heads * width)))
    kept.requires_grad_(False)

    def run(layer: torch.nn.Module) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            layer(x)

    return {"cast kept": lambda: run(kept), "cast each time": lambda: run(plain)}


def product(shape: str) -> dict[str, Run]:
    """A frozen qkv in float32 by the library that `products` chooses, and by torch's choice."""
    images, tokens, heads, width = SHAPES[shape]
    d = heads * width
    x = torch.randn(images * tokens, d).requires_grad_()
    weight, bias, grad = (
        torch.randn(3 * d, d),
        torch.randn(3 * d),
        torch.randn(images * tokens, 3 * d),
    )
    return {
        "chosen": lambda: matmul.linear(x, weight, bias).backward(grad),
        "torch's": lambda: functional.linear(x, weight, bias).backward(grad),
    }


def adam(shape: str) -> dict[str, Run]:
    """One step on the adapters of twelve blocks: torch's default against its fused kernel."""
    _, _, heads, width = SHAPES[shape]
    runs: dict[str, Run] = {}
    for name, fused in (("default", False), ("fused", True)):
        sizes = [(2, 10, heads * width), (2, heads * width, 10)] * 12
        parameters = [torch.nn.Parameter(torch.randn(size)) for size in sizes]
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        runs[name] = torch.optim.Adam(parameters, fused=fused).step
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    for shape in SHAPES:
        lines = {
            "attention, bf16": attention(shape, "bf16"),
            "attention, fp32": attention(shape, "fp32"),
            "second moment": second_moment(shape),
            "adding B A x": adapters(shape),
            "qkv, bf16": casts(shape),
            "qkv, fp32": product(shape),
            "Adam": adam(shape),
        }
        for title, runs in lines.items():
            (ours, fast), (other, slow) = fastest(runs, given.rounds).items()
            print(
                f"{shape:<8} {title:<16} {ours} {1e3 * fast:.2f} ms, {other} {1e3 * slow:.2f} ms: "
                f"x{fast / slow:.2f}"
            )


if __name__ == "__main__":
    main()
