"""Observers that show a run: a live display on terminals, one line per task elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn


def percent(value: float | None) -> str:
    """A fraction as a percentage with two decimals; '--' if it was not measured."""
    return "--" if value is None else f"{100 * value:.2f}"


def clock(seconds: float | None) -> str:
    """Seconds as text, 1:02:03 or 2:03; '--' if unknown."""
    if seconds is None:
        return "--"
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


class PlainProgress:
    """Observer that prints one line per finished task."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        return None

    def notify(self, event: str, facts: Mapping[str, Any]) -> None:
        """Print a line if the event is a finished task."""
        if event == "task":
            line = (
                f"task {facts['task'] + 1}/{facts['tasks']}  accuracy so far "
                f"{percent(facts['accuracy'])}  {facts['seconds']:.1f} s\n"
            )
            self.stream.write(line)
            self.stream.flush()


class LiveProgress:
    """Observer that redraws one bar: task, epoch, loss, accuracy so far, time left."""

    def __init__(self, title: str) -> None:
        self.bar = Progress(
            TextColumn(title),
            BarColumn(bar_width=30),
            TextColumn("task {task.fields[at]}  epoch {task.fields[epoch]}"),
            TextColumn("loss {task.fields[loss]}  accuracy so far {task.fields[accuracy]}"),
            TextColumn("left {task.fields[left]}"),
        )
        self.row = self.bar.add_task(
            "", total=1.0, at="--", epoch="--", loss="--", accuracy="--", left="--"
        )
        self.live = Live(self.bar, console=Console(stderr=True), refresh_per_second=4)

    def __enter__(self) -> LiveProgress:
        self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.live.stop()

    def notify(self, event: str, facts: Mapping[str, Any]) -> None:
        """Update the bar after a step or a finished task."""
        if event == "step":
            share = (facts["task"] + facts["step"] / max(1, facts["steps"])) / facts["tasks"]
            self.bar.update(
                self.row,
                completed=share,
                at=f"{facts['task'] + 1}/{facts['tasks']}",
                epoch=f"{facts['epoch'] + 1}/{facts['epochs']}",
                loss=f"{facts['loss']:.3f}",
                left=clock(facts["seconds_left"]),
            )
        elif event == "task":
            self.bar.update(
                self.row,
                completed=(facts["task"] + 1) / facts["tasks"],
                at=f"{facts['task'] + 1}/{facts['tasks']}",
                accuracy=percent(facts["accuracy"]),
                left=clock(facts["seconds_left"]),
            )


def make_progress(title: str) -> PlainProgress | LiveProgress:
    """The live bar if stderr is a terminal, else plain lines."""
    return LiveProgress(title) if sys.stderr.isatty() else PlainProgress()
