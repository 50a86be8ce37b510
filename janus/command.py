"""The command `janus`: one word for each program of the project.

    janus train method=janus order=1      the program `python -m janus`
    janus sweep smoke                     `python -m sweeps run smoke`, then its table
    janus compare --sweep smoke           `python analysis/compare.py --sweep smoke`

Each word starts a program as if it had been typed itself, so its options, messages and exit status
are the program's. Nothing else is decided here.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from janus.config.overrides import path_override
from janus.errors import suggest


@dataclass(frozen=True, slots=True)
class Word:
    """What a word of the command starts."""

    program: str
    """Module of the program, as it is named in a checkout."""
    leading: tuple[str, ...]
    """Words that the program gets before those that were typed."""
    help: str


WORDS: Mapping[str, Mapping[str, Word]] = {
    "train and look": {
        "train": Word("janus", (), "train one cell: KEY=VALUE ... (--help lists the keys)"),
        "methods": Word("janus", ("--list", "methods"), "list the methods"),
        "demo": Word("sweeps", ("run", "demo"), "a small sweep on the bundled bench, a minute"),
        "sweep": Word("sweeps", ("run",), "train the open cells of a sweep, then print its table"),
        "plan": Word("sweeps", ("plan",), "print what `sweep` would do"),
        "status": Word("sweeps", ("status",), "print how far a sweep is"),
        "search": Word("sweeps", ("search",), "find the best values of each row"),
    },
    "results": {
        "compare": Word("analysis.compare", (), "print the table of a sweep or a store"),
        "report": Word("analysis.report", (), "write the page report.html"),
        "paper": Word("analysis.paper", (), "write tables and figures for a paper"),
        "claims": Word("analysis.claims", (), "test what the paper claims"),
    },
    "cluster": {
        "submit": Word("cluster", ("submit",), "queue a sweep on SLURM"),
        "resubmit": Word("cluster", ("resubmit",), "the same again as last time"),
        "jobs": Word("cluster", ("status",), "print how the sweep's submissions are doing"),
        "watch": Word("cluster", ("watch",), "the same whenever it changes"),
        "logs": Word("cluster", ("logs",), "print what was written about a cell"),
        "cancel": Word("cluster", ("cancel",), "end the tasks of a sweep or a submission"),
    },
    "data, weights, stores": {
        "data": Word("janus.data", (), "check or prepare images"),
        "weights": Word("janus.weights", (), "fetch or check weight files"),
        "merge": Word("sweeps", ("merge",), "bring the results of other stores into one"),
        "export": Word("sweeps", ("export",), "copy results to give away"),
        "gc": Word("sweeps", ("gc",), "delete what is no longer needed"),
        "sync": Word("sweeps", ("sync",), "upload what waits for Weights & Biases"),
        "dashboard": Word("sweeps", ("dashboard",), "make a W&B workspace for a sweep"),
    },
}
"""{group: {word: what it starts}}, in the order of the help."""

TABLE_AFTER = ("sweep", "demo")
"""Words after which the sweep's table is printed."""


def main(argv: Sequence[str] | None = None) -> int:
    """Start the program that the first word names; returns its exit status."""
    name, *rest = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help", "help"):
        sys.stdout.write(help_text())
        return 0
    known = {word: found for group in WORDS.values() for word, found in group.items()}
    if name not in known:
        sys.stderr.write(f"error: janus has no word {name!r}.{suggest(name, known)}\n")
        return 2
    status = start_program(known[name].program, [*known[name].leading, *rest])
    if name in TABLE_AFTER and status in (0, 3) and not {"-h", "--help"} & set(rest):
        table = start_program("analysis.compare", table_words([*known[name].leading[1:], *rest]))
        return status or table
    return status


def table_words(words: Sequence[str]) -> list[str]:
    """The words of `compare` for the sweep that `sweep` has just run with `words`."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--include", action="append", default=[])
    given = parser.parse_intermixed_args(words)
    keys = dict(word.split("=", 1) for word in given.words if "=" in word)
    (name,) = (word for word in given.words if "=" not in word)
    if name.endswith((".yaml", ".yml")):
        name = Path(name).stem
    scale = f"-{keys['scale']}" if "scale" in keys else ""
    paths = [
        path[1] for word in given.words if (path := path_override(word)) and path[0] == "store"
    ]
    store = (paths or ["runs"])[-1] or "runs"
    include = [part for path in given.include for part in ("--include", path)]
    return ["--store", store, "--sweep", name + scale, *include]


def start_program(program: str, words: Sequence[str]) -> int:
    """Run a program of the project in this process as `python -m` would; returns its status."""
    module = located(program)
    before = sys.argv
    sys.argv = [module, *words]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    finally:
        sys.argv = before
    return 0


def located(program: str) -> str:
    """The program's module name here: `sweeps` of a checkout is `janus.sweeps` where installed."""
    top = program.partition(".")[0]
    return program if top == "janus" or not find_spec(f"janus.{top}") else f"janus.{program}"


def help_text() -> str:
    """Every word with what it does, in groups."""
    lines = ["usage: janus WORD ...; janus WORD --help says more", ""]
    for group, words in WORDS.items():
        lines.append(f"{group}:")
        lines += [f"  {name:<10} {word.help}" for name, word in words.items()]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
