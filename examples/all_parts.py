"""One part of each kind, registered from a single module: add `--include examples/all_parts.py`.

docs/extend.md explains each call. A part of your own needs only its own call.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import torch
from matplotlib.figure import Figure

from analysis.figures import Drawn
from cluster.launchers import outside_launchers as launchers
from janus.data.images.images import Bench, Images
from janus.data.stream import Batch
from janus.methods.base.lora_method import LoraMethod
from janus.metrics import Metric
from janus.plugins import (
    register_backbone,
    register_bench,
    register_column,
    register_figure,
    register_launcher,
    register_method,
    register_metric,
    register_tracker,
)


@register_method(  # or the name of a YAML file beside this module
    {
        "name": "scaled_loss",
        "title": "Scaled loss",
        "summary": "SeqLoRA with its loss times a factor.",
        "family": "lora",
        "paper": "(none)",
        "revision": 1,
        "keeps": "as seqlora",
        "trains": "as seqlora",
        "defaults": "as seqlora",
        "equations": ["loss = factor * cross-entropy"],
        "extends": ["_training", "_lora"],
        "settings": {"factor": {"default": 2.0, "above": 0, "help": "Factor of the loss."}},
    }
)
class ScaledLoss(LoraMethod):
    """docs/add-a-method.md says what a method is."""

    def loss(self, batch: Batch) -> dict[str, torch.Tensor]:
        """{name: term}; the loop minimises their sum."""
        factor = self.context.settings["factor"]
        return {name: factor * term for name, term in super().loss(batch).items()}


def noise(config: object) -> Bench:
    """Four classes of grey noise, 8 training images each; the same images are the test set."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(4).repeat(8)
    pixels = torch.randint(0, 255, (32, 1, 32, 32), generator=draw, dtype=torch.uint8)
    one_domain = torch.zeros_like(labels)
    images = Images(store=pixels, labels=labels, domains=one_domain, groups=torch.arange(32))
    return Bench(images, images, tuple("abcd"), ("all",), sha256="0" * 64)


small = {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
register_backbone(
    {
        "name": "small",
        "model": "vit_tiny_patch16_224",  # any name that timm knows
        "model_kwargs": small,
        "weights": "random",
        "image_size": 32,
        "channels": 1,
    }
)
register_bench(
    {
        "name": "noise",
        "scenario": "class",
        "classes": 4,
        "tasks": 2,
        "backbone": "small",
        "split_sha256": "0" * 64,
        "train": {"epochs": 1, "batch_size": 8},
    },
    noise,
)

register_metric(Metric(key="worst", title="Worst task", of=lambda counts: min(counts.final)))
register_column("tasks", "Tasks", lambda run: run.cell["bench"]["tasks"], digits=0)


@register_figure("last")
def last(bench: str, rows: dict) -> Drawn | None:
    """`rows`: {row: its runs}. None where the runs do not give the figure."""
    figure = Figure()
    axes = figure.add_subplot()
    axes.bar(list(rows), [100 * runs[0].metrics["acc"] for runs in rows.values()])
    return Drawn("last", figure, f"Accuracy of the first run of each row on {bench}.")


@register_tracker("lines")
class Lines:
    """`tracker=lines`: a file of events beside the results."""

    def __init__(self, cell, facts: dict) -> None:
        self.path = Path(facts["store"]) / f"{cell.id}.events"

    def notify(self, event: str, facts: dict) -> None:
        """`event`: start, begin, step, task, done or failed."""
        with self.path.open("a") as stream:
            stream.write(f"{event}\n")

    def close(self) -> None:
        """Called once, also after a failure."""


@register_launcher("by_hand")
class ByHand:
    """`cluster=by_hand`: each task is a process of this machine."""

    def submit(self, submission, tasks: int) -> list[str]:
        """Start the tasks; returns a name for each."""
        names = []
        for index in range(tasks):
            words, variables = launchers.task_command(submission, index, tasks)
            with (submission.jobs / f"{index}.log").open("w") as log:
                process = subprocess.Popen(
                    words, env={**os.environ, **variables}, stdout=log, stderr=log
                )
            names.append(str(process.pid))
        return names

    def running(self, submission) -> list[str]:
        """The names of the tasks that wait or run: ask your queue here."""
        return []

    def cancel(self, submission) -> None:
        """Send SIGTERM to the tasks here: each saves its cell before it ends."""
