"""`python -m cluster ACTION SWEEP`: submit a sweep to SLURM, look after it, end it.

Exit status: 0 fine (for `status`: every cell has a result), 2 usage, 3 cells are missing.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence

from cluster.commands.look_after import cancel, logs, status, watch
from cluster.commands.resubmit import repeated_words
from cluster.commands.submission_words import (
    MODES,
    parse_submission,
    refuse_twice,
    store_of,
    sweep_of,
)
from cluster.commands.submit import submit
from cluster.record.profile import profile_names
from cluster.record.submission import Submission, of_sweep
from janus import plugins
from janus.one_line import one_line
from sweeps.spec.words import add_include, included

SUBMITS = {
    "submit": "queue the open cells",
    "resubmit": "the same again as last time, under what you type now",
}
"""Actions that take KEY=VALUE words of a sweep."""
LOOK_AFTER: Mapping[str, tuple[str, Callable[[Sequence[Submission], Sequence[str]], int]]] = {
    "status": ("how the sweep's submissions are doing, newest first", status),
    "watch": ("the same whenever it changes, until the tasks have ended", watch),
    "logs": ("what was written about a cell: logs SWEEP CELL", logs),
    "cancel": ("end the tasks of all of the sweep's submissions, or of one: cancel ID", cancel),
}
"""Actions on what was submitted."""


def main(words: Sequence[str]) -> int:
    """Do what the command line asks; returns the exit status."""
    given = _parser().parse_intermixed_args(words)
    if given.action in LOOK_AFTER:
        for path in given.include:  # a launcher, say
            plugins.include(path)
        rest = [word for word in given.words if "=" not in word]
        found = of_sweep(store_of(given.words), sweep_of(given.sweep))
        return LOOK_AFTER[given.action][1](found, rest)
    given.words += included(given.include)
    refuse_twice(given.words)
    dry = given.dry or os.environ.get("DRY") == "1"
    name, words = given.sweep, given.words
    if given.action == "resubmit":
        name, words = repeated_words(name, words)
    return submit(parse_submission(name, words, failed=given.failed, dry=dry))


def run_command(words: Sequence[str]) -> int:
    """`main`, with every foreseen error as one line on stderr and its exit status."""
    try:
        return one_line(main, words)
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    texts = {**SUBMITS, **{name: text for name, (text, _) in LOOK_AFTER.items()}}
    actions = "\n".join(f"  {name:<10} {text}" for name, text in texts.items())
    modes = "\n".join(f"  mode={name:<6} {text}" for name, text in MODES.items())
    parser = argparse.ArgumentParser(
        prog="python -m cluster",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="The same sweep on SLURM.",
        epilog=f"actions:\n{actions}\n\nkeys:\n{modes}\n"
        "  cluster=local  the same tasks on this machine, without SLURM\n"
        f"  profile=NAME   one of {', '.join(profile_names())}, or a YAML file\n"
        "  profile.KEY=V  one value of the profile, e.g. profile.minutes=30\n"
        "Every other KEY=VALUE is the sweep's: python -m sweeps --help",
    )
    add_include(parser)
    parser.add_argument("action", choices=[*SUBMITS, *LOOK_AFTER])
    parser.add_argument("sweep", metavar="SWEEP", help="its name or file, or a submission's id")
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--dry", action="store_true", help="print the script, submit nothing")
    parser.add_argument("--failed", action="store_true", help="also the cells that failed")
    return parser


if __name__ == "__main__":
    sys.exit(run_command(sys.argv[1:]))
