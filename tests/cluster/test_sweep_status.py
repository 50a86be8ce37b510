"""What `status`, `cancel`, `logs` and `resubmit` know of a sweep's submissions; no cluster here."""

from __future__ import annotations

import re

import pytest

from cluster import sweep_status
from cluster.__main__ import main
from cluster.commands import submit
from cluster.commands.submission_words import parse_submission
from cluster.record import incidents as module
from cluster.record.incidents import incidents
from cluster.record.submission import Events, create_submission, submissions
from cluster.scheduler import slurm_commands
from cluster.scheduler.slurm_commands import Queued
from janus.errors import ClusterError
from janus.store.store import Store
from sweeps.spec.plan import plan
from tests.cluster.claims import CODE, held_elsewhere, held_without_a_job, job, submitted
from tests.conftest import toy_cell

SWEEP = "bench: glyphs\nmethods: [ncm]\norders: [0]\nfixed: {backbone: toy}\n"


@pytest.fixture
def queued(monkeypatch):
    """The queue that SLURM shows; nodes are all up."""
    rows = []
    monkeypatch.setattr(slurm_commands, "queue", lambda name=None: list(rows))
    monkeypatch.setattr(slurm_commands, "lost_nodes", lambda names: {})
    monkeypatch.setattr(module, "FRESH_S", 0.0)
    return rows


def row(submission, name="7_0", state="RUNNING", restarts=0, node="node1"):
    return Queued("7", name, state, restarts, node, "", submission.id)


def started(submission, label="7_0.r0", node="node1"):
    events = Events(submission.events / f"{label}.jsonl", job=label, node=node)
    events.note("task", index=0)
    return events


def test_status_names_every_submission_newest_first(tmp_path, queued):
    cells = [toy_cell(order=str(n)) for n in range(2)]
    old, middle, new = (submitted(tmp_path, cells) for _ in range(3))
    queued.append(row(middle))
    started(old)  # and never heard of again
    found = submissions(Store(tmp_path), "tiny")[::-1]
    seen = sweep_status.status_of(found)
    places = [seen.text.index(s.id) for s in (new, middle, old)]
    assert places == sorted(places) and not seen.over
    told = f"{old.id}, 2 cells, 0 done; ended (1 incident: python -m cluster status {old.id} store="
    assert "no task is left" not in seen.text and told in seen.text
    queued.clear()
    assert "no task is left for 2 cells" in sweep_status.status_of(found).text


def test_status_names_what_befell_each_task(tmp_path, queued, monkeypatch):
    monkeypatch.setattr(
        slurm_commands, "lost_nodes", lambda names: {"node1": "down: Not responding"}
    )
    submission = submitted(tmp_path, [toy_cell()])
    started(submission, "7_0.r0", "node1")
    events = started(submission, "7_0.r1", "node2")
    events.note("worker-died", slot=0, reason="signal 9", again=True)
    started(submission, "7_1.r0", "node2").note(
        "end", why="stopped by TERM: SLURM ends this job itself (state CANCELLED)"
    )
    started(submission, "7_2.r0", "node3").note("requeue", signal="USR2", left=1)
    started(submission, "7_2.r1", "node3").note("end", why="nothing left to take")
    queued += [row(submission, restarts=1, node="node2"), row(submission, "7_3", "CANCELLED")]
    text = sweep_status.status_of([submission]).text
    for line in (
        "7_0.r0 on node1: ended without a word (power cut, node failure or kill); "
        "node1 is down: Not responding; started again on node2",
        "7_0.r1 on node2: a worker died (signal 9), started again",
        "7_1.r0 on node2: cancelled (scancel)",
        "7_2.r0 on node3: stopped by USR2, requeued",
        "7_3: cancelled before it started",
    ):
        assert line in text
    assert "7_0.r1 on node2: ended" not in text and "7_2.r1" not in text


def test_while_the_queue_cannot_be_asked_nobody_is_called_dead(tmp_path, queued, monkeypatch):
    submission = submitted(tmp_path, [toy_cell()])
    started(submission)
    assert "without a word" in sweep_status.status_of([submission]).text

    def deaf(name=None):
        raise ClusterError("no answer")

    monkeypatch.setattr(slurm_commands, "queue", deaf)
    seen = sweep_status.status_of([submission])
    assert "without a word" not in seen.text and not seen.over


def test_a_start_that_has_just_written_is_not_called_dead(queued):
    events = [{"at": 1e12, "event": "task", "job": "7_0.r0", "node": "node1"}]
    assert incidents(events, [], asked=True) == []


def test_cells_of_dead_and_of_unknown_holders_are_told_apart_from_running_ones(tmp_path, queued):
    cells = [toy_cell(order=str(n)) for n in range(3)]
    submission = submitted(tmp_path, cells)
    held_elsewhere(tmp_path, cells[0], job("7"))
    held_elsewhere(tmp_path, cells[1], job("9"))
    held_without_a_job(tmp_path, cells[2])
    queued.append(row(submission))
    text = sweep_status.status_of([submission]).text
    assert "3 running" in text
    assert "1 of the running cells: held by 9_0.r0 on node1, which has ended" in text
    assert "on elsewhere, no job of yours" in text and "held by 7_0" not in text


def test_an_unfit_node_is_told_with_what_is_wrong_before_what_is_fine(tmp_path, queued):
    submission = submitted(tmp_path, [toy_cell()])
    events = started(submission)
    events.note("check", ok=False, lines=["weights: gone"], fine=["Python: 3.11"])
    events.note("unfit", why="check", then="requeued without node1")
    started(submission, "7_1.r0", "node2").note(
        "unfit", why="Python did not start: no such file", then="requeued without node1,node2"
    )
    text = sweep_status.status_of([submission]).text
    assert "    wrong  weights: gone\n    fine   Python: 3.11\n" in text
    assert "    wrong  Python did not start: no such file\n" in text
    assert "1 task: requeued without node1\n" in text
    assert "profile.flags={exclude: 'node1,node2'}" in text


