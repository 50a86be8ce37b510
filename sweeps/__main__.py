"""`python -m sweeps ACTION NAME`: run, look at, or learn from a sweep.

Exit status: 0 every cell has a result, 2 usage, 3 some cells failed or are missing, 130 stopped.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence

from janus.config.overrides import path_override
from janus.errors import ConfigError, JanusError, RunError
from janus.one_line import one_line
from janus.safe_names import check_name
from janus.store.store import Store
from sweeps.commands.gc import collect
from sweeps.commands.merge_export import export, merge
from sweeps.commands.run import run
from sweeps.commands.status import plan, probe, status, status_of_list
from sweeps.commands.wandb_dashboard import dashboard
from sweeps.commands.wandb_sync import sync
from sweeps.execution.interrupts import STOPPED, not_interrupted
from sweeps.search.search import search
from sweeps.search.winners import print_choice
from sweeps.show.console import tell
from sweeps.spec.plan import list_path
from sweeps.spec.sweep_file import Request, load, sweep_names
from sweeps.spec.words import KEYS, add_include, included

Action = Callable[[Request, str], int]

ACTIONS: dict[str, tuple[str, Action]] = {
    "run": ("train the open cells, each once", run),
    "plan": ("print what run would do", plan),
    "probe": ("time two steps of each row that was never measured, then plan", probe),
    "status": ("print how far the sweep is, from the store alone", status),
    "sync": ("upload what waits for Weights & Biases", sync),
    "dashboard": ("make a workspace at Weights & Biases that shows the sweep", dashboard),
    "search": ("find the best values of each row on tuning cells, as a sweep file", search),
    "choose": ("print the winners of a tuning sweep as a sweep file", print_choice),
}
"""What can be done with a sweep. An action takes the request and the command that would run it."""

STORE_ACTIONS: dict[str, tuple[str, Callable[[Sequence[str]], int]]] = {
    "merge": ("STORE... [store=runs]: bring the results of other stores into one", merge),
    "export": ("DIR [store=runs] [sweep=NAME] --results-only: a copy to give away", export),
    "gc": (
        "[store=runs] [keep=final] [features=drop] [dry=true]: delete what is no longer needed",
        collect,
    ),
}
"""What can be done with stores, whatever sweeps they hold. An action takes the words after it."""


def main(words: Sequence[str]) -> int:
    """Do what the command line asks; returns the exit status."""
    if words and words[0] in STORE_ACTIONS and not {"-h", "--help"} & set(words):
        return STORE_ACTIONS[words[0]][1](words[1:])
    given = _parser().parse_intermixed_args(words)
    given.overrides += included(given.include)
    if given.action == "status" and (store := _store_with_list(given.name, given.overrides)):
        start = shlex.join(["python", "-m", "sweeps", "run", given.name, *given.overrides])
        return status_of_list(store, given.name, start)
    request = load(given.name, given.overrides)
    if request.search is not None and given.action not in ("search", "status"):
        how = shlex.join(["python", "-m", "sweeps", "search", given.name, *given.overrides])
        raise ConfigError(f"{given.name} is a search, not a table: {how}")
    command = shlex.join(["python", "-m", "sweeps", "run", given.name, *given.overrides])
    return ACTIONS[given.action][1](request, command)


def _store_with_list(name: str, overrides: Sequence[str]) -> Store | None:
    """The store that knows a sweep of this name although no shipped file has it: a user's own."""
    if name in sweep_names() or name.endswith((".yaml", ".yml")):
        return None
    paths = [path for word in overrides if (path := path_override(word)) and path[0] == "store"]
    store = Store(paths[-1][1] or "runs") if paths else Store("runs")
    return store if list_path(store, check_name(name, "the name of a sweep")).exists() else None


def _parser() -> argparse.ArgumentParser:
    actions = "\n".join(f"  {name:<10} {text}" for name, (text, _) in ACTIONS.items())
    stores = "\n".join(f"  {name:<10} {text}" for name, (text, _) in STORE_ACTIONS.items())
    keys = "\n".join(f"  {key:<10} {text}" for key, text in KEYS.items())
    parser = argparse.ArgumentParser(
        prog="python -m sweeps",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Train methods x orders x seeds on Ray Tune, each cell once.",
        epilog=f"actions:\n{actions}\n\nactions on stores, without NAME:\n{stores}\n\n"
        f"sweeps: {', '.join(sweep_names())}, or a YAML file\n\nkeys:\n{keys}\n\n"
        "Other keys go to the cells, a comma list spans a grid: train.epochs=3 method.rank=4,8\n"
        "Keys of the cells: python -m janus --help",
    )
    parser.add_argument("action", choices=list(ACTIONS))
    parser.add_argument("name", metavar="NAME", help="name of the sweep")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    add_include(parser)
    return parser


def _leave(status: int) -> None:
    """End the process. Ctrl-C from here on would only interrupt Python's own end.

    A stopped one ends at once: Ray's native code, interrupted while it started, may crash in it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if status == STOPPED:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def run_command(words: Sequence[str]) -> int:
    """`main`, with every foreseen error as one line on stderr and its exit status."""
    try:
        return one_line(main, words, _status_of)
    except KeyboardInterrupt:
        with not_interrupted():
            tell("stopped; the same command goes on from what is in the store")
        return STOPPED


def _status_of(error: JanusError) -> int:
    """3 where the cells are only not finished, 2 for a mistake in the command."""
    return 3 if isinstance(error, RunError) and error.cause == "disk-full" else 2


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    _leave(run_command(sys.argv[1:]))
