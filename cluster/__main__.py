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

from cluster import sweep_status
from cluster.launchers import launcher, local
from cluster.node.stage_data import sources
from cluster.record import code_snapshot
from cluster.record.profile import Profile, load_profile, profile_names
from cluster.record.profile_text import read_word
from cluster.record.submission import Submission, create, of_sweep, repeat, submissions, words_of
from cluster.scheduler import slurm_commands
from janus import plugins
from janus.config.overrides import path_override
from janus.errors import ClusterError, ConfigError, suggest
from janus.one_line import one_line
from janus.store.store import Store
from sweeps.commands.status import say_forecast
from sweeps.show import texts
from sweeps.show.console import for_action, say, tell
from sweeps.spec.plan import plan_rows, split_open, write_list
from sweeps.spec.sweep_file import Request, load
from sweeps.spec.words import add_include, included

MODES = {"array": "tasks that take cells by claims", "ray": "a Ray cluster in one allocation"}
WATCH_S = 10.0
"""Between looks; each asks SLURM's controller once."""


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
            field = key.removeprefix("profile.")
            changes[field] = read_word(field, value)
        else:
            rest.append(word)
    request = load(name, rest)  # first: it imports the modules that register launchers
    for key, known in (("cluster", launcher.names()), ("mode", tuple(MODES))):
        if own[key] not in known:
            raise ConfigError(f"unknown {key}={own[key]}.{suggest(own[key], known)}")
    if own["mode"] == "ray" and own["cluster"] != "slurm":
        raise ConfigError("mode=ray needs SLURM; on one machine: python -m sweeps run")
    profile = load_profile(own["profile"], changes)
    if request.search is not None:
        how = shlex.join(["python", "-m", "sweeps", "search", name])
        raise ConfigError(f"{name} is a search, not a table: {how}")
    if request.tracker != "none":
        sync = shlex.join(["python", "-m", "sweeps", "sync", name, f"store={request.store}"])
        raise ConfigError(
            f"tasks on a cluster talk to no tracker: leave tracker={request.tracker} out, and "
            f"write finished cells to W&B with: {sync}"
        )
    command = shlex.join(["python", "-m", "cluster", "submit", name, *words])
    inline = shlex.join(["python", "-m", "sweeps", "run", name, *rest])
    return Wanted(request, profile, own["cluster"], own["mode"], command, inline, **more)


def submit(wanted: Wanted) -> int:
    """Queue what is open."""
    from cluster.launchers import slurm as how

    request, profile = wanted.request, wanted.profile
    store, planned = Store(request.store), plan_rows(request.sweep)
    split = split_open((p.cell.id for p in planned), store)
    chosen = {*split.open, *split.running, *(split.failed if wanted.failed else ())}
    cells = [how.portable(p.cell) for p in planned if p.cell.id in chosen]
    say(f"sweep {request.sweep.name}: {texts.counts(split)}; {store.root}")
    if split.failed and not wanted.failed:
        say(f"  failed cells stay as they are; to try them again: {wanted.command} --failed")
    if not cells:
        say("nothing to submit")
        return 0
    sources(cells, profile)
    how.check_path(store.root, wanted.cluster)
    if wanted.cluster == "slurm":
        _check_site(wanted)
    tasks = how.task_count(len(cells), profile)
    ray_workers = profile.nodes * (profile.gpus or profile.cpus)
    workers = ray_workers if wanted.mode == "ray" else tasks * profile.cells_at_once
    probe = for_action(wanted.inline, "probe")
    if wanted.cluster == "slurm":  # nobody should train on a login node
        probe = f"{how.interactive(profile)} {probe}"
    say_forecast(request, planned, split, workers, profile.device, wanted.inline, probe)
    _note_what_is_not_used(wanted)
    if wanted.dry:
        return _dry(wanted, store, len(cells))
    for line in how.check_weights(cells):
        tell(f"weights: {line}")
    if wanted.cluster == "slurm":
        _tell_others(store, {cell.id for cell in cells})
    write_list(store, request.sweep.name, wanted.command, planned)
    outside = plugins.sources()
    code = code_snapshot.take(store.root / "cluster" / "code", sources=outside)
    retry = {cell_id: store.last_claim(cell_id) for cell_id in split.failed if wanted.failed}
    more = {
        "command": wanted.command,
        "cluster": wanted.cluster,
        "mode": wanted.mode,
        "code": code.name,
        "keep_final": request.keep_final,
    }
    if outside:
        more["include"] = code_snapshot.outside_modules(outside)
        more["included_from"] = [str(source.path) for source in outside]
    submission = create(store, request.sweep.name, cells, retry, profile, more)
    tell(f"submission {submission.id}, code {code.name}")
    if wanted.cluster == "local":
        ids = local.start(submission, profile, len(cells))
    elif wanted.cluster != "slurm":
        ids = launcher.launcher(wanted.cluster).submit(submission, tasks)
    elif wanted.mode == "ray":
        ids = how.submit_ray(submission, profile)
    else:
        ids = how.submit_array(submission, profile, len(cells))
    if wanted.cluster == "slurm":
        how.refuse_hopeless(submission, ids)
    what = f"{profile.nodes} nodes" if wanted.mode == "ray" else f"{tasks} tasks"
    say(f"{len(cells)} cells, {what}: jobs {', '.join(ids)}")
    words = ["python", "-m", "cluster", "status", request.sweep.name, f"store={store.root}"]
    say(f"look with: {shlex.join(words)}")
    return 0


