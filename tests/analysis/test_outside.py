"""Columns and figures from outside of the project, in tables and reports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import REPO, FakeStore

MODULE = """
from analysis.figures.style import Drawn
from janus.plugins import register_column, register_figure
from matplotlib.figure import Figure

register_column("tasks", "Tasks", lambda run: run.cell["bench"]["tasks"], digits=0, scale=1)


@register_figure("last")
def last(bench, rows):
    figure = Figure()
    figure.add_subplot().bar(list(rows), [runs[0].metrics["acc"] for runs in rows.values()])
    return Drawn("last", figure, "The last accuracy of " + ", ".join(rows) + ".")
"""


def run(fake: FakeStore, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of analysis/ in a process of its own, so that no registration outlives the test."""
    command = [sys.executable, str(REPO / "analysis" / name), "--store", str(fake.root), *words]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=fake.root.parent, env=dict(os.environ)
    )


@pytest.fixture
def module(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(MODULE)
    return str(path)


def test_a_column_of_ones_own_is_shown_and_unknown_without_its_module(
    fake: FakeStore, module: str
) -> None:
    for order in (0, 1):
        fake.add("seqlora", order=order)
        fake.add("janus", order=order)
    done = run(fake, "compare.py", "--include", module, "--columns", "acc,tasks")
    assert done.returncode == 0, done.stderr
    assert "Tasks" in done.stdout
    row = next(line for line in done.stdout.splitlines() if line.startswith("seqlora"))
    assert "3" in row.split()
    unknown = run(fake, "compare.py", "--columns", "acc,tasks")
    assert unknown.returncode == 2 and "no column 'tasks'" in unknown.stderr


@pytest.mark.slow
def test_a_figure_of_ones_own_stands_in_the_report(fake: FakeStore, module: str) -> None:
    for order in (0, 1):
        fake.add("seqlora", order=order)
        fake.add("janus", order=order)
    page = fake.root.parent / "report.html"
    done = run(fake, "report.py", "--include", module, "--out", str(page))
    assert done.returncode == 0, done.stderr
    assert "The last accuracy of" in page.read_text()
