"""Processes of their own that may die, without the seconds in which each would import torch.

They are forked from a server that has imported what they need and done nothing else. A fork of the
tests' own process would take over its state, and where there is a GPU torch trains in none.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["janus.__main__", "janus.training.loop", "janus.machine.import_timm", "tests.conftest"]
)


def start(work: Callable[..., Any], *arguments: Any, output: str = os.devnull) -> BaseProcess:
    """A process that does `work(*arguments)`, a function of a module; prints go to a file."""
    process = CONTEXT.Process(target=_do, args=(output, dict(os.environ), work, *arguments))
    process.start()
    return process


def run(work: Callable[..., Any], *arguments: Any) -> tuple[int | None, str]:
    """Wait for such a process: exit status, or minus the signal that ended it, and its output."""
    with tempfile.NamedTemporaryFile("r") as output:
        process = start(work, *arguments, output=output.name)
        process.join()
        return process.exitcode, output.read()


def _do(
    output: str, environment: Mapping[str, str], work: Callable[..., Any], *arguments: Any
) -> None:
    """The server's environment is that of the first caller."""
    os.environ.clear()
    os.environ.update(environment)
    with open(output, "a") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    work(*arguments)
