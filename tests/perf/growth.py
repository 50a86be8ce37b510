"""`python -m tests.perf.growth [AXIS ...]`: how cost grows, with fitted exponents.

Axes: tasks, classes, images, rank, basis, cells, and methods (tasks, for each of them). CPU seconds
of this process on one thread, on made-up images and a random two-block network of width 32, so
small that all which is not arithmetic shows; rank and basis on one of width 192. The exponent is
the slope of log cost over log size, fitted to the three largest sizes: 1 is linear. A quotient of
two costs of one run, not a time.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch

from janus import atomic_files
from janus.config.cell import Cell
from janus.config.compose import compose
from janus.config.method_spec import spec_names
from janus.data.images.images import Bench, Images
from janus.data.stream import cut
from janus.errors import ConfigError
from janus.evaluation import measurements
from janus.keyed_random import generator
from janus.methods import make_method, method_class
from janus.methods.base.method import Context
from janus.methods.base.subspace_lora import SubspaceLora
from janus.nn.vit import build_backbone
from janus.store.store import Store
from janus.training import loop, set_up
from janus.training.run_checkpoints import RunCheckpoints
from sweeps.spec.by_status import by_status
from sweeps.spec.cell_list import write_list
from sweeps.spec.plan import plan
from sweeps.spec.sweep import Sweep

Costs = dict[str, float]
CPU = torch.device("cpu")

SMALL = {"bench": "glyphs", "backbone": "toy", "train.epochs": 1, "train.batch_size": 32}
WIDE = SMALL | {
    "backbone.model_kwargs": {"patch_size": 8, "embed_dim": 192, "depth": 2, "num_heads": 3}
}


def made_up(classes: int, train: int, test: int) -> Bench:
    """A bench of noise with so many images a class."""

    def images(each: int) -> Images:
        labels = torch.arange(classes).repeat_interleave(each)
        draw = generator("growth", classes, each)
        shape = (len(labels), 1, 32, 32)
        pixels = torch.randint(0, 256, shape, generator=draw, dtype=torch.uint8)
        return Images(pixels, labels, torch.zeros_like(labels), labels)

    names = tuple(str(n) for n in range(classes))
    return Bench(images(train), images(test), names, ("",), "made-up")


# ---- whole runs ---------------------------------------------------------------------------------
@contextmanager
def clocked(
    cell: Cell, costs: Costs, now: Callable[[], float] = time.process_time
) -> Iterator[None]:
    """Add up the seconds of the parts of a run: of this process' CPU, or by another clock."""
    method = method_class(cell.method.name)
    parts: list[tuple[Any, str, str]] = [
        (set_up, "cut", "cut"),
        (loop, "train_epoch", "train"),
        (method, "begin_task", "begin"),
        (method, "end_task", "end"),
        (set_up, "pass_once", "evaluate"),
        (measurements, "evaluate", "evaluate"),
        (method, "diagnose", "diagnose"),
        (RunCheckpoints, "save", "save"),
    ]
    with ExitStack() as stack:
        for owner, name, label in parts:
            stack.enter_context(
                patch.object(owner, name, _clock(getattr(owner, name), label, costs, now))
            )
        yield


def _clock(
    call: Callable[..., Any], label: str, costs: Costs, now: Callable[[], float]
) -> Callable[..., Any]:
    def clocked(*args: Any, **more: Any) -> Any:
        began = now()
        try:
            return call(*args, **more)
        finally:
            costs[label] += now() - began

    return clocked


def one_run(method: str, bench: Bench, tasks: int) -> Costs:
    """CPU seconds by part, and bytes, of one run."""
    classes = len(bench.class_names)
    cell = compose({**SMALL, "method": method, "bench.classes": classes, "bench.tasks": tasks})
    costs: Costs = defaultdict(float)
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(set_up.benches, "load", lambda _: bench),
        patch.object(atomic_files, "_sync", lambda _: None),
        clocked(cell, costs),
    ):
        store, began = Store(folder), time.process_time()
        loop.run_cell(cell, store, threads=1, keep="final")
        costs["all"] = time.process_time() - began
        costs["else"] = 2 * costs["all"] - sum(costs.values())
        saved = (store.run_dir(cell.id) / "ckpt").glob("*/*.safetensors")
        costs["checkpoint MB"] = max(path.stat().st_size for path in saved) / 1e6
        costs["result MB"] = store.result_path(cell.id).stat().st_size / 1e6
    return costs


def tasks(method: str = "janus") -> None:
    """Two classes a task, four training images and one test image a class."""
    sizes = [5, 20, 100, 500]
    show(f"tasks ({method})", sizes, [one_run(method, made_up(2 * t, 4, 1), t) for t in sizes])


def classes(method: str = "janus") -> None:
    """Ten tasks, two training images and one test image a class."""
    sizes = [100, 1000, 10_000]
    show(f"classes ({method})", sizes, [one_run(method, made_up(c, 2, 1), 10) for c in sizes])


