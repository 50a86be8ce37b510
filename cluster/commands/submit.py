"""`submit`: queue the open cells of a sweep."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict

from cluster.commands.submission_words import SubmitRequest
from cluster.launchers.launcher import task_count
from cluster.node.stage_data import folders_to_stage
from cluster.record import code_snapshot
from cluster.record.portable import check_weights, with_absolute_paths
from cluster.record.submission import Submission, create_submission, submissions
from cluster.sweep_status import queues, submission_tasks
from janus import plugins
from janus.config.cell import Cell
from janus.store.store import Store
from sweeps.estimate import forecast
from sweeps.show import texts
from sweeps.show.console import for_action, log, print_line
from sweeps.spec.by_status import CellsByStatus, by_status
from sweeps.spec.cell_list import write_list
from sweeps.spec.plan import Plan, plan


def submit(asked: SubmitRequest) -> int:
    """Queue what is open; returns the exit status."""
    request, profile, launcher = asked.request, asked.profile, asked.launcher
    store, planned = Store(request.store), plan(request.sweep)
    found = by_status(planned.titles, store)
    cells = _cells_to_submit(asked, planned, found)
    print_line(f"sweep {planned.name}: {texts.counts_line(found)}; {store.root}")
    if found.failed and not asked.failed:
        print_line(f"  failed cells stay as they are; to try them again: {asked.command} --failed")
    if not cells:
        print_line("nothing to submit")
        return 0
    folders_to_stage(cells, profile)
    for line in launcher.check(store.root, profile, asked.dry):
        log(line)
    _print_forecast(asked, planned, found, store, len(cells))
    if asked.dry:
        return _print_what_would_start(asked, store, len(cells))
    for line in check_weights(cells):
        log(f"weights: {line}")
    _log_others(store, {cell.id for cell in cells})
    write_list(store, planned.name, asked.command, planned.entries)
    submission = _create(asked, store, cells, found)
    ids = launcher.submit(submission, asked.mode)
    _print_what_was_started(asked, store, len(cells), ids)
    return 0


def _cells_to_submit(asked: SubmitRequest, planned: Plan, found: CellsByStatus) -> list[Cell]:
    """The open and running ones, and the failed ones where that was asked for."""
    chosen = {*found.open, *found.running, *(found.failed if asked.failed else ())}
    return [with_absolute_paths(cell) for cell in planned.cells if cell.id in chosen]


def _print_forecast(
    asked: SubmitRequest, planned: Plan, found: CellsByStatus, store: Store, cells: int
) -> None:
    profile = asked.profile
    workers = task_count(cells, profile) * profile.cells_at_once
    if asked.mode == "ray":
        workers = profile.nodes * (profile.gpus or profile.cpus)
    expected = forecast.make_and_keep(planned, found, store, workers, profile.device)
    probe = asked.launcher.with_resources(profile, for_action(asked.inline, "probe"))
    print_line(texts.forecast_text(expected, found.left, probe))


def _print_what_would_start(asked: SubmitRequest, store: Store, cells: int) -> int:
    """For a dry run: nothing is written."""
    files = code_snapshot.all_files(code_snapshot.ROOT, plugins.plugin_sources())
    code = code_snapshot.content_hash(files)
    unwritten = Submission(store.root / "cluster" / f"{asked.request.sweep.name}-DRY")
    unwritten.__dict__["record"] = {"code": code, "profile": asdict(asked.profile)}
    for text in asked.launcher.describe(unwritten, cells, asked.mode):
        print_line(text)
    return 0


def _log_others(store: Store, cell_ids: set[str]) -> None:
    """Log the submissions whose tasks wait or run for the same cells; claims keep them apart."""
    known = submissions(store)
    queued = queues(known)
    for other in reversed(known):
        tasks = submission_tasks(other, queued[other.record["cluster"]])
        same = cell_ids & ({cell.id for cell in other.work[0]} if not tasks.over else set())
        if same:
            words = ["python", "-m", "cluster", "cancel", other.id, f"store={store.root}"]
            log(
                f"{other.id} was submitted before for {len(same)} of these cells and has not "
                f"ended ({tasks.text}). Both will share them, none is trained twice. To end the "
                f"earlier one: {shlex.join(words)}"
            )


def _create(
    asked: SubmitRequest, store: Store, cells: Sequence[Cell], found: CellsByStatus
) -> Submission:
    """Write the submission down, with a copy of the code."""
    outside = plugins.plugin_sources()
    code = code_snapshot.take(store.root / "cluster" / "code", sources=outside)
    retry = {cell_id: store.last_claim(cell_id) for cell_id in found.failed if asked.failed}
    more = {
        "command": asked.command,
        "cluster": asked.cluster,
        "mode": asked.mode,
        "code": code.name,
        "execution": asdict(asked.request.execution),
    }
    if outside:
        more["include"] = code_snapshot.outside_modules(outside)
        more["included_from"] = [str(source.path) for source in outside]
    made = create_submission(store, asked.request.sweep.name, cells, retry, asked.profile, more)
    log(f"submission {made.id}, code {code.name}")
    return made


def _print_what_was_started(
    asked: SubmitRequest, store: Store, cells: int, ids: Sequence[str]
) -> None:
    tasks = f"{task_count(cells, asked.profile)} tasks"
    what = f"{asked.profile.nodes} nodes" if asked.mode == "ray" else tasks
    print_line(f"{cells} cells, {what}: jobs {', '.join(ids)}")
    name = asked.request.sweep.name
    words = ["python", "-m", "cluster", "status", name, f"store={store.root}"]
    print_line(f"look with: {shlex.join(words)}")
