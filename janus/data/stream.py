"""Streams: a bench cut into tasks under an order, and the batches of each task.

Class-incremental: classes are permuted, split evenly, and re-numbered in order of appearance, so
task t owns the labels [first, first + count). Domain-incremental: the order permutes domains and
every task has all classes. Batches and augmentations are keyed by (seed, order, task, epoch,
step) and by nothing a method draws: methods are compared on the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, cycle, pairwise
from typing import Any

import torch
from torch import Tensor

from janus.config.cell import Cell
from janus.config.task_sizes import sizes_of
from janus.data.class_orders import make_order
from janus.data.images.images import Bench, Images, joined_images
from janus.data.images.prefetch import DEPTH, ahead
from janus.data.images.transforms import plain_view, to_device, train_view
from janus.data.images.varied_size import VariedSizeImages
from janus.keyed_random import generator
from janus.store.image_bits import name_of_test_set

EVAL_BATCH = 256
"""Images per forward pass when nothing is trained. Part of the numerics: do not tune per run."""


@dataclass(frozen=True)
class Batch:
    """What a method trains on. B images."""

    images: Tensor
    """float (B, C, H, W), ready for the backbone; features (B, D) for a method whose network is
    frozen (see `Method.frozen_features`)"""
    labels: Tensor
    """int64 (B,), in order of appearance"""
    domains: Tensor
    """int64 (B,)"""
    queries: Tensor | None = None
    """(B, D) features of the pretrained network, for a method that asks for them (see
    `Method.queries`) and where they are known before the images come"""
    start: int = 0
    """place of the first image in the step's batch, of which this may be a part (see step.py)"""


Job = Callable[[], Batch]
"""Makes one batch, whichever thread calls it."""

Tick = Callable[[], None]
"""Called whenever a batch was worked through: a run's sign of life (see pulse.py)."""


def nobody() -> None:
    """Where nobody waits for a sign of life."""


@dataclass(frozen=True)
class Task:
    """One step of the stream, as a method may see it: its own training data, nothing else."""

    index: int
    """0-based."""
    count: int
    """Number of tasks T."""
    first: int
    """First label of this task's classes."""
    classes: int
    """Number of classes in this task."""
    seen: int
    """Number of classes seen so far, this task included."""
    fresh: int
    """How many of this task's classes were never seen before."""
    epochs: int
    """Training epochs of this task."""
    cell: Cell
    train: Images
    device: torch.device
    tick: Tick = field(default=nobody, repr=False, compare=False)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one epoch; the last one may be smaller."""
        return -(-len(self.train) // self.cell.train.batch_size)

    def train_batches(self, epoch: int | str, start: int = 0) -> Iterator[Batch]:
        """Shuffled, augmented batches from step `start` on; a pure function of its arguments."""
        threads = torch.get_num_threads() if self.cell.bench.augment == "crop" else 1
        jobs = self._train_jobs(epoch, start)
        return _ticking(_made(jobs, self.train, self.device, threads), self.tick)

    def _train_jobs(self, epoch: int | str, start: int) -> Iterator[Job]:
        key = (self.cell.seed, self.cell.order, self.index, epoch)
        shuffled = torch.randperm(len(self.train), generator=generator("batches", *key))
        parts = shuffled.split(self.cell.train.batch_size)

        def make(step: int) -> Batch:
            part = self.train.take(parts[step])
            draw = generator("augment", *key, step)
            return _batch(train_view(part, self.cell, self.device, draw), part, self.device)

        return (partial(make, step) for step in range(start, len(parts)))

    def plain_batches(self) -> Iterator[Batch]:
        """The training images once, in file order, under the test transform."""
        return plain_batches(self.train, self.cell, self.device, self.tick)


def plain_batches(
    images: Images, cell: Cell, device: torch.device, tick: Tick = nobody
) -> Iterator[Batch]:
    """All of `images`, in order, under the test transform."""

    def make(index: Tensor) -> Batch:
        part = images.take(index)
        return _batch(plain_view(part, cell, device), part, device)

    parts = torch.arange(len(images)).split(EVAL_BATCH)
    jobs = (partial(make, index) for index in parts)
    return _ticking(_made(jobs, images, device), tick)


def _made(
    jobs: Iterator[Job], images: Images, device: torch.device, threads: int = 1
) -> Iterator[Batch]:
    """The batches: made in threads where that helps, since workers decode or the GPU copies while
    the loop computes, or there are several `threads` to make them.
    """
    if isinstance(images.store, VariedSizeImages) or device.type == "cuda":
        return ahead(jobs)
    return ahead(jobs, min(threads, DEPTH)) if threads > 1 else (job() for job in jobs)


def _ticking(batches: Iterator[Batch], tick: Tick) -> Iterator[Batch]:
    """The batches; `tick` is called after each, when the caller asks for more."""
    for batch in batches:
        yield batch
        tick()


def _batch(images: Tensor, part: Images, device: torch.device) -> Batch:
    queries = None if part.queries is None else to_device(part.queries.pixels, device)
    return Batch(images, to_device(part.labels, device), to_device(part.domains, device), queries)


@dataclass(frozen=True)
class Stream:
    """All tasks of a run."""

    tasks: tuple[Task, ...]
    tests: tuple[Images, ...]
    """Test images of each task, labels re-numbered like the training labels; or one set, tested
    after every task."""
    order: tuple[int, ...]
    """Original class (or domain) numbers in order of appearance."""
    names: tuple[tuple[str, ...], ...]
    """Class (or domain) names of each task."""
    places: tuple[Tensor, ...] = field(compare=False)
    """Where each image of `tests` stands in the bench's test set, int64; the same image has the
    same place in every order."""
    test_set: str
    """Name of the bench's test set in its order (see `image_bits.name_of_test_set`)."""
    tick: Tick = field(default=nobody, repr=False, compare=False)

    @property
    def shared_test(self) -> bool:
        """Whether all tasks share one test set."""
        return len(self.tests) < len(self.tasks)

    def describe(self) -> list[dict[str, Any]]:
        """Classes (or domains) of each task and how many images it trains and tests on."""
        tests = cycle(self.tests) if self.shared_test else self.tests
        return [
            {
                "classes": list(self.names[task.index]),
                "train_images": len(task.train),
                "test_images": len(test),
            }
            for task, test in zip(self.tasks, tests, strict=False)
        ]