def images(method: str = "janus") -> None:
    """Ten tasks of ten classes."""
    sizes = [1000, 4000, 16_000]
    found = [one_run(method, made_up(100, n // 100, n // 500), 10) for n in sizes]
    show(f"training images ({method})", sizes, found)


# ---- single steps -------------------------------------------------------------------------------
def steps(method: str, basis: int | None = None, **settings: Any) -> Costs:
    """CPU seconds of ten steps of the second task, with `basis` protected directions a block."""
    given = {f"method.{name}": value for name, value in settings.items()}
    cell = compose({**WIDE, "method": method, "bench.classes": 20, "bench.tasks": 2, **given})
    stream = cut(made_up(20, 64, 1), cell, CPU)
    made = make_method(Context(cell, build_backbone(cell.backbone, CPU), CPU))
    for task in stream.tasks:
        if basis is not None and isinstance(made, SubspaceLora):
            _protect(made, basis)
        made.begin_task(task)
        if task.index == 0:
            made.end_task(task)
    batches = [next(stream.tasks[1].train_batches(epoch)) for epoch in range(4)]
    seconds = []
    for turn in range(12):
        began = time.process_time()
        sum(made.loss(batches[turn % 4]).values(), torch.zeros(())).backward()
        made.update()
        seconds.append(time.process_time() - began)
    return {"step ms": 1e3 * sorted(seconds[2:])[4]}


def _protect(method: SubspaceLora, size: int) -> None:
    for block, basis in enumerate(method.bases):
        draw = torch.randn(basis.v.shape[0], size, generator=generator("growth-basis", block))
        basis.v = torch.linalg.qr(draw)[0].contiguous()


def rank(method: str = "janus") -> None:
    """Width 192, batch 32, a basis of 64 directions."""
    sizes = [4, 8, 16, 32, 64]
    show(f"rank ({method})", sizes, [steps(method, 64, rank=r) for r in sizes])


def basis(method: str = "janus") -> None:
    """Width 192, batch 32, rank 10."""
    sizes = [10, 20, 40, 80, 160]
    show(f"basis size ({method})", sizes, [steps(method, q) for q in sizes])


# ---- cells --------------------------------------------------------------------------------------
def cells(_: str = "") -> None:
    """Planning a sweep, writing its list, and listing a store in which all cells are done."""
    sizes = [100, 1000, 10_000]
    show("cells", sizes, [_one_sweep(count) for count in sizes])


def _one_sweep(count: int) -> Costs:
    orders = tuple(str(n) for n in range(count // 20))
    sweep = Sweep(
        name="growth", methods=("seqlora", "janus"), orders=orders, seeds=tuple(range(10))
    )
    costs: Costs = {}
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        began = time.process_time()
        planned = plan(sweep).entries
        ids = [entry.cell.id for entry in planned]
        costs["plan"] = time.process_time() - began
        for cell_id in ids:
            store.result_path(cell_id).parent.mkdir(parents=True, exist_ok=True)
            store.result_path(cell_id).write_text("{}")
        began = time.process_time()
        assert len(by_status(ids, store).done) == count
        costs["list"] = time.process_time() - began
        began = time.process_time()
        write_list(store, "growth", "", planned)
        costs["write"] = time.process_time() - began
    return costs


# ---- every method -------------------------------------------------------------------------------
def methods(given: str = "") -> None:
    """Exponents over the number of tasks, of two classes each, of the methods' parts."""
    sizes, parts = [10, 30, 90], ("train", "end", "evaluate", "diagnose", "save", "all")
    sys.stdout.write(f"\n{'tasks ' + str(sizes):<24}" + "".join(f"{p:>10}" for p in parts) + "\n")
    for name in given.split(",") if given else spec_names("method"):
        try:
            found = [one_run(name, made_up(2 * t, 4, 1), t) for t in sizes]
        except ConfigError as error:  # a method with a bound on the number of tasks
            sys.stdout.write(f"{name:<24}{error}\n")
            continue
        slopes = [exponent(sizes, [costs[part] for costs in found]) for part in parts]
        line = "".join(f"{slope:>10.2f}" for slope in slopes)
        sys.stdout.write(f"{name:<24}{line}   ({found[-1]['all']:.1f} s)\n")
        sys.stdout.flush()


# ---- tables -------------------------------------------------------------------------------------
def exponent(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """Slope of log cost over log size, by least squares."""
    points = [(math.log(s), math.log(max(c, 1e-9))) for s, c in zip(sizes, costs, strict=True)]
    x = sum(p[0] for p in points) / len(points)
    y = sum(p[1] for p in points) / len(points)
    return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)


def show(title: str, sizes: Sequence[int], found: Sequence[Costs]) -> None:
    """One line per part: its cost at each size and the exponent."""
    write = sys.stdout.write
    write(f"\n{title:<24}" + "".join(f"{size:>10}" for size in sizes) + "  exponent\n")
    for part in found[0]:
        costs = [costs[part] for costs in found]
        slope = exponent(sizes[-3:], costs[-3:])
        write(f"{part:<24}" + "".join(f"{c:>10.3f}" for c in costs) + f"{slope:>10.2f}\n")
    sys.stdout.flush()


AXES = {f.__name__: f for f in (tasks, classes, images, rank, basis, cells, methods)}


def main(words: Sequence[str]) -> None:
    """Measure the named axes, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("axes", nargs="*", choices=[*AXES, []], metavar="AXIS")
    parser.add_argument("--method", default="", help="janus, and with the axis methods all: a,b,c")
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    one_run("janus", made_up(10, 4, 1), 2)  # imports, first calls
    for axis in given.axes or AXES:
        AXES[axis](given.method if axis == "methods" else given.method or "janus")


if __name__ == "__main__":
    main(sys.argv[1:])
