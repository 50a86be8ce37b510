"""Collects what is measured at the end of every task: counts, diagnostics, correct test images.

Also keeps the class means of domain streams. Test images are used here only, never by the method.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor

from janus import metrics
from janus.config.cell import Cell
from janus.config.method_spec import method_spec
from janus.data.stream import Stream, Task
from janus.errors import RunError
from janus.evaluation.accuracy import evaluate, old_class_overlap, sample_past_images
from janus.methods.base.method import Method
from janus.nn.heads import Prototypes
from janus.store.correct_images import FIELD, content_name
from janus.store.image_bits import ImageBits, encode


class Measurements:
    """The accuracy matrices and diagnostics of one run, for the tasks finished so far."""

    def __init__(self, method: Method, stream: Stream, cell: Cell, device: torch.device) -> None:
        self.method, self.stream, self.cell, self.device = method, stream, cell, device
        self.correct: list[list[int] | None] = []
        self.correct_in_task: list[list[int] | None] = []
        self.correct_ncm: list[list[int] | None] = []
        self.diagnostics: list[dict[str, Any]] = []
        self.task_records: list[str] = []
        """What each finished task added, as JSON: a tree of everything ever measured would be
        walked at every checkpoint."""
        self.places = torch.cat(stream.places)
        self.right: list[Tensor] = []
        """After each finished task: which test images were correct, as packed bits (see `_packed`).
        Fewer entries than tasks if an older version, which did not record them, began the run."""
        width = method.context.width
        self.centres = Prototypes(width, device)
        """Class centres of test images, for the diagnostics."""
        self.means: Prototypes | None = None
        """Means of the method's training features by (class, domain), taken at the end of the
        task: a nearest-class-mean classifier for comparison with an unprotected shared head.
        None: not measured."""
        shared = method_spec(cell.method.name).domains.startswith("shared head")
        if cell.bench.scenario == "domain" and shared:
            self.means = Prototypes(width, device)

    @torch.no_grad()
    def after(self, task: Task) -> None:
        """Measure after `task`: adds one row to each matrix and one entry to the diagnostics.

        Raises RunError (cause `nan`) when a measurement is not finite.
        """
        joint = self.method.joint
        upto = len(self.stream.tasks) - 1 if joint else task.index
        if self.means is not None:
            self._add_means(task)
        found = evaluate(self.method, self.stream, upto, self.cell, self.device, self.means)
        if found.counts.correct_ncm is None:
            self.means = None  # the method has no single feature space
        own_tests = not self.stream.shared_test
        past = sample_past_images(
            self.stream.tests[: task.index] if own_tests else (), self.cell, self.device
        )
        facts = {"task": task.index, **self.method.diagnose(past)}
        if not joint and own_tests:
            facts |= old_class_overlap(found.newest, self.centres)
        entry = vars(found.counts) | {"diagnostics": facts}
        self._append(entry)
        self.right.append(self._packed(found.right))
        try:
            self.task_records.append(json.dumps(entry, allow_nan=False))
        except ValueError:
            raise RunError(
                f"the measurements after task {task.index} hold NaN or infinity: check the weights "
                "and images, or lower the learning rate (method.lr)",
                cause="nan",
            ) from None

    def _packed(self, right: Tensor) -> Tensor:
        """uint8 (ceil(N / 8),): one bit per test image, ordered as in the test set.

        right: bool (n,) for the first n images of the stream's tests.
        """
        bits = torch.zeros(len(self.places), dtype=torch.bool)
        bits[self.places[: len(right)]] = right
        return torch.from_numpy(np.packbits(bits.numpy()))

    def _append(self, entry: dict[str, Any]) -> None:
        skipped = len(self.stream.tasks) - 1 if self.method.joint else 0
        for name in ("correct", "correct_in_task", "correct_ncm"):
            getattr(self, name).extend([*[None] * skipped, entry[name]])
        self.diagnostics.append(entry["diagnostics"])

    def _add_means(self, task: Task) -> None:
        """Add class means by one extra pass over the task. `passes` does not count it, because the
        method does not use it."""
        assert self.means is not None
        features, labels = self.method.task_features(task)
        domains = task.train.domains.to(labels.device)
        for domain in domains.unique():
            mine = domains == domain
            self.means.add(features[mine], labels[mine])

    def totals(self) -> list[int]:
        """Number of test images of each task, or of the one shared test set."""
        return [len(images) for images in self.stream.tests]

    def accuracy(self) -> float | None:
        """Image-weighted accuracy after the last finished task; None if none is measured."""
        point = metrics.after_task(self.correct[-1], self.totals()) if self.correct else None
        return point[0] if point else None

    def matrices(self) -> dict[str, Any]:
        """The counts and diagnostics of the tasks finished so far, under the keys of a result."""
        found: dict[str, Any] = {
            "correct": self.correct,
            "correct_in_task": self.correct_in_task,
            "total": self.totals(),
            "diagnostics": self.diagnostics,
        }
        return found | ({"correct_ncm": self.correct_ncm} if self.means is not None else {})

    def images(self) -> bytes | None:
        """The file of single test images; None where it would lack the first tasks of a run that
        began before there was one."""
        if not self.right or len(self.right) < len(self.task_records):
            return None
        tasks = len(self.stream.tasks)
        task = np.empty(len(self.places), dtype=np.int64)
        for number, places in enumerate(self.stream.places):
            task[places.numpy()] = number
        found = ImageBits(
            test_set=self.stream.test_set,
            images=len(task),
            tasks=tasks,
            task=None if self.stream.shared_test else task,
            after=tuple(t for t, row in enumerate(self.correct) if row is not None),
            rows=torch.stack(self.right).numpy(),
        )
        return encode(found)

    def facts(self) -> dict[str, Any]:
        """The measured part of a result: counts, diagnostics, metrics, name of the image file."""
        found, totals = self.matrices(), self.totals()
        if (images := self.images()) is not None:
            found[FIELD] = content_name(images)
        for name in ("", "_in_task", "_ncm"):
            if f"correct{name}" in found:
                found[f"metrics{name}"] = metrics.summarise(found[f"correct{name}"], totals)
        return found

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint; `load_state_dict` restores it bit for bit."""
        return {
            "told": self.task_records,  # the key of checkpoints of earlier versions
            "right": torch.stack(self.right) if self.right else torch.empty(0, dtype=torch.uint8),
            "centres": self.centres.state_dict(),
            "means": self.means.state_dict() if self.means else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.task_records = list(state["told"])
        for entry in self.task_records:
            self._append(json.loads(entry))
        self.right = list(state["right"].cpu()) if "right" in state else []
        self.centres.load_state_dict(state["centres"])
        if state["means"] is None:
            self.means = None
        else:
            assert self.means is not None
            self.means.load_state_dict(state["means"])
