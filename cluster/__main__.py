"""`python -m cluster ACTION SWEEP`: submit a sweep to SLURM, look after it, end it.

Exit status: 0 fine (for `status`: every cell has a result), 2 usage, 3 cells are missing.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster import local, look, slurm, snapshot
from cluster.profile import Profile, load_profile, profile_names
from cluster.stage import sources
from cluster.submission import Submission, create, newest
from janus.command import one_line
from janus.errors import ConfigError, suggest
from janus.overrides import path_override
from janus.store import Store
from sweeps import report
from sweeps.console import say, tell
from sweeps.load import Request, load
from sweeps.look import say_forecast
from sweeps.plan import plan_rows, split_open, write_list

MODES = {"array": "tasks that take cells by claims", "ray": "a Ray cluster in one allocation"}
WATCH_S = 10.0
"""Between looks; each asks SLURM's controller once."""
CLUSTERS = ("slurm", "local")


@dataclass(frozen=True)
class Wanted:
    """A parsed command line."""

    request: Request
    profile: Profile
    cluster: str
    mode: str
    command: str
    inline: str
    """What would run the same sweep without a cluster."""
    failed: bool = False
    dry: bool = False


def parse(name: str, words: Sequence[str], **more: Any) -> Wanted:
    """Split `profile=`, `profile.KEY=`, `cluster=` and `mode=` from the sweep's own words."""
    own = {"profile": "default", "cluster": "slurm", "mode": "array"}
    changes: dict[str, Any] = {}
    rest = []
    for word in words:
        key, _, value = word.partition("=")
        if key in own:
            own[key] = value
        elif key.startswith("profile."):
            if not value.isprintable():
                raise ConfigError(f"{key} must be a printable text, got {value!r}")
            try:
                changes[key.removeprefix("profile.")] = yaml.safe_load(value)
            except (yaml.YAMLError, ValueError, RecursionError):
                raise ConfigError(
                    f"cannot read {word!r}: the value is not valid YAML; write it as in "
                    "profile.minutes=30"
                ) from None
        else:
            rest.append(word)
    for key, known in (("cluster", CLUSTERS), ("mode", tuple(MODES))):
        if own[key] not in known:
            raise ConfigError(f"unknown {key}={own[key]}.{suggest(own[key], known)}")
    if own["mode"] == "ray" and own["cluster"] == "local":
        raise ConfigError("mode=ray needs SLURM; on one machine: python -m sweeps run")
    profile = load_profile(own["profile"], changes)
    request = load(name, rest)
    if request.search is not None:
        raise ConfigError(f"{name} is a search, not a table: python -m sweeps search {name}")
    if request.tracker != "none":
        raise ConfigError(
            f"tasks on a cluster talk to no tracker: leave tracker={request.tracker} out, and "
            f"write finished cells to W&B with: python -m sweeps sync {name} store={request.store}"
        )
    command = shlex.join(["python", "-m", "cluster", "submit", name, *words])
    inline = shlex.join(["python", "-m", "sweeps", "run", name, *rest])
    return Wanted(request, profile, own["cluster"], own["mode"], command, inline, **more)


def submit(wanted: Wanted) -> int:
    """Queue what is open."""
    from cluster import submit as how

    request, profile = wanted.request, wanted.profile
    store, planned = Store(request.store), plan_rows(request.sweep)
    split = split_open((p.cell.id for p in planned), store)
    chosen = {*split.open, *split.running, *(split.failed if wanted.failed else ())}
    cells = [how.portable(p.cell) for p in planned if p.cell.id in chosen]
    say(f"sweep {request.sweep.name}: {report.counts(split)}; {store.root}")
    if split.failed and not wanted.failed:
        say(f"  failed cells stay as they are; to try them again: resubmit {request.sweep.name}")
    if not cells:
        say("nothing to submit")
        return 0
    sources(cells, profile)
    if wanted.cluster == "slurm":
        how.check_profile(profile)
    tasks = how.task_count(len(cells), profile)
    ray_workers = profile.nodes * (profile.gpus or profile.cpus)
    workers = ray_workers if wanted.mode == "ray" else tasks * profile.cells_at_once
    say_forecast(request, planned, split, workers, profile.device, wanted.inline)
    if wanted.dry:
        return _dry(wanted, store, len(cells))
    for line in how.check_weights(cells):
        tell(f"weights: {line}")
    write_list(store, request.sweep.name, wanted.command, planned)
    code = snapshot.take(store.root / "cluster" / "code")
    retry = {cell_id: store.last_claim(cell_id) for cell_id in split.failed if wanted.failed}
    more = {
        "command": wanted.command,
        "cluster": wanted.cluster,
        "mode": wanted.mode,
        "code": code.name,
        "keep_final": request.keep_final,
    }
    submission = create(store, request.sweep.name, cells, retry, profile, more)
    tell(f"submission {submission.id}, code {code.name}")
    if wanted.cluster == "local":
        ids = local.start(submission, profile, len(cells))
    elif wanted.mode == "ray":
        ids = how.submit_ray(submission, profile)
    else:
        ids = how.submit_array(submission, profile, len(cells))
    if wanted.cluster == "slurm":
        how.refuse_hopeless(submission, ids)
    what = f"{profile.nodes} nodes" if wanted.mode == "ray" else f"{tasks} tasks"
    say(f"{len(cells)} cells, {what}: jobs {', '.join(ids)}")
    say(f"look with: python -m cluster status {request.sweep.name} store={store.root}")
    return 0


