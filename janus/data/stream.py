"""Cuts a bench into a stream of tasks under a class order, and makes the batches of each task.

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
"""Images per forward pass without training. It changes the last bits, so it is not a setting."""


@dataclass(frozen=True)
class Batch:
    """A batch of B images, as a method receives it."""

    images: Tensor
    """float (B, C, H, W), ready for the backbone; features (B, D) for a method whose network is
    fixed (see janus/methods/base/precomputable.py)"""
    labels: Tensor
    """int64 (B,), in order of appearance"""
    domains: Tensor
    """int64 (B,)"""
    queries: Tensor | None = None
    """(B, D) features of the pretrained network, for a method that asks for them (`AsksPretrained`)
    and where they are known before the images come"""
    start: int = 0
    """position of the first image in the step's batch, of which this may be a part (see step.py)"""


Job = Callable[[], Batch]
"""A function that makes one batch; any thread may call it."""

OnBatch = Callable[[], None]
"""Called after every batch: a run then counts it and writes its heartbeat."""


def ignore_batch() -> None:
    """Does nothing, where no heartbeat is written."""


@dataclass(frozen=True)
class Task:
    """One task of the stream. A method sees only this task's training data."""

    index: int
    """Number of the task, from 0."""
    count: int
    """Number of tasks T."""
    first: int
    """First label of this task's classes."""
    classes: int
    """Number of classes in this task."""
    seen: int
    """Number of classes seen so far, this task included."""
    fresh: int
    """Number of this task's classes that no earlier task had."""
    epochs: int
    """Training epochs of this task."""
    cell: Cell
    train: Images
    device: torch.device
    on_batch: OnBatch = field(default=ignore_batch, repr=False, compare=False)

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in one epoch; the last one may be smaller."""
        return -(-len(self.train) // self.cell.train.batch_size)

    def train_batches(self, epoch: int | str, start: int = 0) -> Iterator[Batch]:
        """Shuffled, augmented batches from step `start` on. Equal arguments give equal batches."""
        threads = torch.get_num_threads() if self.cell.bench.augment == "crop" else 1
        jobs = self._train_jobs(epoch, start)
        return _reported(_made(jobs, self.train, self.device, threads), self.on_batch)

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
        return plain_batches(self.train, self.cell, self.device, self.on_batch)


def plain_batches(
    images: Images, cell: Cell, device: torch.device, on_batch: OnBatch = ignore_batch
) -> Iterator[Batch]:
    """Batches of all `images`, in order, with the test transform."""

    def make(index: Tensor) -> Batch:
        part = images.take(index)
        return _batch(plain_view(part, cell, device), part, device)

    parts = torch.arange(len(images)).split(EVAL_BATCH)
    jobs = (partial(make, index) for index in parts)
    return _reported(_made(jobs, images, device), on_batch)


def _made(
    jobs: Iterator[Job], images: Images, device: torch.device, threads: int = 1
) -> Iterator[Batch]:
    """Run the jobs and yield their batches.

    The jobs run ahead in other threads where that saves time: if images are decoded, if batches are
    copied to a GPU, or if there are several `threads`.
    """
    if isinstance(images.store, VariedSizeImages) or device.type == "cuda":
        return ahead(jobs)
    return ahead(jobs, min(threads, DEPTH)) if threads > 1 else (job() for job in jobs)


def _reported(batches: Iterator[Batch], on_batch: OnBatch) -> Iterator[Batch]:
    """The batches; `on_batch` is called after each, when the caller asks for the next."""
    for batch in batches:
        yield batch
        on_batch()


def _batch(images: Tensor, part: Images, device: torch.device) -> Batch:
    queries = None if part.queries is None else to_device(part.queries.pixels, device)
    return Batch(images, to_device(part.labels, device), to_device(part.domains, device), queries)


@dataclass(frozen=True)
class Stream:
    """All tasks of a run."""

    tasks: tuple[Task, ...]
    tests: tuple[Images, ...]
    """Test images of each task, labels re-numbered like the training labels; or one shared test
    set, evaluated after every task."""
    order: tuple[int, ...]
    """Original class (or domain) numbers in order of appearance."""
    names: tuple[tuple[str, ...], ...]
    """Class (or domain) names of each task."""
    places: tuple[Tensor, ...] = field(compare=False)
    """For each image of `tests` its index in the bench's test set, int64. It is the same in every
    order."""
    test_set: str
    """Name of the bench's test set in its order (see `image_bits.name_of_test_set`)."""
    on_batch: OnBatch = field(default=ignore_batch, repr=False, compare=False)

    @property
    def shared_test(self) -> bool:
        """Whether all tasks share one test set."""
        return len(self.tests) < len(self.tasks)

    def describe(self) -> list[dict[str, Any]]:
        """For each task its classes (or domains) and its numbers of training and test images."""
        tests = cycle(self.tests) if self.shared_test else self.tests
        return [
            {
                "classes": list(self.names[task.index]),
                "train_images": len(task.train),
                "test_images": len(test),
            }
            for task, test in zip(self.tasks, tests, strict=False)
        ]


def cut(bench: Bench, cell: Cell, device: torch.device, on_batch: OnBatch = ignore_batch) -> Stream:
    """Cut `bench` into the tasks of `cell`; every pass over their images calls `on_batch`.

    If the classes do not divide evenly, each of the first tasks has one class more, unless the
    bench sets the number of classes of each task.
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
                on_batch=on_batch,
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
        on_batch=on_batch,
    )


def _by_task(images: Images, place: Tensor, domain: bool) -> tuple[Tensor, ...]:
    """Indices of the images of each task, in file order.

    place: (classes or domains,) the task of each. Takes one pass for any number of tasks.
    """
    task = place[images.domains if domain else images.labels]
    sizes = task.bincount(minlength=int(place.max()) + 1)
    return tuple(task.argsort(stable=True).split(sizes.tolist()))


def _parts(images: Images, rows: Sequence[Tensor], new_label: Tensor) -> tuple[Images, ...]:
    """The images of each task, with labels re-numbered."""
    parts = [images.take(index) for index in rows]
    return tuple(part.relabelled(new_label[part.labels]) for part in parts)


def tasks_of(stream: Stream, joint: bool) -> tuple[Task, ...]:
    """The tasks that a method trains on: the stream's tasks, or one joined task if `joint`."""
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
        on_batch=last.on_batch,
    )