def _note_what_is_not_used(wanted: Wanted) -> None:
    """Name what of the profile will not count: on this machine, or below the environment."""
    if wanted.cluster == "local":
        if wanted.profile.setup:
            tell("note: cluster=local does not run the lines of profile.setup")
        return
    if above := sorted(name for name in os.environ if name.startswith("SBATCH_")):
        told = ", ".join(f"{name}={os.environ[name]}" for name in above)
        tell(f"note: set in your environment, and SLURM puts it above the profile: {told}")


def _dry(wanted: Wanted, store: Store, cells: int) -> int:
    """Print the scripts that would be submitted; needs no SLURM."""
    from cluster.launchers import job_script
    from cluster.launchers import slurm as how

    files = code_snapshot.all_files(code_snapshot.ROOT, plugins.sources())
    code = code_snapshot.content_hash(files)
    folder = store.root / "cluster" / f"{wanted.request.sweep.name}-DRY"
    planned = Submission(folder)
    profile = wanted.profile
    planned.__dict__["record"] = {"code": code, "profile": asdict(profile)}
    tasks = how.task_count(cells, profile)
    if wanted.cluster not in ("slurm", "local"):
        say(f"{tasks} tasks, started by the launcher {wanted.cluster}")
        return 0
    if wanted.cluster == "local":
        say(f"{tasks} processes on this machine, each up to {profile.minutes} minutes at a time")
        return 0
    try:
        most = slurm_commands.max_array()
    except ClusterError as error:
        most = profile.chunk
        tell(f"not checked: how large a job array the site takes ({error})")
    for part in how.chunks(1 if wanted.mode == "ray" else tasks, profile, most):
        say(job_script.text(planned, len(part), wanted.mode))
    return 0


def _tell_others(store: Store, cell_ids: set[str]) -> None:
    """Name the submissions whose tasks wait or run for the same cells. That loses nothing."""
    known = submissions(store)
    queued = slurm_commands.queue() if known else []
    for other in reversed(known):
        tasks = sweep_status.tasks_of(other, queued)
        same = cell_ids & ({cell.id for cell in other.work[0]} if not tasks.over else set())
        if same:
            words = ["python", "-m", "cluster", "cancel", other.id, f"store={store.root}"]
            tell(
                f"{other.id} was submitted before for {len(same)} of these cells and has not "
                f"ended ({tasks.text}). Both will share them, none is trained twice. To end the "
                f"earlier one: {shlex.join(words)}"
            )


def _check_site(wanted: Wanted) -> None:
    """Hold the profile against the site's partitions; a dry run goes on where there is no SLURM."""
    from cluster.launchers import slurm as how

    try:
        kinds = slurm_commands.partitions()
    except ClusterError as error:
        if not wanted.dry:
            raise
        tell(f"not checked: partition, GPUs, processors, memory and time limit ({error})")
        return
    how.check_profile(wanted.profile, kinds)


def status(found: Sequence[Submission], words: Sequence[str]) -> int:
    """Say how a sweep's submissions are doing."""
    seen = sweep_status.status_of(found)
    say(seen.text)
    return 0 if seen.complete else 3