def _dry(wanted: Wanted, store: Store, cells: int) -> int:
    """Print the scripts that would be submitted."""
    from cluster import submit as how

    code = snapshot.content_hash(snapshot.ROOT, snapshot.code_files(snapshot.ROOT))
    folder = store.root / "cluster" / f"{wanted.request.sweep.name}-DRY"
    planned = Submission(folder)
    profile = wanted.profile
    planned.__dict__["record"] = {"code": code, "profile": asdict(profile)}
    tasks = how.task_count(cells, profile)
    if wanted.cluster == "local":
        say(f"{tasks} processes on this machine, each up to {profile.minutes} minutes at a time")
        return 0
    parts = how.chunks(1 if wanted.mode == "ray" else tasks, profile, slurm.max_array())
    for part in parts:
        say(how.script(planned, len(part), wanted.mode))
    return 0


def status(submission: Submission, words: Sequence[str]) -> int:
    """Say how a submission is doing."""
    found = look.status_of(submission)
    say(found.text)
    return 0 if found.complete else 3


def watch(submission: Submission, words: Sequence[str]) -> int:
    """Say how a submission is doing, again and again; ending this ends nothing else."""
    told = ""
    while True:
        found = look.status_of(submission)
        if found.text != told:
            say(f"{time.strftime('%H:%M:%S')} {found.text}")
            sys.stdout.flush()
        if found.complete or found.over:
            return 0 if found.complete else 3
        told = found.text
        time.sleep(WATCH_S)


def logs(submission: Submission, words: Sequence[str]) -> int:
    """Print what tasks wrote about a cell."""
    if len(words) != 1:
        raise ConfigError("which cell? python -m cluster logs SWEEP CELL (the start of its id)")
    say(look.logs_of(submission, words[0]))
    return 0


def cancel(submission: Submission, words: Sequence[str]) -> int:
    """End a submission's tasks; its cells keep their checkpoints."""
    if submission.record["cluster"] == "local":
        local.end(submission)
    else:
        slurm.cancel_submission(submission.id)
    say(f"cancelled {submission.id}; to go on later: {submission.record['command']}")
    return 0


def _find(name: str, words: Sequence[str]) -> tuple[Submission, list[str]]:
    """The newest submission of a sweep, from its name and `store=`; other keys do not matter."""
    store, rest = "runs", []
    for word in words:
        _, equals, _ = word.partition("=")
        if (path := path_override(word)) and path[0] == "store":
            if store not in ("runs", path[1]):
                raise ConfigError(
                    f"store is given twice, as {store!r} and {path[1]!r}; give it once"
                )
            store = path[1] or "runs"
        elif not equals:
            rest.append(word)
    return newest(Store(store), Path(name).stem if name.endswith((".yaml", ".yml")) else name), rest


SUBMITS: Mapping[str, tuple[str, Callable[[Wanted], int]]] = {
    "submit": ("queue the open cells", submit),
    "resubmit": ("as submit; with --failed also the cells that failed", submit),
}
LOOKS: Mapping[str, tuple[str, Callable[[Submission, Sequence[str]], int]]] = {
    "status": ("how the newest submission is doing", status),
    "watch": ("the same whenever it changes, until the tasks have ended", watch),
    "logs": ("what was written about a cell: logs SWEEP CELL", logs),
    "cancel": ("end the newest submission's tasks", cancel),
}


def main(words: Sequence[str]) -> int:
    """Do what the command line asks; returns the exit status."""
    given = _parser().parse_intermixed_args(words)
    if given.action in LOOKS:
        return LOOKS[given.action][1](*_find(given.sweep, given.words))
    typed: dict[str, str] = {}
    for word in given.words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"cannot read {word!r}: write KEY=VALUE")
        if typed.setdefault(key, value) != value:
            raise ConfigError(
                f"{key} is given twice, as {typed[key]!r} and {value!r}; give it once"
            )
    dry = given.dry or os.environ.get("DRY") == "1"
    wanted = parse(given.sweep, given.words, failed=given.failed, dry=dry)
    return SUBMITS[given.action][1](wanted)


def run_command(words: Sequence[str]) -> int:
    """`main`, with every foreseen error as one line on stderr and its exit status."""
    try:
        return one_line(main, words)
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    actions = "\n".join(f"  {name:<10} {text}" for name, (text, _) in {**SUBMITS, **LOOKS}.items())
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
    parser.add_argument("action", choices=[*SUBMITS, *LOOKS])
    parser.add_argument("sweep", metavar="SWEEP")
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--dry", action="store_true", help="print the script, submit nothing")
    parser.add_argument("--failed", action="store_true", help="try failed cells again")
    return parser


if __name__ == "__main__":
    sys.exit(run_command(sys.argv[1:]))
