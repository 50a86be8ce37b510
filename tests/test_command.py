"""The command `janus`: each word starts the program that it names."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from janus import command

ROOT = Path(__file__).resolve().parent.parent
ALL = {name: word for group in command.WORDS.values() for name, word in group.items()}


@pytest.fixture
def started(monkeypatch):
    """Notes what would be started: [(program, words)]; every program ends with status 0."""
    found: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(
        command, "start_program", lambda *what: found.append((what[0], [*what[1]])) or 0
    )
    return found


def test_a_word_starts_its_program_with_the_words_that_follow(started):
    assert command.main(["train", "method=janus", "order=1"]) == 0
    assert command.main(["submit", "smoke", "--dry"]) == 0
    assert started == [
        ("janus", ["method=janus", "order=1"]),
        ("cluster", ["submit", "smoke", "--dry"]),
    ]


@pytest.mark.parametrize(
    ("words", "table"),
    [
        (["smoke"], ["--store", "runs", "--sweep", "smoke"]),
        (["store=x", "smoke", "scale=tiny"], ["--store", "x", "--sweep", "smoke-tiny"]),
        (["my/own.yaml", "seeds=2"], ["--store", "runs", "--sweep", "own"]),
        (["store='a b'", "smoke"], ["--store", "a b", "--sweep", "smoke"]),
        (
            ["--include", "mine.py", "own.yaml"],
            ["--store", "runs", "--sweep", "own", "--include", "mine.py"],
        ),
    ],
)
def test_a_sweep_is_followed_by_its_table(words, table, started):
    command.main(["sweep", *words])
    assert started == [("sweeps", ["run", *words]), ("analysis.compare", table)]


def test_help_starts_nothing_more(started):
    command.main(["sweep", "--help"])
    assert started == [("sweeps", ["run", "--help"])]


def test_an_unknown_word_names_the_nearest(started, capsys):
    assert command.main(["compair"]) == 2
    assert "no word 'compair'. Did you mean 'compare'" in capsys.readouterr().err
    assert not started


def test_every_word_names_a_program_that_exists_and_fits_eighty_columns():
    for word in ALL.values():
        assert find_spec(command.located(word.program)), word.program
    assert max(map(len, command.help_text().splitlines())) <= 80


@pytest.mark.parametrize("words", [[], ["--help"], ["methods"], ["compare", "--help"]])
def test_the_command_runs_as_a_process(words):
    done = subprocess.run(
        [sys.executable, "-m", "janus.command", *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout, done.stderr


def test_the_status_of_the_program_is_the_command_s():
    done = subprocess.run(
        [sys.executable, "-m", "janus.command", "train", "method=jannus"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