def cut(bench: Bench, cell: Cell, device: torch.device, tick: Tick = nobody) -> Stream:
    """Cut `bench` into the tasks of `cell`; every pass over their images calls `tick`.

    Class counts that do not divide evenly put one more class into each of the first tasks, unless
    the bench says how many classes each task has.
    """
    domain = cell.bench.scenario == "domain"
    units = len(bench.domain_names) if domain else len(bench.class_names)
    names = bench.domain_names if domain else bench.class_names
    order = make_order(cell.order, names, cell.own_order)
    ends = accumulate(sizes_of(cell.bench.tasks, cell.bench.task_sizes, units), initial=0)
    shares = [order[start:end] for start, end in pairwise(ends)]
    if domain:
        new_label = torch.arange(len(bench.class_names))
    else:
        new_label = torch.empty(units, dtype=torch.long)
        new_label[torch.tensor(order)] = torch.arange(units)
    place = torch.empty(units, dtype=torch.long)
    for index, share in enumerate(shares):
        place[share] = index
    trains = _parts(bench.train, _by_task(bench.train, place, domain), new_label)
    if bench.shared_test:
        places: tuple[Tensor, ...] = (torch.arange(len(bench.test)),)
        tests: tuple[Images, ...] = (bench.test.relabelled(new_label[bench.test.labels]),)
    else:
        places = _by_task(bench.test, place, domain)
        tests = _parts(bench.test, places, new_label)
    tasks, first = [], 0
    for index, share in enumerate(shares):
        classes = len(bench.class_names) if domain else len(share)
        epochs = cell.train.epochs
        if index == 0 and cell.train.first_epochs is not None:
            epochs = cell.train.first_epochs
        tasks.append(
            Task(
                index=index,
                count=len(shares),
                first=0 if domain else first,
                classes=classes,
                seen=classes if domain else first + classes,
                fresh=0 if domain and index else classes,
                epochs=epochs,
                cell=cell,
                train=trains[index],
                device=device,
                tick=tick,
            )
        )
        first += classes
    named = bench.domain_names if domain else bench.class_names
    return Stream(
        tasks=tuple(tasks),
        tests=tests,
        order=tuple(order),
        names=tuple(tuple(named[i] for i in share) for share in shares),
        places=places,
        test_set=name_of_test_set(
            bench.sha256, bench.test.labels.numpy(), bench.test.domains.numpy()
        ),
        tick=tick,
    )


def _by_task(images: Images, place: Tensor, domain: bool) -> tuple[Tensor, ...]:
    """Which images belong to each task, in file order.

    place: (classes or domains,) the task of each. One pass, however many tasks there are.
    """
    task = place[images.domains if domain else images.labels]
    sizes = task.bincount(minlength=int(place.max()) + 1)
    return tuple(task.argsort(stable=True).split(sizes.tolist()))


def _parts(images: Images, rows: Sequence[Tensor], new_label: Tensor) -> tuple[Images, ...]:
    """The images of each task, with labels re-numbered."""
    parts = [images.take(index) for index in rows]
    return tuple(part.relabelled(new_label[part.labels]) for part in parts)


def tasks_of(stream: Stream, joint: bool) -> tuple[Task, ...]:
    """What a method trains on, one after another: the stream's tasks, or all joined as one."""
    return (joined(stream),) if joint else stream.tasks


def joined(stream: Stream) -> Task:
    """All tasks' training data as one task, for joint training (the upper bound)."""
    last = stream.tasks[-1]
    return Task(
        index=0,
        count=1,
        first=0,
        classes=last.seen,
        seen=last.seen,
        fresh=last.seen,
        epochs=last.epochs,
        cell=last.cell,
        train=joined_images([t.train for t in stream.tasks]),
        device=last.device,
        tick=last.tick,
    )
