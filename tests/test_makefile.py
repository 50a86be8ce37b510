"""What make runs: a sweep's table, page and upload must be of the sweep that was asked for."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from itertools import takewhile
from pathlib import Path

import pytest

from sweeps.spec.sweep_file import load_sweep

ROOT = Path(__file__).resolve().parent.parent


def commands(target: str, *variables: str) -> list[str]:
    """The words that make would run, the environment's own settings aside."""
    done = subprocess.run(
        ["make", "-n", "-o", ".venv/.ready", target, *variables],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    return shlex.split(done.stdout.replace("\\\n", " "))


def name_of(words: list[str], action: str) -> str:
    """The name under which `python -m sweeps ACTION NAME KEY=VALUE...` keeps its sweep."""
    at = words.index(action)
    overrides = takewhile(lambda word: re.match(r"[a-z.]+=", word), words[at + 2 :])
    return load_sweep(words[at + 1], list(overrides)).sweep.name


@pytest.mark.parametrize(
    "variables",
    [
        (),
        ("BENCH=cifar100",),
        ("SWEEP=ablation", "SEEDS=2"),
        ("SWEEP=paper", "SCALE=tiny"),
        ("SWEEP=sweeps/conf/orders.yaml", "BENCH=cub200", "SCALE=tiny"),
    ],
    ids=" ".join,
)
def test_what_follows_a_sweep_is_about_the_same_sweep(variables: tuple[str, ...]) -> None:
    swept = commands("sweep", *variables)
    name = name_of(swept, "run")
    assert swept[swept.index("--sweep") + 1].rstrip(";") == name
    assert name_of(commands("wandb-sync", *variables), "sync") == name
    for target in ("compare", "report", "paper"):
        words = commands(target, *variables)
        assert words[words.index("--sweep") + 1] == name


@pytest.mark.parametrize("word", ["METHOD=janus", "SEED=3", "STROE=/tmp/x"])
def test_a_misspelt_variable_is_refused_and_the_known_ones_are_named(word):
    done = subprocess.run(
        ["make", "-n", "-o", ".venv/.ready", "sweep", word],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert f"unknown variable {word.partition('=')[0]}" in done.stderr and "METHODS" in done.stderr