def watch(found: Sequence[Submission], words: Sequence[str]) -> int:
    """Say how the submissions are doing, again and again; ending this ends nothing else."""
    told = ""
    while True:
        seen = sweep_status.status_of(found)
        if seen.text != told:
            say(f"{time.strftime('%H:%M:%S')} {seen.text}")
            sys.stdout.flush()
        if seen.complete or seen.over:
            return 0 if seen.complete else 3
        told = seen.text
        time.sleep(WATCH_S)


def logs(found: Sequence[Submission], words: Sequence[str]) -> int:
    """Print what tasks wrote about a cell."""
    if len(words) != 1:
        raise ConfigError("which cell? python -m cluster logs SWEEP CELL (the start of its id)")
    say(sweep_status.logs_of(found, words[0]))
    return 0


def cancel(found: Sequence[Submission], words: Sequence[str]) -> int:
    """End the tasks of the submissions; their cells keep their checkpoints."""
    ended = 0
    on_slurm = any(s.record["cluster"] == "slurm" for s in found)
    queued = slurm_commands.queue() if on_slurm else []
    for submission in found:
        if sweep_status.tasks_of(submission, queued).over:
            continue
        if submission.record["cluster"] == "local":
            local.end(submission)
        elif submission.record["cluster"] != "slurm":
            launcher.launcher(submission.record["cluster"]).cancel(submission)
        else:
            slurm_commands.cancel_submission(submission.id)
        ended += 1
        say(f"cancelled {submission.id}; to go on later: {submission.record['command']}")
    if not ended:
        say(f"nothing to cancel: no task of {found[0].record['sweep']} waits or runs")
    return 0


def _find(name: str, words: Sequence[str]) -> tuple[list[Submission], list[str]]:
    """The submissions of a sweep, newest first, by its name (or the id of one) and `store=`.

    Other keys do not matter.
    """
    rest = [word for word in words if "=" not in word]
    return of_sweep(_store(words), _stem(name)), rest


def _store(words: Sequence[str]) -> Store:
    store = "runs"
    for word in words:
        if (path := path_override(word)) and path[0] == "store":
            if store not in ("runs", path[1]):
                raise ConfigError(
                    f"store is given twice, as {store!r} and {path[1]!r}; give it once"
                )
            store = path[1] or "runs"
    return Store(store)


def _stem(name: str) -> str:
    return Path(name).stem if name.endswith((".yaml", ".yml")) else name


def _repeated(name: str, words: Sequence[str]) -> tuple[str, list[str]]:
    """For `resubmit`: sweep and words of the newest submission, under the words typed now."""
    found = submissions(_store(words), _stem(name))
    if not found:
        return name, list(words)
    file, _ = words_of(found[-1])
    again = repeat(found[-1], words)
    tell(f"repeats {found[-1].id}: {shlex.join([file, *again])}")
    return (name if name.endswith((".yaml", ".yml")) else file), again


SUBMITS: Mapping[str, tuple[str, Callable[[Wanted], int]]] = {
    "submit": ("queue the open cells", submit),
    "resubmit": ("the same again as last time, under what you type now", submit),
}
LOOKS: Mapping[str, tuple[str, Callable[[Sequence[Submission], Sequence[str]], int]]] = {
    "status": ("how the sweep's submissions are doing, newest first", status),
    "watch": ("the same whenever it changes, until the tasks have ended", watch),
    "logs": ("what was written about a cell: logs SWEEP CELL", logs),
    "cancel": ("end the tasks of all of the sweep's submissions, or of one: cancel ID", cancel),
}


def main(words: Sequence[str]) -> int:
    """Do what the command line asks; returns the exit status."""
    given = _parser().parse_intermixed_args(words)
    if given.action in LOOKS:
        for path in given.include:  # a launcher, say
            plugins.include(path)
        return LOOKS[given.action][1](*_find(given.sweep, given.words))
    given.words += included(given.include)
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
    name, words = given.sweep, given.words
    if given.action == "resubmit":
        name, words = _repeated(name, words)
    wanted = parse(name, words, failed=given.failed, dry=dry)
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
    add_include(parser)
    parser.add_argument("action", choices=[*SUBMITS, *LOOKS])
    parser.add_argument("sweep", metavar="SWEEP", help="its name or file, or a submission's id")
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--dry", action="store_true", help="print the script, submit nothing")
    parser.add_argument("--failed", action="store_true", help="also the cells that failed")
    return parser


if __name__ == "__main__":
    sys.exit(run_command(sys.argv[1:]))
