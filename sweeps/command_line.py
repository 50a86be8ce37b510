"""The actions of `python -m sweeps`, and which of them a command line asks for."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Sequence

from janus.config.overrides import path_override
from janus.errors import ConfigError
from janus.safe_names import check_name
from janus.store.store import Store
from sweeps.commands.choose import choose
from sweeps.commands.export import export
from sweeps.commands.gc import collect
from sweeps.commands.merge import merge
from sweeps.commands.plan import print_plan
from sweeps.commands.probe import probe
from sweeps.commands.run import run
from sweeps.commands.search import search
from sweeps.commands.status import print_status, status_of_list
from sweeps.commands.wandb_dashboard import dashboard
from sweeps.commands.wandb_sync import sync
from sweeps.spec.cell_list import list_path
from sweeps.spec.sweep_file import SweepRequest, load_sweep, sweep_names
from sweeps.spec.words import KEYS, add_include, included

Action = Callable[[SweepRequest, str], int]

ACTIONS: dict[str, tuple[str, Action]] = {
    "run": ("train the open cells, each once", run),
    "plan": ("print what run would do", print_plan),
    "probe": ("time two steps of each row that was never measured, then plan", probe),
    "status": ("print how far the sweep is, from the store alone", print_status),
    "sync": ("upload what waits for Weights & Biases", sync),
    "dashboard": ("make a workspace at Weights & Biases that shows the sweep", dashboard),
    "search": ("find the best values of each row on tuning cells, as a sweep file", search),
    "choose": ("print the winners of a tuning sweep as a sweep file", choose),
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
    request = load_sweep(given.name, given.overrides)
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