def test_a_task_that_never_spoke_is_told_with_the_last_line_of_its_log(tmp_path, queued):
    submission = submitted(tmp_path, [toy_cell()])
    queued.append(row(submission, state="FAILED"))
    assert "left no log in" in sweep_status.status_of([submission]).text
    log = submission.jobs / "7_0_0_log.out"
    log.write_text("line\nModuleNotFoundError: x\nsrun: error: node1: Exited with exit code 1\n")
    text = sweep_status.status_of([submission]).text
    assert f"Their log {log} ends with:\n    ModuleNotFoundError: x" in text


def test_logs_tell_what_every_submission_did_with_a_cell(tmp_path, queued):
    cell = toy_cell()
    old, new = submitted(tmp_path, [cell]), submitted(tmp_path, [cell])
    started(old, "7_0.r0").note("cell", cell=cell.id)
    started(new, "8_0.r0").note("done", cell=cell.id)
    (old.jobs / "7_0_0_log.out").touch()
    text = sweep_status.logs_of([new, old], cell.id[:6])
    assert "7_0.r0  cell" in text and "8_0.r0  done" in text and "7_0_0_log.out" in text


def test_cancel_ends_all_submissions_that_have_not_ended_or_the_one_of_an_id(
    tmp_path, queued, monkeypatch, capsys
):
    ended = []
    monkeypatch.setattr(slurm_commands, "cancel_submission", ended.append)
    old, middle, new = (submitted(tmp_path, [toy_cell()]) for _ in range(3))
    queued += [row(old, "5_0"), row(middle, "6_0", "COMPLETED"), row(new, "7_0", "PENDING")]
    assert main(["cancel", "tiny", f"store={tmp_path}"]) == 0
    assert ended == [new.id, old.id]
    ended.clear()
    assert main(["cancel", old.id, f"store={tmp_path}"]) == 0
    assert ended == [old.id] and f"cancelled {old.id}" in capsys.readouterr().out
    queued.clear()
    assert main(["cancel", "tiny", f"store={tmp_path}"]) == 0
    assert "nothing to cancel" in capsys.readouterr().out


def test_a_submission_for_cells_that_another_one_still_trains_is_told(tmp_path, queued, capsys):
    cells = [toy_cell(order=str(n)) for n in range(3)]
    submitted(tmp_path, cells)
    other = submitted(tmp_path, cells[:2])
    queued.append(row(other, state="PENDING"))
    submit._log_others(Store(tmp_path), {cell.id for cell in cells[1:]})
    told = capsys.readouterr().err
    assert f"{other.id} was submitted before for 1 of these cells" in told
    assert told.count("submitted before") == 1 and f"cluster cancel {other.id}" in told


@pytest.fixture
def failed_once(tmp_path, capsys):
    """A sweep that was submitted under a profile of its own; a store with a space in its name."""
    (tmp_path / "tiny.yaml").write_text(SWEEP)
    (tmp_path / "mine.yaml").write_text("minutes: 20\ntasks: 1\n")
    store = tmp_path / "my store"
    words = [f"profile={tmp_path}/mine.yaml", "profile.warn_s=7", "train.epochs=3"]
    parsed = parse_submission(f"{tmp_path}/tiny.yaml", [f"store={store}", *words])
    cells = plan(parsed.request.sweep).cells
    record = {**CODE, "cluster": "local", "command": parsed.command}
    create_submission(Store(store), "tiny", cells, {}, parsed.profile, record)
    return tmp_path, store


def test_resubmit_repeats_profile_and_keys_of_the_last_submission(failed_once, capsys):
    _, store = failed_once
    words = [f"store={store}", "cluster=local", "--failed", "--dry"]
    assert main(["resubmit", "tiny", *words]) == 0
    told = capsys.readouterr()
    assert "1 open" in told.out and "each up to 20 minutes" in told.out
    assert "train.epochs=3" in told.err and "profile.warn_s=7" in told.err


def test_what_is_typed_now_goes_before_what_was_submitted(failed_once, capsys):
    folder, store = failed_once
    typed = [f"store={store}", "profile=default", "train.epochs=4", "cluster=local", "--dry"]
    assert main(["resubmit", f"{folder}/tiny.yaml", *typed]) == 0
    told = capsys.readouterr()
    assert "train.epochs=4" in told.err and "train.epochs=3" not in told.err
    assert "warn_s" not in told.err and "each up to 60 minutes" in told.out


def test_the_printed_way_to_try_failed_cells_again_is_whole_and_quoted(failed_once, capsys):
    folder, store = failed_once
    cell = submissions(Store(store))[0].work[0][0]
    claim = Store(store).claim(cell)
    claim.fail({"cause": "nan"})
    claim.release()
    words = [f"store={store}", "profile.minutes=9", "train.epochs=3", "cluster=local"]
    assert main(["submit", f"{folder}/tiny.yaml", *words]) == 0
    hint = f"'store={store}' profile.minutes=9 train.epochs=3 cluster=local --failed"
    assert hint in capsys.readouterr().out


def test_a_submission_of_a_launcher_that_is_not_known_here_is_named(tmp_path):
    made = submitted(tmp_path, [toy_cell()], cluster="slrm")
    found = sweep_status.submission_tasks(made, [])
    assert re.search(rf"{made.id} .*cluster=slrm.*slurm", found.text) and not found.over
